namespace Ergon.Inference;

/// <summary>
/// Which cells of the KV cache hold which positions of which sequence. One pool serves all sequences: a cell
/// holds the keys and values of one position in every layer and may belong to several sequences that share a
/// prefix. Knows no tensor; not thread-safe.
/// </summary>
internal sealed class KvCells : IKvCache
{
    private readonly int[] _references;
    private readonly List<int>?[] _sequences;
    private int _firstFree;

    /// <param name="capacity">Cells in the pool.</param>
    /// <param name="maxSequences">Sequences that may exist at once; their ids are 0 to this number, exclusive.</param>
    public KvCells(int capacity, int maxSequences)
    {
        _references = new int[capacity];
        _sequences = new List<int>?[maxSequences];
    }

    /// <inheritdoc/>
    public int MaxSequences => _sequences.Length;

    /// <inheritdoc/>
    public int Capacity => _references.Length;

    /// <inheritdoc/>
    public int Free => Capacity - Used;

    /// <summary>Cells that belong to at least one sequence.</summary>
    public int Used { get; private set; }

    /// <summary>One more than the highest used cell: how much of the cache attention must look at.</summary>
    public int Extent { get; private set; }

    /// <inheritdoc/>
    public int? Open()
    {
        var id = Array.IndexOf(_sequences, null);
        if (id < 0)
            return null;
        _sequences[id] = [];
        return id;
    }

    /// <inheritdoc/>
    public bool IsOpen(int sequence) => _sequences[sequence] is not null;

    /// <summary>Whether no other sequence shares the cell.</summary>
    public bool IsOwn(int cell) => _references[cell] == 1;

    /// <inheritdoc/>
    public void Close(int sequence)
    {
        Truncate(sequence, 0);
        _sequences[sequence] = null;
    }

    /// <summary>The cells of a sequence, by position.</summary>
    public ReadOnlySpan<int> Cells(int sequence) => System.Runtime.InteropServices.CollectionsMarshal.AsSpan(Sequence(sequence));

    /// <inheritdoc/>
    public int Length(int sequence) => Sequence(sequence).Count;

    /// <summary>Gives a sequence <paramref name="count"/> further positions, in the lowest free cells; without room, changes nothing and returns false.</summary>
    public bool TryAppend(int sequence, int count)
    {
        var cells = Sequence(sequence);
        if (count > Free)
            return false;
        for (; count > 0; count--)
        {
            while (_references[_firstFree] != 0)
                _firstFree++;
            _references[_firstFree] = 1;
            cells.Add(_firstFree);
            Extent = Math.Max(Extent, _firstFree + 1);
            Used++;
        }
        return true;
    }

    /// <inheritdoc/>
    public int Truncate(int sequence, int length)
    {
        var cells = Sequence(sequence);
        for (var i = cells.Count - 1; i >= length; i--)
        {
            if (--_references[cells[i]] > 0)
                continue;
            Used--;
            _firstFree = Math.Min(_firstFree, cells[i]);
        }
        cells.RemoveRange(length, cells.Count - length);
        while (Extent > 0 && _references[Extent - 1] == 0)
            Extent--;
        return cells.Count;
    }

    /// <inheritdoc/>
    public int? Fork(int sequence, int length)
    {
        var prefix = Sequence(sequence).GetRange(0, length);
        if (Open() is not { } id)
            return null;
        foreach (var cell in prefix)
            _references[cell]++;
        _sequences[id]!.AddRange(prefix);
        return id;
    }

    private List<int> Sequence(int id) => _sequences[id] ?? throw new ArgumentException($"Sequence {id} is not open.", nameof(id));
}
