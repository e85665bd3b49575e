using Ergon.Native.Tensors;

namespace Ergon.Inference;

/// <summary>What a layer keeps of every cell: keys and values, or what its short convolution reads again.</summary>
internal readonly record struct LayerCache
{
    /// <summary>Which positions it keeps.</summary>
    public CacheKind Kind { get; init; }

    public Tensor Keys { get; init; } // [n_embd_kv, n_cells]

    public Tensor Values { get; init; } // [n_embd_kv, n_cells]

    public Tensor History { get; init; } // [n_embd, n_cells + 1]; the last is zero

    public Tensor[] Tensors => History.IsNull ? [Keys, Values] : [History];
}
