using Ergon.Models.Gguf;
using Ergon.Native;

namespace Ergon.Models;

/// <summary>
/// A model that libllama runs as a whole. Its loader asserts, whatever the architecture, what is checked here, and
/// an assertion ends the process; what it asserts of one architecture or another is found by
/// the trial in a process of its own. Sizes are estimates for choosing a device and a context.
/// </summary>
internal sealed class WholeModel : ModelInfo
{
    // LLAMA_MAX_LAYERS of llama-hparams.h; its LLAMA_MAX_EXPERTS is MaxExperts.
    private const int LayersOfLibllama = 512;

    // llama-model.cpp, LLAMA_ROPE_SCALING_TYPES.
    private static readonly string[] RopeScalings = ["none", "linear", "yarn", "longrope"];

    private readonly long _cachedValues; // of a position
    private readonly long _feedForwardLength, _expertsUsed;

    /// <exception cref="GgufException">A hyperparameter is missing, out of range, or contradicts another.</exception>
    public WholeModel(GgufFile file) : base(file)
    {
        var keys = new Hyperparameters(file, ArchitectureName);
        keys.Count("block_count", 1, LayersOfLibllama);
        keys.Count("nextn_predict_layers", 0, LayerCount, fallback: 0);
        int[] heads = keys.OfLayers("attention.head_count", LayerCount, MaxWidth) ?? new int[LayerCount];
        int[] kv = keys.OfLayers("attention.head_count_kv", LayerCount, MaxWidth) ?? heads;
        for (var i = 0; i < LayerCount; i++)
        {
            if (kv[i] > 0 && heads[i] % kv[i] != 0)
                throw keys.Damaged("attention.head_count_kv", kv[i], $"divide the {heads[i]} heads of layer {i}");
        }
        if (heads[0] > 0)
        {
            var length = EmbeddingLength / heads[0];
            HeadLengths = (keys.Count("attention.key_length", 1, MaxWidth, fallback: length), keys.Count("attention.value_length", 1, MaxWidth, fallback: length));
            if (HeadLengths.Key == 0)
                throw keys.Damaged("attention.head_count", heads[0], $"be at most the embedding_length, {EmbeddingLength}");
        }
        _cachedValues = kv.Sum(count => (long)count * (HeadLengths.Key + HeadLengths.Value));
        _feedForwardLength = keys.OfLayers("feed_forward_length", LayerCount, MaxWidth)?.Max() ?? EmbeddingLength;
        _expertsUsed = Experts(keys);
        long experts = Math.Max(1, keys.Count("expert_count", 0, MaxExperts, fallback: 0));
        var isTied = File.FindTensor("output.weight") is null;
        MatrixElements = File.Tensors.Where(t => t.Ne[1] > 1 && (isTied || t.Name != EmbeddingName))
            .Sum(t => t.Ne[2] == experts ? t.Elements / experts * _expertsUsed : t.Elements);
        if (keys.ArchitectureText("rope.scaling.type") is { } scaling && !RopeScalings.Contains(scaling))
            throw keys.Damaged("rope.scaling.type", $"'{scaling}'", $"be one of {string.Join(", ", RopeScalings)}");
    }

    private protected override IEnumerable<GgufTensor> Used => File.Tensors;

    /// <summary>Elements of the matrices that a row is multiplied by, of experts those that it takes.</summary>
    public long MatrixElements { get; }

    internal override int? LearnedPositions => (int?)File.FindTensor("position_embd.weight")?.Ne[1];

    internal override (int Key, int Value) HeadLengths { get; }

    internal override long RowValues => RowValuesOf(_feedForwardLength, _expertsUsed);

    /// <summary>What a position takes of the cache, in all layers together.</summary>
    public long CacheBytes(GgmlType type)
    {
        var (_, blockLength, blockBytes) = type.Traits();
        return Math.Max(1, _cachedValues / blockLength * blockBytes);
    }

    // Returns how many a row takes, 1 where there is one feed-forward block for all.
    private int Experts(Hyperparameters keys)
    {
        var count = keys.Count("expert_count", 0, MaxExperts, fallback: 0);
        var used = keys.OfLayers("expert_used_count", LayerCount, int.MaxValue)?.Max() ?? 0;
        var groups = keys.Count("expert_group_count", 0, int.MaxValue, fallback: 0);
        // These two say 1 and mean none.
        if (ArchitectureName is "hunyuan_vl" or "hunyuan-dense" && count <= 1)
            (count, used) = (0, 0);
        if (count == 0)
        {
            return used > 0 ? throw keys.Damaged("expert_used_count", used, "be 0 in a model without experts")
                : groups > 0 ? throw keys.Damaged("expert_group_count", groups, "be 0 in a model without experts")
                : 1;
        }
        if (used < 1 || used > count)
            throw keys.Damaged("expert_used_count", used, $"be 1 to the expert_count, {count}");
        if (groups >= count || (groups > 1 && count % groups != 0))
            throw keys.Damaged("expert_group_count", groups, $"divide the expert_count, {count}, and be less");
        if (groups > 1)
            keys.Count("expert_group_used_count", 1, groups - 1);
        return used;
    }
}
