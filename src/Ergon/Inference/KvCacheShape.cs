using Ergon.Models;
using Ergon.Native;

namespace Ergon.Inference;

/// <summary>What of a sequence's positions a layer keeps.</summary>
internal enum CacheKind
{
    /// <summary>All.</summary>
    Full,

    /// <summary>Those that a sliding window can still reach.</summary>
    Windowed,

    /// <summary>Those that a short convolution can still reach.</summary>
    History,
}

/// <summary>How many cells the layers of each kind have.</summary>
/// <param name="Cells">Cells that all sequences share, of layers that keep everything.</param>
/// <param name="Sequences">Sequences that may be open at once.</param>
/// <param name="WindowRegion">Cells of each sequence in layers with a window; 0 where they keep everything, because that takes no more.</param>
/// <param name="HistoryRegion">The same in layers with a short convolution.</param>
internal readonly record struct KvCacheShape(int Cells, int Sequences, int WindowRegion, int HistoryRegion)
{
    /// <summary>The shape for a model.</summary>
    /// <param name="model">The model.</param>
    /// <param name="cells">Positions of all sequences together.</param>
    /// <param name="sequences">Sequences that may be open at once.</param>
    public static KvCacheShape For(ModelDescription model, int cells, int sequences)
    {
        return new(cells, sequences, Region(model.Layers.Window), Region(model.Layers.ConvolutionLength));

        int Region(int reach)
        {
            var region = SlidingCells.RegionFor(reach);
            return reach > 0 && (long)region * sequences < cells ? (int)region : 0;
        }
    }

    /// <summary>What a layer keeps.</summary>
    public CacheKind KindOf(ModelDescription model, int layer) =>
        model.Layers.HasConvolution(layer) ? HistoryRegion > 0 ? CacheKind.History : CacheKind.Full
        : WindowRegion > 0 && model.Layers.HasWindow(layer) ? CacheKind.Windowed : CacheKind.Full;

    /// <summary>Cells of the layers of a kind.</summary>
    public int CellsOf(CacheKind kind) => kind switch
    {
        CacheKind.Windowed => WindowRegion * Sequences,
        CacheKind.History => HistoryRegion * Sequences,
        _ => Cells,
    };

    /// <summary>What all layers of a model take.</summary>
    public long Bytes(ModelDescription model, GgmlType cacheType)
    {
        var (_, blockLength, blockBytes) = cacheType.Traits();
        var bytes = 0L;
        for (var layer = 0; layer < model.LayerCount; layer++)
        {
            bytes += CellsOf(KindOf(model, layer)) * (model.Layers.HasConvolution(layer) ? (long)model.EmbeddingLength * sizeof(float)
                : 2L * model.HeadLength * model.HeadCountKv / blockLength * blockBytes);
        }
        return bytes;
    }
}
