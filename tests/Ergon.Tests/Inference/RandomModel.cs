using Ergon.Models.Gguf;
using Ergon.Native;
using Ergon.Native.Tensors;

namespace Ergon.Tests.Inference;

/// <summary>A small model with random weights of any described architecture, the same for the same seed.</summary>
internal sealed record RandomModel(string Architecture, GgmlType Type)
{
    public int Seed { get; init; } = 1;
    public int Layers { get; init; } = 3;
    public int Embedding { get; init; } = 256;
    public int FeedForward { get; init; } = 512;
    public int Heads { get; init; } = 4;
    public int HeadsKv { get; init; } = 2;
    public int Context { get; init; } = 1024;
    public bool TiedOutput { get; init; } = true;
    public bool RopeFactors { get; init; }
    public string? RopeScaling { get; init; }

    private const int Vocabulary = 320;

    public string Write(string folder)
    {
        var path = Path.Combine(folder, $"{Architecture}-{Type}-{GetHashCode() & 0xffff:x}.gguf".ToLowerInvariant());
        var random = new Random(Seed);
        var w = new GgufWriter();
        var gpt2 = Architecture == "gpt2";
        int kv = gpt2 ? Heads : HeadsKv, length = Embedding / Heads;
        w.Add("general.architecture", Architecture);
        w.Add("general.name", $"random {Architecture}");
        foreach (var (key, value) in new (string, int)[] { ("context_length", Context), ("embedding_length", Embedding), ("block_count", Layers),
            ("feed_forward_length", FeedForward), ("attention.head_count", Heads), ("attention.head_count_kv", kv) })
            w.Add($"{Architecture}.{key}", (uint)value);
        w.Add($"{Architecture}.attention.layer_norm_{(gpt2 ? "" : "rms_")}epsilon", 1e-5f);
        if (!gpt2)
            w.Add($"{Architecture}.rope.freq_base", 10000f);
        if (RopeScaling is not null)
        {
            w.Add($"{Architecture}.rope.scaling.type", RopeScaling);
            w.Add($"{Architecture}.rope.scaling.factor", 4f);
            w.Add($"{Architecture}.rope.scaling.original_context_length", (uint)(Context / 4));
        }
        AddVocabulary(w);

        Matrix("token_embd.weight", Embedding, Vocabulary);
        if (gpt2)
            Matrix("position_embd.weight", Embedding, Context, GgmlType.F32);
        Norm("output_norm");
        if (!TiedOutput)
            Matrix("output.weight", Embedding, Vocabulary);
        if (RopeFactors)
            Vector("rope_freqs.weight", length / 2, 1, 0.5f);
        for (var i = 0; i < Layers; i++)
        {
            var block = $"blk.{i}.";
            Norm(block + "attn_norm");
            if (gpt2)
            {
                Biased(block + "attn_qkv", Embedding, Embedding + (2 * kv * length));
            }
            else
            {
                Biased(block + "attn_q", Embedding, Embedding, Architecture == "qwen2");
                Biased(block + "attn_k", Embedding, kv * length, Architecture == "qwen2");
                Biased(block + "attn_v", Embedding, kv * length, Architecture == "qwen2");
            }
            Biased(block + "attn_output", Embedding, Embedding, gpt2);
            Norm(block + "ffn_norm");
            if (!gpt2)
                Matrix(block + "ffn_gate.weight", Embedding, FeedForward);
            Biased(block + "ffn_up", Embedding, FeedForward, gpt2);
            Biased(block + "ffn_down", FeedForward, Embedding, gpt2);
        }
        w.Write(path);
        return path;

        void Norm(string name)
        {
            Vector(name + ".weight", Embedding, 1, 0.1f);
            if (gpt2)
                Vector(name + ".bias", Embedding, 0, 0.1f);
        }
        void Biased(string name, int from, int to, bool bias = true)
        {
            Matrix(name + ".weight", from, to);
            if (bias)
                Vector(name + ".bias", to, 0, 0.1f);
        }
        void Vector(string name, int n, float mean, float spread) =>
            w.AddTensor(name, GgmlType.F32, [n], Quantizer.Quantize(GgmlType.F32, Values(n, mean, spread), n));
        void Matrix(string name, int from, int to, GgmlType? type = null) =>
            w.AddTensor(name, type ?? Type, [from, to], Quantizer.Quantize(type ?? Type, Values(from * to, 0, 1.5f / MathF.Sqrt(from)), from));
        float[] Values(int count, float mean, float spread) => [.. Enumerable.Range(0, count).Select(_ => mean + (spread * ((2 * random.NextSingle()) - 1)))];
    }

    // Byte-level BPE: the 256 bytes in GPT-2's spelling, one merge, two control tokens.
    private static void AddVocabulary(GgufWriter w)
    {
        var other = 256;
        List<string> tokens = [.. Enumerable.Range(0, 256).Select(b => ((char)(b is (>= 33 and <= 126) or (>= 161 and <= 172) or >= 174 ? b : other++)).ToString()), "he", "<|bos|>", "<|eos|>"];
        while (tokens.Count < Vocabulary)
            tokens.Add($"<extra{tokens.Count}>");
        w.Add("tokenizer.ggml.model", "gpt2");
        w.Add("tokenizer.ggml.pre", "gpt-2");
        w.AddArray("tokenizer.ggml.tokens", tokens);
        w.AddArray<int>("tokenizer.ggml.token_type", [.. tokens.Select(t => t.StartsWith("<|", StringComparison.Ordinal) ? 3 : 1)]);
        w.AddArray("tokenizer.ggml.merges", ["h e"]);
        w.Add("tokenizer.ggml.bos_token_id", 257u);
        w.Add("tokenizer.ggml.eos_token_id", 258u);
    }
}
