using Ergon.Models;

namespace Ergon.Inference;

/// <summary>Which cells of the KV cache hold which positions of which sequence, in layers of each kind. Knows no tensor; not thread-safe.</summary>
internal sealed class KvCache : IKvCache
{
    private readonly int[] _floors;
    private readonly bool _slides;

    /// <param name="model">The model.</param>
    /// <param name="shape">How many cells there are.</param>
    /// <param name="copy">Copies cells of layers of a kind: from, to, how many; the two may overlap.</param>
    public KvCache(ModelDescription model, KvCacheShape shape, Action<CacheKind, int, int, int> copy)
    {
        Shape = shape;
        _slides = model.Layers.Window > 0 || model.Layers.ConvolutionLength > 0;
        _floors = new int[shape.Sequences];
        Full = new KvCells(shape.Cells, shape.Sequences);
        if (shape.WindowRegion > 0)
            Windowed = new SlidingCells(model.Layers.Window, shape.WindowRegion, shape.Sequences, (from, to, count) => copy(CacheKind.Windowed, from, to, count));
        if (shape.HistoryRegion > 0)
            History = new SlidingCells(model.Layers.ConvolutionLength, shape.HistoryRegion, shape.Sequences, (from, to, count) => copy(CacheKind.History, from, to, count));
    }

    public KvCacheShape Shape { get; }

    /// <summary>Cells of layers that keep everything.</summary>
    public KvCells Full { get; }

    /// <summary>Cells of layers with a window; <see langword="null"/> where these keep everything.</summary>
    public SlidingCells? Windowed { get; }

    /// <summary>Cells of layers with a short convolution; <see langword="null"/> where these keep everything.</summary>
    public SlidingCells? History { get; }

    /// <inheritdoc/>
    public int MaxSequences => Full.MaxSequences;

    /// <inheritdoc/>
    public int Capacity => Full.Capacity;

    /// <inheritdoc/>
    public int Free => Full.Free;

    /// <inheritdoc/>
    public int? Open() => Full.Open();

    /// <inheritdoc/>
    public bool IsOpen(int sequence) => Full.IsOpen(sequence);

    /// <inheritdoc/>
    public int Length(int sequence) => Full.Length(sequence);

    /// <inheritdoc/>
    public void Close(int sequence)
    {
        Truncate(sequence, 0);
        Full.Close(sequence);
    }

    /// <inheritdoc/>
    public int LeastLength(int sequence) => Math.Max(_floors[sequence], Math.Max(Windowed?.LeastLength(sequence) ?? 0, History?.LeastLength(sequence) ?? 0));

    /// <summary>Gives a sequence <paramref name="count"/> further positions; without room, changes nothing and returns false.</summary>
    public bool TryAppend(int sequence, int count)
    {
        if (!Full.TryAppend(sequence, count))
            return false;
        Windowed?.Append(sequence, count);
        History?.Append(sequence, count);
        return true;
    }

    /// <summary>Gives an empty sequence positions of which layers that look back over some get the last ones only; then only the last can be taken back, or all.</summary>
    public bool TryReserve(int sequence, int count)
    {
        if (!Full.TryAppend(sequence, count))
            return false;
        Windowed?.Reserve(sequence, count);
        History?.Reserve(sequence, count);
        if (_slides)
            _floors[sequence] = count - 1;
        return true;
    }

    /// <inheritdoc/>
    public int Truncate(int sequence, int length)
    {
        if (length < LeastLength(sequence))
            length = 0;
        Full.Truncate(sequence, length);
        Windowed?.Truncate(sequence, length);
        History?.Truncate(sequence, length);
        if (length == 0)
            _floors[sequence] = 0;
        return length;
    }

    /// <inheritdoc/>
    public int? Fork(int sequence, int length)
    {
        if (length < LeastLength(sequence))
            length = 0;
        if (Full.Fork(sequence, length) is not { } fork)
            return null;
        Windowed?.Fork(sequence, fork, length);
        History?.Fork(sequence, fork, length);
        _floors[fork] = Math.Min(_floors[sequence], length);
        return fork;
    }

    /// <summary>The first position of a sequence that layers of a kind keep.</summary>
    public int FirstKept(CacheKind kind, int sequence) => kind switch
    {
        CacheKind.Windowed => Windowed!.First(sequence),
        CacheKind.History => History!.First(sequence),
        _ => 0,
    };

    /// <summary>The cell of a position in layers of a kind.</summary>
    public int CellOf(CacheKind kind, int sequence, int position) => kind switch
    {
        CacheKind.Windowed => Windowed!.CellOf(sequence, position),
        CacheKind.History => History!.CellOf(sequence, position),
        _ => Full.Cells(sequence)[position],
    };
}
