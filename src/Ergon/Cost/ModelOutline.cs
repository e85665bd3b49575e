using Ergon.Models;
using Ergon.Native;

namespace Ergon.Cost;

/// <summary>A weight as its cost sees it.</summary>
/// <param name="Role">Its use.</param>
/// <param name="Layer">Its layer; -1 before and after the layers.</param>
/// <param name="RowLength">Elements of a row: what goes in.</param>
/// <param name="Rows">Rows: what comes out; 1 for a vector.</param>
/// <param name="Type">How it is stored.</param>
/// <param name="Experts">Matrices of this shape, of which a row uses some.</param>
internal readonly record struct OutlineWeight(WeightRole Role, int Layer, long RowLength, long Rows, GgmlType Type, int Experts = 1)
{
    /// <summary>Bytes of one matrix.</summary>
    public long Bytes => BytesOf(Type, RowLength) * Rows;

    /// <summary>Bytes of one row.</summary>
    public long RowBytes => BytesOf(Type, RowLength);

    private static long BytesOf(GgmlType type, long elements)
    {
        var traits = type.Traits();
        return (elements + traits.BlockSize - 1) / traits.BlockSize * traits.BlockBytes;
    }
}

/// <summary>What the cost of a model follows from: of a file that is here (<see cref="Of(ModelDescription)"/>), or of a published shape.</summary>
internal sealed record ModelOutline
{
    public required string Name { get; init; }
    public required int Layers { get; init; }
    public required int Embedding { get; init; }
    public required int Heads { get; init; }
    public required int HeadsKv { get; init; }
    public required int HeadLength { get; init; }

    /// <summary>Experts a layer; 0 where the block is one.</summary>
    public int Experts { get; init; }

    /// <summary>Experts that a row takes.</summary>
    public int ExpertsUsed { get; init; }

    /// <summary>Positions that a layer with a window looks back over; 0: none has one.</summary>
    public int Window { get; init; }

    /// <summary>Positions that a short convolution reads; 0: none is there.</summary>
    public int ConvolutionLength { get; init; }

    public required IReadOnlyList<bool> Windowed { get; init; } // [layers]
    public required IReadOnlyList<bool> Convolved { get; init; } // [layers]

    /// <summary>Every weight; a tied output stands twice, once for each use.</summary>
    public required IReadOnlyList<OutlineWeight> Weights { get; init; }

    /// <summary>Whether the output matrix is the embedding, and so resident once.</summary>
    public bool TiedOutput { get; init; }

    /// <summary>Values of all query heads of a row.</summary>
    public long QueryWidth => (long)Heads * HeadLength;

    /// <summary>Values of all key heads of a row.</summary>
    public long KeyWidth => (long)HeadsKv * HeadLength;

    /// <summary>Bytes of the weights in memory, a tied matrix once.</summary>
    public long WeightBytes => Weights.Sum(w => w.Bytes * w.Experts) - (TiedOutput ? Weights.First(w => w.Role == WeightRole.Output).Bytes : 0);

    /// <summary>What a position takes of the cache in all layers that keep every position, in bytes.</summary>
    public long CacheBytes(GgmlType type)
    {
        var traits = type.Traits();
        return Convolved.Count(c => !c) * 2L * ((KeyWidth + traits.BlockSize - 1) / traits.BlockSize) * traits.BlockBytes;
    }

    /// <summary>The outline of a model's file, with the types of its own tensors.</summary>
    /// <exception cref="ArgumentException">The model is an encoder, which generates nothing.</exception>
    public static ModelOutline Of(ModelDescription model)
    {
        if (model.IsEncoder)
            throw new ArgumentException($"'{model.Name}' is an encoder; costs are those of models that generate.", nameof(model));
        var layers = Enumerable.Range(0, model.LayerCount).ToArray();
        return new ModelOutline
        {
            Name = model.Name,
            Layers = model.LayerCount,
            Embedding = model.EmbeddingLength,
            Heads = model.HeadCount,
            HeadsKv = model.HeadCountKv,
            HeadLength = model.HeadLength,
            Experts = model.ExpertCount,
            ExpertsUsed = model.ExpertsUsed,
            Window = model.Layers.Window,
            ConvolutionLength = model.Layers.ConvolutionLength,
            Windowed = [.. layers.Select(model.Layers.HasWindow)],
            Convolved = [.. layers.Select(model.Layers.HasConvolution)],
            TiedOutput = model.Weights.Single(w => w.Role == WeightRole.Output).TensorName == model.Weights.First(w => w.Role == WeightRole.TokenEmbedding).TensorName,
            Weights = [.. model.Weights.Select(w =>
            {
                var tensor = model.File.FindTensor(w.TensorName)!;
                return new OutlineWeight(w.Role, w.Layer, tensor.Ne[0], tensor.Ne[1], tensor.Type, (int)tensor.Ne[2]);
            })],
        };
    }
}
