namespace Ergon.Inference;

/// <summary>
/// Cells of layers that look back over a few positions only: a region for each sequence, in which its last positions
/// lie in order. A region that is full begins anew with those that can still be reached, which are copied.
/// Knows no tensor; not thread-safe.
/// </summary>
/// <param name="reach">Positions that a layer looks back over, its own included.</param>
/// <param name="region">Cells of a sequence.</param>
/// <param name="sequences">Sequences that may be open at once.</param>
/// <param name="copy">Copies cells: from, to, how many; the two may overlap.</param>
internal sealed class SlidingCells(int reach, int region, int sequences, Action<int, int, int> copy)
{
    /// <summary>Positions that can be appended and then taken back whatever came before: the longest draft.</summary>
    public const int Rollback = 64;

    // Attention's tiles then divide the positions as they would if all were kept.
    private const int Alignment = 64;

    private readonly (int Origin, int End)[] _kept = new (int, int)[sequences]; // positions

    /// <summary>Cells that a sequence needs, to let passes of any size run and to be copied once in many.</summary>
    public static long RegionFor(int reach) => ((long)reach + Engine.MaxRows + Rollback + Alignment + 255) / 256 * 256;

    /// <summary>Cells of all sequences.</summary>
    public int Capacity => region * sequences;

    /// <summary>The cell of a position that is kept; the next are those of the next positions.</summary>
    public int CellOf(int sequence, int position) => (sequence * region) + position - _kept[sequence].Origin;

    /// <summary>The first position that is kept.</summary>
    public int First(int sequence) => _kept[sequence].Origin;

    /// <summary>Appends positions, at most <see cref="Engine.MaxRows"/>.</summary>
    public void Append(int sequence, int count)
    {
        ref var kept = ref _kept[sequence];
        if (kept.End - kept.Origin + count > region)
            Slide(sequence, sequence, kept.End);
        kept.End += count;
    }

    /// <summary>The fewest positions after which a sequence can go on; it can always begin anew.</summary>
    public int LeastLength(int sequence) => _kept[sequence].Origin is var origin and > 0 ? origin + reach - 1 : 0;

    /// <summary>Forgets positions from <paramref name="length"/> on; at least <see cref="LeastLength"/> are left, or none.</summary>
    public void Truncate(int sequence, int length) => _kept[sequence] = (length == 0 ? 0 : _kept[sequence].Origin, length);

    /// <summary>Gives an empty sequence a copy of another's positions before <paramref name="length"/>; at least <see cref="LeastLength"/>, or none.</summary>
    public void Fork(int from, int to, int length) => Slide(from, to, length);

    /// <summary>Gives an empty sequence its last positions before <paramref name="length"/>, which are still to be written.</summary>
    public void Reserve(int sequence, int length) => _kept[sequence] = (OriginFor(length), length);

    /// <summary>The cells of a sequence's region.</summary>
    public (int First, int Count) Region(int sequence) => (sequence * region, region);

    private void Slide(int from, int to, int length)
    {
        if (length == 0)
        {
            _kept[to] = default;
            return;
        }
        var origin = Math.Max(_kept[from].Origin, OriginFor(length));
        copy(CellOf(from, origin), to * region, length - origin);
        _kept[to] = (origin, length);
    }

    private int OriginFor(int length) => Math.Max(0, length - reach + 1 - Rollback) / Alignment * Alignment;
}
