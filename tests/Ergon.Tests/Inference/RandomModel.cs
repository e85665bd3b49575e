using Ergon.Models;
using Ergon.Models.Gguf;
using Ergon.Native;
using Ergon.Native.Tensors;

namespace Ergon.Tests.Inference;

/// <summary>A small model with random weights of any described architecture, the same for the same seed.</summary>
internal sealed record RandomModel(string Architecture, GgmlType Type)
{
    public int Seed { get; init; } = 1;
    public int? Layers { get; init; }
    public int Embedding { get; init; } = 256;
    public int FeedForward { get; init; } = 512;
    public int Heads { get; init; } = 4;
    public int HeadsKv { get; init; } = 2;
    public int? HeadLength { get; init; }
    public int Context { get; init; } = 1024;
    public bool TiedOutput { get; init; } = true;
    public bool AttentionFirst { get; init; }
    public bool? FusedQkv { get; init; }
    public GgmlType? TokenTypes { get; init; } = GgmlType.F32;
    public string[] RopeFactors { get; init; } = [];

    /// <summary>Hyperparameters beside the usual ones, or instead of them: numbers, bools, texts or lists, without the architecture; null leaves one out.</summary>
    public Dictionary<string, object?> Keys { get; init; } = [];

    internal const int Vocabulary = 320;

    private const int Experts = 8;

    private Architecture Family => Ergon.Models.Architecture.Find(Architecture)!;

    // What makes a family's layers differ shows in this many.
    private int LayerCount => Layers ?? Math.Max(3, Family.NoRopePeriod + 1);

    public string Write(string folder)
    {
        var path = Path.Combine(folder, $"{Architecture}-{Type}-{GetHashCode() & 0xffff:x}.gguf".ToLowerInvariant());
        var random = new Random(Seed);
        var w = new GgufWriter();
        var learned = Family.Rope is null;
        int kv = learned || Family.Encoder ? Heads : HeadsKv, length = HeadLength ?? Embedding / Heads, q = length * Heads;
        w.Add("general.architecture", Architecture);
        w.Add("general.name", "random weights");
        foreach (var (key, value) in Hyperparameters(kv))
            Add($"{Architecture}.{key}", value);
        if (Family.Encoder)
            AddWordPieces(w);
        else
            AddVocabulary(w);

        Matrix("token_embd.weight", Embedding, Vocabulary);
        if (learned)
            Matrix("position_embd.weight", Embedding, Context, GgmlType.F32);
        if (Family.Encoder)
        {
            if (TokenTypes is { } type)
                Matrix("token_types.weight", Embedding, 2, type);
            Norm("token_embd_norm");
        }
        else
        {
            Norm(Family.OutputNorm);
        }
        // libllama ties the output of any family but this.
        if (!TiedOutput || Architecture == "olmo2")
            Matrix("output.weight", Embedding, Vocabulary);
        foreach (var name in RopeFactors)
            Vector(name + ".weight", length / 2, 1, 0.5f);
        var norms = Family.NormPlaces;
        for (var i = 0; i < LayerCount; i++)
        {
            var block = $"blk.{i}.";
            if (norms.HasFlag(NormPlaces.Before))
                Norm(block + "attn_norm");
            if (IsConvolved(i))
            {
                Matrix(block + "shortconv.in_proj.weight", Embedding, 3 * Embedding);
                Matrix(block + "shortconv.conv.weight", 3, Embedding, GgmlType.F32);
                Matrix(block + "shortconv.out_proj.weight", Embedding, Embedding);
            }
            else
            {
                Attention(block);
            }
            if (norms.HasFlag(NormPlaces.After))
                Norm(block + "post_attention_norm");
            if (norms.HasFlag(NormPlaces.Sum))
                Norm(block + "attn_output_norm");
            if (norms.HasFlag(NormPlaces.Before))
                Norm(block + "ffn_norm");
            if (Family.Experts)
            {
                Matrix(block + "ffn_gate_inp.weight", Embedding, Experts, GgmlType.F32);
                Matrix(block + "ffn_gate_exps.weight", Embedding, FeedForward, count: Experts);
                Matrix(block + "ffn_up_exps.weight", Embedding, FeedForward, count: Experts);
                Matrix(block + "ffn_down_exps.weight", FeedForward, Embedding, count: Experts);
            }
            else
            {
                if (Family.Activation is Activation.SwiGlu or Activation.GeGlu)
                    Matrix(block + "ffn_gate.weight", Embedding, FeedForward);
                Biased(block + "ffn_up", Embedding, Family.Activation == Activation.FusedSwiGlu ? 2 * FeedForward : FeedForward, learned);
                Biased(block + "ffn_down", FeedForward, Embedding, learned);
            }
            if (norms.HasFlag(NormPlaces.After))
                Norm(block + "post_ffw_norm");
            if (norms.HasFlag(NormPlaces.Sum))
                Norm(block + "layer_output_norm");
        }
        w.Write(path);
        return path;

        void Attention(string block)
        {
            if (FusedQkv ?? Architecture is "gpt2" or "phi3" or "nomic-bert")
            {
                Biased(block + "attn_qkv", Embedding, q + (2 * kv * length), learned);
            }
            else
            {
                Biased(block + "attn_q", Embedding, q, Architecture is "qwen2" or "bert");
                Biased(block + "attn_k", Embedding, kv * length, Architecture is "qwen2" or "bert");
                Biased(block + "attn_v", Embedding, kv * length, Architecture is "qwen2" or "bert");
            }
            if (Family.QueryKeyNorm != QueryKeyNorm.None)
            {
                Vector(block + "attn_q_norm.weight", Family.QueryKeyNorm == QueryKeyNorm.Rows ? q : length, 1, 0.1f);
                Vector(block + "attn_k_norm.weight", Family.QueryKeyNorm == QueryKeyNorm.Rows ? kv * length : length, 1, 0.1f);
            }
            Biased(block + "attn_output", q, Embedding, learned);
        }
        void Add(string key, object value)
        {
            switch (value)
            {
                case uint count: w.Add(key, count); break;
                case float number: w.Add(key, number); break;
                case bool flag: w.Add(key, flag); break;
                case int[] list: w.AddArray<int>(key, list); break;
                case bool[] list: w.AddArray<bool>(key, list); break;
                default: w.Add(key, (string)value); break;
            }
        }
        void Norm(string name)
        {
            Vector(name + ".weight", Embedding, 1, 0.1f);
            if (Family.Norm == NormKind.Layer)
                Vector(name + ".bias", Embedding, 0, 0.1f);
        }
        void Biased(string name, int from, int to, bool bias)
        {
            Matrix(name + ".weight", from, to);
            if (bias)
                Vector(name + ".bias", to, 0, 0.1f);
        }
        void Vector(string name, int n, float mean, float spread) =>
            w.AddTensor(name, GgmlType.F32, [n], Quantizer.Quantize(GgmlType.F32, Values(n, mean, spread), n));
        void Matrix(string name, int from, int to, GgmlType? type = null, int count = 1) =>
            w.AddTensor(name, type ?? Type, [from, to, .. count > 1 ? [count] : Array.Empty<long>()],
                Quantizer.Quantize(type ?? Type, Values(from * to * count, 0, 1.5f / MathF.Sqrt(from)), from));
        float[] Values(int count, float mean, float spread) => [.. Enumerable.Range(0, count).Select(_ => mean + (spread * ((2 * random.NextSingle()) - 1)))];
    }

