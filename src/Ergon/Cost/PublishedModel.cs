using Ergon.Models;
using Ergon.Native;

namespace Ergon.Cost;

/// <summary>A published model by its hyperparameters, so that its cost is known without its file.</summary>
/// <param name="Shape">Its hyperparameters, as in its makers' config.json.</param>
internal sealed record PublishedModel(ModelShape Shape)
{
    /// <summary>Experts a layer, each as wide as the shape's feed-forward blocks; 0 for one block.</summary>
    public int Experts { get; init; }

    public int ExpertsUsed { get; init; }

    /// <summary>Positions that all layers but the last of each <see cref="WindowPeriod"/> look back over; 0: all look at everything.</summary>
    public int Window { get; init; }

    public int WindowPeriod { get; init; }

    /// <summary>The type of the embedding and the output where it is not the mix's.</summary>
    public GgmlType? OuterType { get; init; }

    /// <summary>The type of the attention's matrices where it is not the mix's.</summary>
    public GgmlType? AttentionType { get; init; }

    /// <summary>Every published model that is known by name, those of <see cref="ModelShape.All"/> included.</summary>
    public static IReadOnlyList<PublishedModel> All { get; } =
    [
        .. ModelShape.All.Select(s => new PublishedModel(s)),
        new(new ModelShape("qwen2.5-7b", "qwen2", 28, 3584, 18944, 28, 4, 128, 152064, 131072, 1e6f) { TiedOutput = false }),
        new(new ModelShape("qwen2.5-14b", "qwen2", 48, 5120, 13824, 40, 8, 128, 152064, 131072, 1e6f) { TiedOutput = false }),
        new(new ModelShape("qwen3-8b", "qwen3", 36, 4096, 12288, 32, 8, 128, 151936, 40960, 1e6f) { TiedOutput = false }),
        new(new ModelShape("qwen3-30b-a3b", "qwen3moe", 48, 2048, 768, 32, 4, 128, 151936, 40960, 1e6f) { TiedOutput = false }) { Experts = 128, ExpertsUsed = 8 },
        new(new ModelShape("llama-2-7b", "llama", 32, 4096, 11008, 32, 32, 128, 32000, 4096, 1e4f) { TiedOutput = false }),
        new(new ModelShape("llama-2-13b", "llama", 40, 5120, 13824, 40, 40, 128, 32000, 4096, 1e4f) { TiedOutput = false }),
        new(new ModelShape("llama-3.1-70b", "llama", 80, 8192, 28672, 64, 8, 128, 128256, 131072, 5e5f) { TiedOutput = false }),
        new(new ModelShape("smollm2-1.7b", "llama", 24, 2048, 8192, 32, 32, 64, 49152, 8192, 1.3e5f)),
        new(new ModelShape("smollm3-3b", "smollm3", 36, 2048, 11008, 16, 4, 128, 128256, 65536, 5e6f)),
        new(new ModelShape("phi-3-mini", "phi3", 32, 3072, 8192, 32, 32, 96, 32064, 4096, 1e4f) { TiedOutput = false }),
        new(new ModelShape("gemma-2-2b", "gemma2", 26, 2304, 9216, 8, 4, 256, 256000, 8192, 1e4f)) { Window = 4096, WindowPeriod = 2 },
        new(new ModelShape("gemma-2-9b", "gemma2", 42, 3584, 14336, 16, 8, 256, 256000, 8192, 1e4f)) { Window = 4096, WindowPeriod = 2 },
        new(new ModelShape("gemma-3-1b", "gemma3", 26, 1152, 6912, 4, 1, 256, 262144, 32768, 1e6f)) { Window = 512, WindowPeriod = 6 },
        new(new ModelShape("olmo2-1b", "olmo2", 16, 2048, 8192, 16, 16, 128, 100352, 4096, 5e5f) { TiedOutput = false }),
    ];

    /// <summary>The model of that name.</summary>
    /// <exception cref="ArgumentException">There is none.</exception>
    public static PublishedModel Named(string name) => All.FirstOrDefault(m => m.Shape.Name == name)
        ?? throw new ArgumentException($"There is no published model '{name}'; there is {string.Join(", ", All.Select(m => m.Shape.Name))}.", nameof(name));

