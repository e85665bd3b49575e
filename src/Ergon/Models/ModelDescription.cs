using Ergon.Models.Gguf;
using Ergon.Native;
using Ergon.Native.Tensors;

namespace Ergon.Models;

/// <summary>
/// A model's shape: its architecture's row of data and its hyperparameters, checked against the shapes of
/// its tensors. Nothing native runs on numbers that did not pass here.
/// </summary>
public sealed class ModelDescription : ModelInfo
{
    private readonly List<WeightSpec> _weights = [];

    private ModelDescription(GgufFile file, Architecture architecture) : base(file)
    {
        Architecture = architecture;
        var keys = new Hyperparameters(file, architecture.Name);
        HeadCount = keys.Count("attention.head_count", 1, EmbeddingLength);
        HeadCountKv = architecture.Convolutions && keys.List("attention.head_count_kv", LayerCount) is { } heads
            ? OfAttention(keys, heads)
            : keys.Count("attention.head_count_kv", 1, HeadCount, fallback: HeadCount);
        HeadLength = keys.Count("attention.key_length", 1, EmbeddingLength, fallback: EmbeddingLength / HeadCount);
        NormEpsilon = keys.Number(architecture.Norm == NormKind.Rms ? "attention.layer_norm_rms_epsilon" : "attention.layer_norm_epsilon");
        if (keys.Count("attention.value_length", 1, MaxWidth, fallback: HeadLength) != HeadLength)
            throw keys.Unsupported("attention.value_length", "differs from attention.key_length");
        if (HeadCount % HeadCountKv != 0)
            throw keys.Unsupported("attention.head_count_kv", $"is {HeadCountKv}, which does not divide the {HeadCount} heads");
        if (!architecture.Encoder && !keys.Flag("attention.causal", true))
            throw keys.Unsupported("attention.causal", "is false: the model reads text in both directions");
        if (architecture.Experts)
        {
            ExpertCount = keys.Count("expert_count", 1, MaxExperts);
            ExpertsUsed = keys.Count("expert_used_count", 1, ExpertCount);
            if (keys.Count("expert_group_count", 0, int.MaxValue, fallback: 0) > 1)
                throw keys.Unsupported("expert_group_count", "chooses experts by groups");
            // Experts without a width of their own share that of a whole block.
            FeedForwardLength = keys.Count("expert_feed_forward_length", 0, MaxWidth, fallback: 0) is var width and > 0 ? width
                : keys.Count("feed_forward_length", ExpertsUsed, MaxWidth) / ExpertsUsed;
        }
        else
        {
            FeedForwardLength = keys.Count("feed_forward_length", 1, MaxWidth);
            if (keys.Count("expert_count", 0, int.MaxValue, fallback: 0) != 0)
                throw keys.Unsupported("expert_count", "asks for a mixture of experts");
        }
        if (architecture.Rope is { } mode)
            Rope = RopeScaling.Read(keys, mode, architecture.PartialRope, HeadLength, TrainingContext);
        Layers = new LayerPattern(keys, architecture, LayerCount, Rope);
        PoolingType = keys.Count("pooling_type", 0, int.MaxValue, fallback: 0);
        Multipliers = Multipliers.Read(keys, architecture, LayerCount, EmbeddingLength, HeadCount, HeadLength);

        AddWeights();
    }

    /// <summary>Width of the feed-forward blocks, <c>n_ff</c>, or of each expert.</summary>
    public int FeedForwardLength { get; }

    /// <summary>Experts a layer; 0 where every row takes the whole feed-forward block.</summary>
    public int ExpertCount { get; }

    /// <summary>Experts that a row takes.</summary>
    public int ExpertsUsed { get; }

    /// <summary>Query heads a layer.</summary>
    public int HeadCount { get; }

    /// <summary>Key and value heads a layer.</summary>
    public int HeadCountKv { get; }

    /// <summary>Values a head.</summary>
    public int HeadLength { get; }

    /// <summary>Whether the model embeds texts and generates none.</summary>
    public bool IsEncoder => Architecture.Encoder;

    private protected override IEnumerable<GgufTensor> Used => _weights.Select(w => w.TensorName).Distinct().Select(name => File.FindTensor(name)!);

    internal Architecture Architecture { get; }

    /// <summary>How the file says that a text's vector is made of those of its tokens, by llama.cpp's numbers; 0 where it does not say, or says that they do not.</summary>
    internal int PoolingType { get; }

    internal float NormEpsilon { get; }

    /// <summary>Rotary positions of layers that look at everything; <see langword="null"/> where positions are learned.</summary>
    internal RopeParameters? Rope { get; }

    /// <summary>
    /// Whether keys in a cache of so many positions are rotated by the long set of factors. LongRoPE's two sets are for
    /// contexts within and beyond that of the first training; llama.cpp chooses by the context's length too.
    /// </summary>
    internal bool UsesLongFactors(int cells) => cells > Rope?.OriginalContext && _weights.Exists(w => w.Role == WeightRole.RopeFactorsLong);

