namespace Ergon.Inference;

/// <summary>
/// Which cells of the KV cache hold which positions of which sequence. One pool serves all sequences: a cell
/// holds the keys and values of one position in every layer and may belong to several sequences that share a
/// prefix. A sequence's cells ascend with its positions as long as there is room above, and sequences that begin
/// apart lie apart, so that attention looks at few cells of others, and at its own in the order in which it would
/// alone. Knows no tensor; not thread-safe.
/// </summary>
internal sealed class KvCells
{
    // Sequences begin at a multiple of this where there is room: attention's tiles then divide them as they would alone.
    private const int StartStep = 256;

    private readonly int[] _references;
    private readonly List<int>?[] _sequences;
    private readonly int[] _tiers;
    private int _lowestFree; // no free cell is lower

    /// <param name="capacity">Cells in the pool.</param>
    /// <param name="maxSequences">Sequences that may exist at once; their ids are 0 to this number, exclusive.</param>
    public KvCells(int capacity, int maxSequences)
    {
        _references = new int[capacity];
        _sequences = new List<int>?[maxSequences];
        _tiers = new int[maxSequences];
    }

    /// <summary>Sequences that may be open at once; their ids are 0 to this number, exclusive.</summary>
    public int MaxSequences => _sequences.Length;

    /// <summary>Cells in the pool.</summary>
    public int Capacity => _references.Length;

    /// <summary>Cells that belong to no sequence.</summary>
    public int Free => Capacity - Used;

    /// <summary>Cells that belong to at least one sequence.</summary>
    public int Used { get; private set; }

    /// <summary>Starts an empty sequence; <see langword="null"/> when all ids are taken.</summary>
    public int? Open()
    {
        var id = Array.IndexOf(_sequences, null);
        if (id < 0)
            return null;
        _sequences[id] = [];
        _tiers[id] = 0;
        return id;
    }

    /// <summary>Whether the sequence exists.</summary>
    public bool IsOpen(int sequence) => (uint)sequence < (uint)MaxSequences && _sequences[sequence] is not null;

    /// <summary>Whether no other sequence shares the cell.</summary>
    public bool IsOwn(int cell) => _references[cell] == 1;

    /// <summary>Forgets a sequence and frees its id.</summary>
    public void Close(int sequence)
    {
        Truncate(sequence, 0);
        _sequences[sequence] = null;
    }

    /// <summary>The cells of a sequence, by position.</summary>
    public ReadOnlySpan<int> Cells(int sequence) => System.Runtime.InteropServices.CollectionsMarshal.AsSpan(Sequence(sequence));

    /// <summary>Positions that a sequence has.</summary>
    public int Length(int sequence) => Sequence(sequence).Count;

    /// <summary>Gives a sequence <paramref name="count"/> further positions; without room, changes nothing and returns false.</summary>
    public bool TryAppend(int sequence, int count)
    {
        var cells = Sequence(sequence);
        if (count > Free)
            return false;
        for (; count > 0; count--)
        {
            var cell = cells.Count > 0 ? NextFree(cells[^1] + 1) : Start();
            _references[cell] = 1;
            cells.Add(cell);
            Used++;
        }
        return true;
    }

    // The next free cell above; the lowest of all when there is none.
    private int NextFree(int from)
    {
        var next = Array.IndexOf(_references, 0, from);
        if (next >= 0)
            return next;
        return _lowestFree = Array.IndexOf(_references, 0, _lowestFree);
    }

    // In the middle of the longest run of free cells, which leaves its lower neighbour room to grow.
    private int Start()
    {
        if (Used == 0)
            return 0;
        int best = 0, length = 0;
        for (int i = 0, end; i < _references.Length; i = end)
        {
            var free = _references[i] == 0;
            end = i + 1;
            while (end < _references.Length && (_references[end] == 0) == free)
                end++;
            if (free && end - i > length)
                (best, length) = (i, end - i);
        }
        var middle = best == 0 ? 0 : (best + (length / 2)) / StartStep * StartStep;
        return middle > best ? middle : best;
    }

    /// <summary>Forgets all positions of a sequence from <paramref name="length"/> on.</summary>
    public void Truncate(int sequence, int length)
    {
        var cells = Sequence(sequence);
        for (var i = cells.Count - 1; i >= length; i--)
        {
            if (--_references[cells[i]] > 0)
                continue;
            Used--;
            _lowestFree = Math.Min(_lowestFree, cells[i]);
        }
        cells.RemoveRange(length, cells.Count - length);
    }

    /// <summary>Makes a new sequence of the first <paramref name="length"/> positions of another, without copying any; <see langword="null"/> when all ids are taken.</summary>
    public int? Fork(int sequence, int length)
    {
        var prefix = Sequence(sequence).GetRange(0, length);
        if (Open() is not { } id)
            return null;
        foreach (var cell in prefix)
            _references[cell]++;
        _sequences[id]!.AddRange(prefix);
        _tiers[id] = _tiers[sequence];
        return id;
    }

    /// <summary>Which of several devices that share its layers keeps a sequence's keys and values; 0 unless <see cref="SetTier"/> said otherwise, or the origin of a fork.</summary>
    public int Tier(int sequence) => _tiers[sequence];

    public void SetTier(int sequence, int tier) => _tiers[sequence] = tier;

    private List<int> Sequence(int id) => IsOpen(id) ? _sequences[id]! : throw new ArgumentException($"Sequence {id} is not open; there can be sequences 0 to {MaxSequences - 1}.", nameof(id));
}
