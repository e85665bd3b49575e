using System.Runtime.InteropServices;

namespace Ergon.Inference;

/// <summary>
/// Which cells the rows of a pass look at, for the layers of one kind. The rows are divided into groups, each with
/// the stretch of cells that it needs: attention goes over every cell of a stretch for every row of its group, so
/// sequences that lie apart are looked at apart, unless there is so little to look at that one operation more costs as much.
/// </summary>
internal sealed class AttentionMask
{
    // Attention looks at a multiple of this many cells, so that the graph changes once in as many tokens.
    // libllama pads by the same number, which bit-identical results depend on.
    private const int Step = 256;

    // From 64 rows on, ggml's CPU attention goes by tiles of rows and rounds otherwise: rows of several sequences
    // stay below, so that each is computed as it is alone.
    private const int MaxSharedRows = 63;

    // Cells that a row can skip in the time that an operation takes to begin.
    private const int OperationCost = 512;

    private readonly List<AttentionGroup> _groups = [];
    private readonly List<int> _offsets = [];
    private Half[] _values = [];
    private int _capacity, _length, _group;

    /// <summary>The groups, in the order of their rows.</summary>
    public ReadOnlySpan<AttentionGroup> Groups => CollectionsMarshal.AsSpan(_groups);

    /// <summary>For one group after another [extent, rows]: 0 where a row may look, minus infinity elsewhere.</summary>
    public ReadOnlySpan<Half> Values => _values.AsSpan(0, _length);

    /// <summary>Cells that all rows look at, the sum over rows.</summary>
    public long Visible { get; private set; }

    /// <summary>Cells that any row of a sequence looks at, the sum over sequences.</summary>
    public long Distinct { get; private set; }

    /// <summary>Forgets all rows.</summary>
    /// <param name="capacity">Cells of the cache.</param>
    public void Begin(int capacity)
    {
        _capacity = capacity;
        _groups.Clear();
        _offsets.Clear();
        (_length, _group, Visible, Distinct) = (0, 0, 0, 0);
    }

    /// <summary>Adds the next rows, all of one sequence.</summary>
    /// <param name="rows">How many.</param>
    /// <param name="cells">The stretch of cells that they look at.</param>
    /// <param name="distinct">At how many of them.</param>
    public void Add(int rows, (int First, int End) cells, int distinct)
    {
        Distinct += distinct;
        var group = Padded(_groups.Count == 0 ? 0 : _groups[^1].FirstRow + _groups[^1].Rows, rows, cells.First, cells.End);
        if (_groups.Count > 0)
        {
            var last = _groups[^1];
            var both = Padded(last.FirstRow, last.Rows + rows, Math.Min(last.FirstCell, group.FirstCell), Math.Max(last.FirstCell + last.Extent, group.FirstCell + group.Extent));
            if (both.Rows <= MaxSharedRows && both.MaskLength <= last.MaskLength + group.MaskLength + OperationCost)
            {
                _groups[^1] = both;
                return;
            }
        }
        _groups.Add(group);
    }

    private AttentionGroup Padded(int firstRow, int rows, int first, int end)
    {
        first = first / Step * Step;
        return new AttentionGroup(firstRow, rows, first, Math.Min(_capacity, (end + Step - 1) / Step * Step) - first);
    }

    /// <summary>Lets no row see anything; all rows are added.</summary>
    public void HideAll()
    {
        foreach (var group in _groups)
        {
            _offsets.Add(_length);
            _length += group.MaskLength;
        }
        if (_values.Length < _length)
            _values = GC.AllocateUninitializedArray<Half>(_length);
        _values.AsSpan(0, _length).Fill(Half.NegativeInfinity);
    }

    /// <summary>Lets a row see cells. Rows come in order.</summary>
    public void Show(int row, ReadOnlySpan<int> cells)
    {
        var values = Of(row, out var first);
        foreach (var cell in cells)
            values[cell - first] = Half.Zero;
        Visible += cells.Length;
    }

    /// <summary>Lets a row see a range of cells. Rows come in order.</summary>
    public void Show(int row, Range cells)
    {
        var values = Of(row, out var first)[(cells.Start.Value - first)..(cells.End.Value - first)];
        values.Clear();
        Visible += values.Length;
    }

    private Span<Half> Of(int row, out int first)
    {
        while (row >= _groups[_group].FirstRow + _groups[_group].Rows)
            _group++;
        var group = _groups[_group];
        first = group.FirstCell;
        return _values.AsSpan(_offsets[_group] + ((row - group.FirstRow) * group.Extent), group.Extent);
    }
}