    // A layer of each kind before, between and after those of the other.
    private bool IsConvolved(int layer) => Family.Convolutions && (layer % 2 == 0) != AttentionFirst;

    private Dictionary<string, object> Hyperparameters(int kv)
    {
        var keys = new Dictionary<string, object>
        {
            ["context_length"] = (uint)Context,
            ["embedding_length"] = (uint)Embedding,
            ["block_count"] = (uint)LayerCount,
            ["feed_forward_length"] = (uint)FeedForward,
            ["attention.head_count"] = (uint)Heads,
            ["attention.head_count_kv"] = (uint)kv,
            [$"attention.layer_norm_{(Family.Norm == NormKind.Rms ? "rms_" : "")}epsilon"] = 1e-5f,
        };
        if (HeadLength is { } length)
            keys["attention.key_length"] = keys["attention.value_length"] = (uint)length;
        if (Family.Encoder)
            (keys["attention.causal"], keys["pooling_type"]) = (false, 1u);
        if (Family.Rope is not null)
            keys["rope.freq_base"] = 10000f;
        if (Family.Convolutions)
            (keys["attention.head_count_kv"], keys["shortconv.l_cache"]) = (Enumerable.Range(0, LayerCount).Select(i => IsConvolved(i) ? 0 : kv).ToArray(), 3u);
        else if (Family.Window is not null)
            (keys["attention.sliding_window"], keys["attention.sliding_window_pattern"], keys["rope.freq_base"]) = (40u, 2u, 20000f);
        if (Family.Experts)
            (keys["expert_count"], keys["expert_used_count"], keys["expert_feed_forward_length"]) = ((uint)Experts, 3u, (uint)FeedForward);
        if (Family.Multipliers)
            (keys["attention.scale"], keys["embedding_scale"], keys["residual_scale"], keys["logit_scale"]) = (0.1f, 12f, 0.22f, 8f);
        foreach (var (key, value) in Keys)
        {
            if (value is null)
                keys.Remove(key);
            else
                keys[key] = value;
        }
        return keys;
    }

    // Word pieces: the letters and digits, at the beginning of a word and within it, and a few more.
    private static void AddWordPieces(GgufWriter w)
    {
        List<string> tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];
        var control = tokens.Count;
        foreach (var piece in "abcdefghijklmnopqrstuvwxyz0123456789.,:;!?".Select(c => c.ToString()).Concat(["the", "ing", "er", "sky", "blue"]))
            tokens.AddRange(["\u2581" + piece, piece]);
        while (tokens.Count < Vocabulary)
            tokens.Add($"[unused{tokens.Count}]");
        w.Add("tokenizer.ggml.model", "bert");
        w.Add("tokenizer.ggml.token_type_count", 2u);
        w.AddArray("tokenizer.ggml.tokens", tokens);
        w.AddArray<int>("tokenizer.ggml.token_type", [.. tokens.Select((_, i) => i < control ? 3 : 1)]);
        w.Add("tokenizer.ggml.padding_token_id", 0u);
        w.Add("tokenizer.ggml.unknown_token_id", 1u);
        w.Add("tokenizer.ggml.bos_token_id", 2u);
        w.Add("tokenizer.ggml.cls_token_id", 2u);
        w.Add("tokenizer.ggml.seperator_token_id", 3u);
        w.Add("tokenizer.ggml.mask_token_id", 4u);
    }

    // Byte-level BPE: the 256 bytes in GPT-2's spelling, one merge, two control tokens.
    internal static void AddVocabulary(GgufWriter w)
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
