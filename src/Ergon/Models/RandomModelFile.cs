using System.Runtime.InteropServices;
using Ergon.Models.Gguf;
using Ergon.Native;

namespace Ergon.Models;

/// <summary>
/// Writes models of random weights, as large as real ones and as fast or slow: speed and memory depend on
/// shapes and types alone. The same shape, mix, vocabulary and seed give the same file.
/// </summary>
/// <param name="Shape">The model whose shape it has.</param>
/// <param name="Mix">The types of its matrices.</param>
/// <param name="Seed">Of the weights.</param>
internal sealed record RandomModelFile(ModelShape Shape, QuantizationMix Mix, int Seed)
{
    /// <summary>A model whose vocabulary is copied; <see langword="null"/> for one of bytes and fillers.</summary>
    public GgufFile? VocabularyFrom { get; init; }

    /// <summary>Writes the file.</summary>
    /// <param name="path">Replaced when it is there.</param>
    /// <param name="progress">Told the share done, 0 to 1.</param>
    /// <param name="cancellation">Stops between two tensors; the file is then not there.</param>
    public void Write(string path, IProgress<double>? progress = null, CancellationToken cancellation = default)
    {
        var writer = new GgufWriter();
        AddHyperparameters(writer);
        var vocabulary = AddVocabulary(writer);
        var random = new Random(Seed);
        var blocks = new Dictionary<(GgmlType, float), RandomBlocks>();
        long done = 0, all = 0;
        AddTensors(vocabulary);
        writer.Write(path);

        void AddTensors(int vocabulary)
        {
            var (architecture, tied) = (Shape.Architecture, Shape.TiedOutput);
            var gpt2 = architecture == "gpt2";
            long embd = Shape.Embedding, q = (long)Shape.Heads * Shape.HeadLength, kv = (long)Shape.HeadsKv * Shape.HeadLength;
            Matrix(WeightRole.TokenEmbedding, -1, embd, vocabulary, tied ? WeightRole.Output : WeightRole.TokenEmbedding);
            if (gpt2)
                Tensor(NameOf(WeightRole.PositionEmbedding, -1), GgmlType.F32, [embd, Shape.Context], 0, Deviation(embd));
            if (Shape.RopeFactors)
                Vector(NameOf(WeightRole.RopeFactors, -1), Shape.HeadLength / 2, 8, 2);
            Norm(WeightRole.OutputNorm, WeightRole.OutputNormBias, -1);
            if (!tied)
                Matrix(WeightRole.Output, -1, embd, vocabulary);
            for (var layer = 0; layer < Shape.Layers; layer++)
            {
                Norm(WeightRole.AttentionNorm, WeightRole.AttentionNormBias, layer);
                if (Shape.Convolutions.Contains(layer))
                    Convolution(layer);
                else
                    Attention(layer);
                Norm(WeightRole.FeedForwardNorm, WeightRole.FeedForwardNormBias, layer);
                if (!gpt2)
                    Matrix(WeightRole.Gate, layer, embd, Shape.FeedForward);
                Biased(WeightRole.Up, WeightRole.UpBias, layer, embd, Shape.FeedForward, gpt2);
                Biased(WeightRole.Down, WeightRole.DownBias, layer, Shape.FeedForward, embd, gpt2);
            }

            void Attention(int layer)
            {
                if (gpt2)
                {
                    Biased(WeightRole.FusedQkv, WeightRole.FusedQkvBias, layer, embd, q + (2 * kv), true);
                }
                else
                {
                    Biased(WeightRole.Query, WeightRole.QueryBias, layer, embd, q, architecture == "qwen2");
                    Biased(WeightRole.Key, WeightRole.KeyBias, layer, embd, kv, architecture == "qwen2");
                    Biased(WeightRole.Value, WeightRole.ValueBias, layer, embd, kv, architecture == "qwen2");
                }
                if (Architecture.Find(architecture)!.QueryKeyNorm == QueryKeyNorm.Heads)
                {
                    Vector(NameOf(WeightRole.QueryNorm, layer), Shape.HeadLength, 1, 0.1f);
                    Vector(NameOf(WeightRole.KeyNorm, layer), Shape.HeadLength, 1, 0.1f);
                }
                Biased(WeightRole.AttentionOutput, WeightRole.AttentionOutputBias, layer, q, embd, gpt2);
            }
            void Convolution(int layer)
            {
                Matrix(WeightRole.ConvolutionInput, layer, embd, 3 * embd);
                Tensor(NameOf(WeightRole.ConvolutionKernel, layer), GgmlType.F32, [Shape.ConvolutionLength, embd], 0, Deviation(Shape.ConvolutionLength));
                Matrix(WeightRole.ConvolutionOutput, layer, embd, embd);
            }

            void Norm(WeightRole weight, WeightRole bias, int layer)
            {
                Vector(NameOf(weight, layer), embd, 1, 0.1f);
                if (gpt2)
                    Vector(NameOf(bias, layer), embd, 0, 0.1f);
            }
            void Biased(WeightRole weight, WeightRole bias, int layer, long from, long to, bool hasBias)
            {
                Matrix(weight, layer, from, to);
                if (hasBias)
                    Vector(NameOf(bias, layer), to, 0, 0.1f);
            }
            void Matrix(WeightRole role, int layer, long from, long to, WeightRole? typedAs = null) =>
                Tensor(NameOf(role, layer), Mix.Of(typedAs ?? role, layer, Shape.Layers, from), [from, to], 0, Deviation(from));
            void Vector(string name, long length, float mean, float deviation) => Tensor(name, GgmlType.F32, [length], mean, deviation);
        }

        // A row of n independent values of this spread makes a product as large as one of its factors.
        static float Deviation(long rowLength) => 1 / MathF.Sqrt(rowLength);

        void Tensor(string name, GgmlType type, long[] ne, float mean, float deviation)
        {
            var elements = ne.Aggregate((a, b) => a * b);
            all += elements;
            writer.AddTensor(name, type, ne, stream =>
            {
                cancellation.ThrowIfCancellationRequested();
                if (ne.Length == 1)
                {
                    stream.Write(MemoryMarshal.AsBytes<float>(RandomBlocks.Normal((int)elements, mean, deviation, random)));
                }
                else
                {
                    if (!blocks.TryGetValue((type, deviation), out var source))
                        blocks[(type, deviation)] = source = new RandomBlocks(type, deviation, random);
                    source.WriteTo(stream, elements, random);
                }
                progress?.Report((done += elements) / (double)all);
            });
        }
    }