    /// <summary>The outline with all matrices in the types of a mix.</summary>
    public ModelOutline Outline(QuantizationMix mix)
    {
        var family = Architecture.Find(Shape.Architecture) ?? throw new ArgumentException($"There is no architecture '{Shape.Architecture}'.", nameof(mix));
        long embd = Shape.Embedding, ff = Shape.FeedForward, q = (long)Shape.Heads * Shape.HeadLength, kv = (long)Shape.HeadsKv * Shape.HeadLength;
        var weights = new List<OutlineWeight>();
        var convolved = Enumerable.Range(0, Shape.Layers).Select(Shape.Convolutions.Contains).ToArray();
        Matrix(WeightRole.TokenEmbedding, -1, embd, Shape.Vocabulary, Shape.TiedOutput ? WeightRole.Output : WeightRole.TokenEmbedding);
        if (family.Rope is null)
            weights.Add(new(WeightRole.PositionEmbedding, -1, embd, Shape.Context, GgmlType.F32));
        Norm(WeightRole.OutputNorm, WeightRole.OutputNormBias, -1);
        Matrix(WeightRole.Output, -1, embd, Shape.Vocabulary, WeightRole.Output);
        bool before = family.NormPlaces.HasFlag(NormPlaces.Before), after = family.NormPlaces.HasFlag(NormPlaces.After);
        for (var layer = 0; layer < Shape.Layers; layer++)
        {
            if (before)
                Norm(WeightRole.AttentionNorm, WeightRole.AttentionNormBias, layer);
            if (convolved[layer])
            {
                Matrix(WeightRole.ConvolutionInput, layer, embd, 3 * embd);
                weights.Add(new(WeightRole.ConvolutionKernel, layer, Shape.ConvolutionLength, embd, GgmlType.F32));
                Matrix(WeightRole.ConvolutionOutput, layer, embd, embd);
            }
            else
            {
                Attention(layer);
            }
            if (after)
                Vector(WeightRole.AttentionPostNorm, layer, embd);
            if (before)
                Norm(WeightRole.FeedForwardNorm, WeightRole.FeedForwardNormBias, layer);
            FeedForward(layer);
            if (after)
                Vector(WeightRole.FeedForwardPostNorm, layer, embd);
        }
        return new ModelOutline
        {
            Name = Shape.Name, Layers = Shape.Layers, Embedding = Shape.Embedding, Heads = Shape.Heads, HeadsKv = Shape.HeadsKv, HeadLength = Shape.HeadLength,
            Experts = Experts, ExpertsUsed = ExpertsUsed, Window = Window, ConvolutionLength = Shape.ConvolutionLength, TiedOutput = Shape.TiedOutput,
            Windowed = [.. Enumerable.Range(0, Shape.Layers).Select(i => Window > 0 && i % WindowPeriod < WindowPeriod - 1)],
            Convolved = convolved, Weights = weights,
        };

        void Attention(int layer)
        {
            var fused = Shape.Architecture is "gpt2" or "phi3";
            if (fused)
                Matrix(WeightRole.FusedQkv, layer, embd, q + (2 * kv));
            else
            {
                Matrix(WeightRole.Query, layer, embd, q);
                Matrix(WeightRole.Key, layer, embd, kv);
                Matrix(WeightRole.Value, layer, embd, kv);
            }
            if (family.BiasesRequired)
                Vector(WeightRole.FusedQkvBias, layer, q + (2 * kv));
            else if (Shape.Architecture == "qwen2")
            {
                Vector(WeightRole.QueryBias, layer, q);
                Vector(WeightRole.KeyBias, layer, kv);
                Vector(WeightRole.ValueBias, layer, kv);
            }
            if (family.QueryKeyNorm != QueryKeyNorm.None)
            {
                Vector(WeightRole.QueryNorm, layer, family.QueryKeyNorm == QueryKeyNorm.Rows ? q : Shape.HeadLength);
                Vector(WeightRole.KeyNorm, layer, family.QueryKeyNorm == QueryKeyNorm.Rows ? kv : Shape.HeadLength);
            }
            Matrix(WeightRole.AttentionOutput, layer, q, embd);
            if (family.BiasesRequired)
                Vector(WeightRole.AttentionOutputBias, layer, embd);
        }

        void FeedForward(int layer)
        {
            if (Experts > 0)
            {
                weights.Add(new(WeightRole.Router, layer, embd, Experts, GgmlType.F32));
                Matrix(WeightRole.GateExperts, layer, embd, ff, experts: Experts);
                Matrix(WeightRole.UpExperts, layer, embd, ff, experts: Experts);
                Matrix(WeightRole.DownExperts, layer, ff, embd, experts: Experts);
                return;
            }
            if (family.Activation is Activation.SwiGlu or Activation.GeGlu)
                Matrix(WeightRole.Gate, layer, embd, ff);
            Matrix(WeightRole.Up, layer, embd, family.Activation == Activation.FusedSwiGlu ? 2 * ff : ff);
            Matrix(WeightRole.Down, layer, ff, embd);
            if (!family.BiasesRequired)
                return;
            Vector(WeightRole.UpBias, layer, ff);
            Vector(WeightRole.DownBias, layer, embd);
        }

        void Norm(WeightRole weight, WeightRole bias, int layer)
        {
            Vector(weight, layer, embd);
            if (family.Norm == NormKind.Layer)
                Vector(bias, layer, embd);
        }

        void Vector(WeightRole role, int layer, long length) => weights.Add(new(role, layer, length, 1, GgmlType.F32));

        void Matrix(WeightRole role, int layer, long from, long to, WeightRole? rule = null, int experts = 1)
        {
            var type = role is WeightRole.TokenEmbedding or WeightRole.Output ? OuterType
                : role is WeightRole.Query or WeightRole.Key or WeightRole.Value or WeightRole.AttentionOutput ? AttentionType : null;
            weights.Add(new(role, layer, from, to, type ?? mix.Of(rule ?? role, layer, Shape.Layers, from), experts));
        }
    }
}