    /// <summary>What differs between its layers.</summary>
    internal LayerPattern Layers { get; }

    internal override int? LearnedPositions => Rope is null ? TrainingContext : null;

    internal override (int Key, int Value) HeadLengths => (HeadLength, HeadLength);

    internal override long RowValues => RowValuesOf(FeedForwardLength, Math.Max(1, ExpertsUsed));

    internal Multipliers Multipliers { get; }

    /// <summary>Every weight that the graph uses. A tied output stands twice, once for each use.</summary>
    internal IReadOnlyList<WeightSpec> Weights => _weights;

    /// <summary>Reads the description of a model that Ergon's own graph can run.</summary>
    /// <exception cref="UnsupportedModelException">The architecture, or a feature of it, is not described.</exception>
    /// <exception cref="GgufException">A hyperparameter or tensor is missing, malformed or contradicts another.</exception>
    internal static ModelDescription Read(GgufFile file)
    {
        var name = file.GetString("general.architecture");
        var architecture = Architecture.Find(name)
            ?? throw new UnsupportedModelException($"{file.Path}: the architecture '{name}' is not one that Ergon's graph describes ({string.Join(", ", Architecture.All.Select(a => a.Name))}); use a model of one of these.");
        return new ModelDescription(file, architecture);
    }

    // Layers without heads convolve instead; the others must be alike.
    private int OfAttention(Hyperparameters keys, int[] heads) =>
        heads.Max() is var count && count >= 1 && count <= HeadCount && heads.All(h => h == 0 || h == count) ? count
        : throw keys.Unsupported("attention.head_count_kv", "differs between layers with attention, or is out of range");

    // Shapes follow from the hyperparameters alone, so a tensor of any other shape is an error of the file.
    private void AddWeights()
    {
        long embd = EmbeddingLength, ff = FeedForwardLength, q = (long)HeadLength * HeadCount, kv = (long)HeadLength * HeadCountKv;
        var normBias = Architecture.Norm == NormKind.Layer;
        var biasRequired = Architecture.BiasesRequired;
        bool before = Architecture.NormPlaces.HasFlag(NormPlaces.Before), after = Architecture.NormPlaces.HasFlag(NormPlaces.After);
        var sum = Architecture.NormPlaces.HasFlag(NormPlaces.Sum);

        Add(WeightRole.TokenEmbedding, -1, [embd, VocabularySize]);
        if (Architecture.Rope is null)
            Add(WeightRole.PositionEmbedding, -1, [embd, TrainingContext]);
        if (Architecture.RopeFactors)
        {
            long[] factors = [Rope!.Value.Dimensions / 2];
            Add(WeightRole.RopeFactors, -1, factors, required: false);
            if (Add(WeightRole.RopeFactorsLong, -1, factors, required: false))
                Add(WeightRole.RopeFactorsShort, -1, factors);
        }
        if (Architecture.Encoder)
        {
            if (File.FindTensor(WeightSpec.NameOf(Architecture, WeightRole.TokenTypes, -1)) is { } types)
                Add(WeightRole.TokenTypes, -1, [embd, types.Ne[1]]);
            AddNorm(WeightRole.EmbeddingNorm, WeightRole.EmbeddingNormBias, -1);
        }
        else
        {
            AddNorm(WeightRole.OutputNorm, WeightRole.OutputNormBias, -1);
            if (!Add(WeightRole.Output, -1, [embd, VocabularySize], required: false))
                _weights.Add(new WeightSpec(WeightRole.Output, -1, WeightSpec.NameOf(Architecture, WeightRole.TokenEmbedding, -1)));
            Add(WeightRole.OutputBias, -1, [VocabularySize], required: false);
        }

        for (var layer = 0; layer < LayerCount; layer++)
        {
            if (before)
                AddNorm(WeightRole.AttentionNorm, WeightRole.AttentionNormBias, layer);
            if (Layers.HasConvolution(layer))
                AddConvolution(layer);
            else
                AddAttention(layer);
            if (after)
                Add(WeightRole.AttentionPostNorm, layer, [embd]);
            if (sum)
                AddNorm(WeightRole.AttentionSumNorm, WeightRole.AttentionSumNormBias, layer);
            if (before)
                AddNorm(WeightRole.FeedForwardNorm, WeightRole.FeedForwardNormBias, layer);
            if (ExpertCount > 0)
            {
                Add(WeightRole.Router, layer, [embd, ExpertCount]);
                Add(WeightRole.GateExperts, layer, [embd, ff, ExpertCount]);
                Add(WeightRole.UpExperts, layer, [embd, ff, ExpertCount]);
                Add(WeightRole.DownExperts, layer, [ff, embd, ExpertCount]);
            }
            else
            {
                if (Architecture.Activation is Activation.SwiGlu or Activation.GeGlu)
                    AddMatrix(layer, WeightRole.Gate, WeightRole.GateBias, embd, ff);
                AddMatrix(layer, WeightRole.Up, WeightRole.UpBias, embd, Architecture.Activation == Activation.FusedSwiGlu ? 2 * ff : ff);
                AddMatrix(layer, WeightRole.Down, WeightRole.DownBias, ff, embd);
            }
            if (after)
                Add(WeightRole.FeedForwardPostNorm, layer, [embd]);
            if (sum)
                AddNorm(WeightRole.FeedForwardSumNorm, WeightRole.FeedForwardSumNormBias, layer);
        }

        // A tensor that the graph does not use would change the answers silently.
        var known = _weights.Select(w => w.TensorName).ToHashSet();
        if (File.Tensors.FirstOrDefault(t => !known.Contains(t.Name) && !IsDerived(t.Name)) is { } stranger)
            throw new UnsupportedModelException($"{File.Path}: the tensor '{stranger.Name}' is not part of the architecture '{Architecture.Name}' as Ergon's graph describes it, so its answers would be wrong; use a plain '{Architecture.Name}' model.");

        void AddAttention(int layer)
        {
            // A norm over all heads of a row needs them in a matrix of their own.
            if (Architecture.QueryKeyNorm != QueryKeyNorm.Rows && File.FindTensor(WeightSpec.NameOf(Architecture, WeightRole.FusedQkv, layer)) is not null)
            {
                AddMatrix(layer, WeightRole.FusedQkv, WeightRole.FusedQkvBias, embd, q + (2 * kv));
            }
            else
            {
                AddMatrix(layer, WeightRole.Query, WeightRole.QueryBias, embd, q);
                AddMatrix(layer, WeightRole.Key, WeightRole.KeyBias, embd, kv);
                AddMatrix(layer, WeightRole.Value, WeightRole.ValueBias, embd, kv);
            }
            if (Architecture.QueryKeyNorm != QueryKeyNorm.None)
            {
                var heads = Architecture.QueryKeyNorm == QueryKeyNorm.Heads;
                Add(WeightRole.QueryNorm, layer, [heads ? HeadLength : q]);
                Add(WeightRole.KeyNorm, layer, [heads ? HeadLength : kv]);
            }
            AddMatrix(layer, WeightRole.AttentionOutput, WeightRole.AttentionOutputBias, q, embd);
        }

        void AddConvolution(int layer)
        {
            Add(WeightRole.ConvolutionInput, layer, [embd, 3 * embd]);
            Add(WeightRole.ConvolutionKernel, layer, [Layers.ConvolutionLength, embd]);
            Add(WeightRole.ConvolutionOutput, layer, [embd, embd]);
        }

        void AddMatrix(int layer, WeightRole weight, WeightRole bias, long from, long to)
        {
            Add(weight, layer, [from, to]);
            Add(bias, layer, [to], required: biasRequired);
        }

        void AddNorm(WeightRole weight, WeightRole bias, int layer)
        {
            Add(weight, layer, [embd]);
            if (normBias)
                Add(bias, layer, [embd]);
        }
    }