    private string NameOf(WeightRole role, int layer) => WeightSpec.NameOf(Architecture.Find(Shape.Architecture)!, role, layer);

    private void AddHyperparameters(GgufWriter writer)
    {
        var (s, a) = (Shape, Shape.Architecture);
        writer.Add("general.architecture", a);
        writer.Add("general.name", $"random weights in the shape of {s.Name}");
        writer.Add("general.file_type", Mix.FileType);
        foreach (var (key, value) in new (string, int)[]
        {
            ("context_length", s.Context), ("embedding_length", s.Embedding), ("block_count", s.Layers), ("feed_forward_length", s.FeedForward),
            ("attention.head_count", s.Heads), ("attention.key_length", s.HeadLength), ("attention.value_length", s.HeadLength),
        })
            writer.Add($"{a}.{key}", (uint)value);
        writer.Add($"{a}.attention.layer_norm_{(s.RopeBase == 0 ? "" : "rms_")}epsilon", s.NormEpsilon);
        if (s.RopeBase != 0)
            writer.Add($"{a}.rope.freq_base", s.RopeBase);
        if (s.Convolutions.Count == 0)
        {
            writer.Add($"{a}.attention.head_count_kv", (uint)s.HeadsKv);
        }
        else
        {
            writer.AddArray<int>($"{a}.attention.head_count_kv", [.. Enumerable.Range(0, s.Layers).Select(i => s.Convolutions.Contains(i) ? 0 : s.HeadsKv)]);
            writer.Add($"{a}.shortconv.l_cache", (uint)s.ConvolutionLength);
        }
        if (!Architecture.Find(a)!.Multipliers)
            return;
        // Granite 3.1's, for all of its family: no multiplier is slower than another.
        foreach (var (key, value) in new (string, float)[] { ("attention.scale", 1f / s.HeadLength), ("embedding_scale", 12), ("residual_scale", 0.22f), ("logit_scale", 8) })
            writer.Add($"{a}.{key}", value);
    }

    // Returns the number of tokens.
    private int AddVocabulary(GgufWriter writer)
    {
        if (VocabularyFrom is { } source)
        {
            foreach (var key in source.Keys.Where(k => k.StartsWith("tokenizer.", StringComparison.Ordinal)))
                writer.Copy(source, key);
            return (int)(source.FindArrayLength("tokenizer.ggml.tokens") ?? throw new ErgonException($"{source.Path} has no vocabulary; name another file."));
        }
        // Byte-level BPE: the 256 bytes in GPT-2's spelling, one merge, two control tokens, fillers.
        var other = 256;
        List<string> tokens = [.. Enumerable.Range(0, 256).Select(b => ((char)(b is (>= 33 and <= 126) or (>= 161 and <= 172) or >= 174 ? b : other++)).ToString()), "he", "<|bos|>", "<|eos|>"];
        while (tokens.Count < Shape.Vocabulary)
            tokens.Add($"<extra{tokens.Count}>");
        writer.Add("tokenizer.ggml.model", "gpt2");
        writer.Add("tokenizer.ggml.pre", "gpt-2");
        writer.AddArray("tokenizer.ggml.tokens", tokens);
        writer.AddArray<int>("tokenizer.ggml.token_type", [.. tokens.Select(t => t.StartsWith("<|", StringComparison.Ordinal) ? 3 : 1)]);
        writer.AddArray("tokenizer.ggml.merges", ["h e"]);
        writer.Add("tokenizer.ggml.bos_token_id", 257u);
        writer.Add("tokenizer.ggml.eos_token_id", 258u);
        return tokens.Count;
    }
}
