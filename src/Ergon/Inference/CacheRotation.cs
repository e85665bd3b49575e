using Ergon.Models;
using Ergon.Native;
using Ergon.Native.Tensors;

namespace Ergon.Inference;

/// <summary>
/// What quantised keys and values are turned by before they are stored: a Hadamard matrix spreads a value that stands
/// out over its neighbours, so that it does not take the others' precision in its block. Queries are turned alike, which
/// leaves their products with keys as they are, and what attention gives is turned back: the matrix is its own inverse.
/// </summary>
/// <param name="Keys">[n, n] for queries and keys; null where nothing is turned.</param>
/// <param name="Values">[m, m] for values, and for what attention gives.</param>
internal readonly record struct CacheRotation(Tensor Keys, Tensor Values)
{
    // The smallest that helps; llama.cpp found it best for values, and the largest that fits for keys (llama.cpp#21038).
    private const int Smallest = 64;

    /// <summary>Bytes that both take.</summary>
    public long Bytes => Keys.IsNull ? 0 : Keys.Bytes + Values.Bytes;

    /// <summary>The matrices for a model's cache, without data; none where it is not quantised or heads have another length.</summary>
    public static CacheRotation For(ModelDescription model, GgmlType cacheType, TensorArena arena)
    {
        if (cacheType.Traits().BlockSize == 1 || model.HeadLength % Smallest != 0)
            return default;
        var n = Smallest;
        while (model.HeadLength % (2 * n) == 0)
            n *= 2;
        return new(arena.New(GgmlType.F32, n, n), arena.New(GgmlType.F32, Smallest, Smallest));
    }

    /// <summary>Gives the matrices their data, once they have memory.</summary>
    public void Fill()
    {
        foreach (var tensor in (ReadOnlySpan<Tensor>)[Keys, Values])
        {
            if (!tensor.IsNull)
                tensor.Set<float>(Hadamard((int)tensor.Ne(0)));
        }
    }

    // Sylvester's construction, scaled so that rows have the length 1: +-1 by the parity of the ones that i and j share.
    private static float[] Hadamard(int n)
    {
        var values = new float[n * n];
        var one = 1 / MathF.Sqrt(n);
        for (var i = 0; i < n; i++)
        {
            for (var j = 0; j < n; j++)
                values[(i * n) + j] = int.IsOddInteger(System.Numerics.BitOperations.PopCount((uint)(i & j))) ? -one : one;
        }
        return values;
    }
}