    // Old converters stored what the hyperparameters already say; llama.cpp skips these too.
    private static bool IsDerived(string name) =>
        name.EndsWith(".attn.bias", StringComparison.Ordinal) || name.EndsWith(".attn_rot_embd", StringComparison.Ordinal)
        || name.EndsWith(".attention.rotary_emb.inv_freq", StringComparison.Ordinal);

    private bool Add(WeightRole role, int layer, ReadOnlySpan<long> shape, bool required = true)
    {
        var name = WeightSpec.NameOf(Architecture, role, layer);
        if (File.FindTensor(name) is null && !required)
            return false;
        var tensor = Tensor(role, layer);
        var fits = true;
        for (var i = 0; i < 4; i++)
            fits &= tensor.Ne[i] == (i < shape.Length ? shape[i] : 1);
        if (!fits)
            throw new GgufException(File.Path, $"has the tensor '{name}' in the shape [{string.Join(", ", tensor.Ne)}], but its hyperparameters make that [{string.Join(", ", shape.ToArray())}]: the file is damaged, download it again");
        // ggml adds, scales by vectors and convolves in F32 only, and has no product with the types that are for
        // indices or for its own intermediate results: anything else ends the process.
        if (shape.Length == 1 || role is WeightRole.ConvolutionKernel or WeightRole.TokenTypes ? tensor.Type != GgmlType.F32 : !IsWeightType(tensor.Type))
            throw new GgufException(File.Path, $"has the tensor '{name}' in the type {tensor.Type}, which ggml does not compute with there: convert the model again");
        _weights.Add(new WeightSpec(role, layer, name));
        return true;
    }

    internal static bool IsWeightType(GgmlType type) => type is not (GgmlType.I8 or GgmlType.I16 or GgmlType.I32 or GgmlType.I64 or GgmlType.F64 or GgmlType.Q8_1 or GgmlType.Q8_K);

    private GgufTensor Tensor(WeightRole role, int layer)
    {
        var name = WeightSpec.NameOf(Architecture, role, layer);
        return File.FindTensor(name) ?? throw Lacks(name);
    }
}
