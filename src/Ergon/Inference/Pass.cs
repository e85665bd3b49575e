namespace Ergon.Inference;

/// <summary>One row of a pass: a token appended to a sequence.</summary>
/// <param name="Sequence">An open sequence of the engine's <see cref="KvCells"/>.</param>
/// <param name="Token">A token id of the vocabulary.</param>
/// <param name="WantsLogits">Whether the logits after this token are wanted.</param>
internal readonly record struct PassRow(int Sequence, int Token, bool WantsLogits);

/// <summary>What every segment of a pass is told. Filled anew for each pass, its memory reused.</summary>
internal sealed class Pass
{
    private readonly int _window, _convolution;
    private readonly int[] _historyCells;
    private readonly long[][] _writeCells = new long[(int)CacheKind.History + 1][];
    private readonly List<Run> _runs = [];
    private readonly List<int> _shape = [];
    private float[] _shares = [];

    /// <param name="maxRows">Rows that a pass can have.</param>
    /// <param name="window">Positions that layers with a window look back over; 0 where no layer has one.</param>
    /// <param name="convolution">Positions that short convolutions read; 0 where no layer has one.</param>
    public Pass(int maxRows, int window, int convolution)
    {
        (_window, _convolution) = (window, convolution);
        _historyCells = new int[maxRows * convolution];
        Tokens = new int[maxRows];
        Positions = new int[maxRows];
        for (var kind = 0; kind < _writeCells.Length; kind++)
            _writeCells[kind] = new long[maxRows];
        OutputRows = new int[maxRows];
        RowIndices = new int[maxRows];
        OutputIndices = new int[maxRows];
    }

    public int Rows { get; private set; }

    public int Outputs { get; private set; }

    public int[] Tokens { get; }

    public int[] Positions { get; }

    /// <summary>The cell that what each row leaves goes to, in layers of a kind.</summary>
    public ReadOnlySpan<long> WriteCells(CacheKind kind) => _writeCells[(int)kind].AsSpan(0, Rows);

    /// <summary>Indices of the rows that want logits, in the order in which these were asked for, or that stand for their texts.</summary>
    public int[] OutputRows { get; }

    /// <summary>Which of the rows that were asked for stands where: those that look at neighbouring cells stand together.</summary>
    public int[] RowIndices { get; }

    /// <summary>Which of the outputs that were asked for each output is.</summary>
    public int[] OutputIndices { get; }

    /// <summary>Whether the outputs are a choice of the rows, or stand in another order.</summary>
    public bool PicksOutputs { get; private set; }

    /// <summary>What layers without a window look at.</summary>
    public AttentionMask Full { get; } = new();

    /// <summary>What layers with a window look at.</summary>
    public AttentionMask Windowed { get; } = new();

    /// <summary>[convolution, Rows]: the cells of each row's last positions, its own the last; the cell after all others stands for those before the first.</summary>
    public ReadOnlySpan<int> HistoryCells => _historyCells.AsSpan(0, _convolution * Rows);

    /// <summary>[Rows, Outputs]: how much of each row is in the mean of each text.</summary>
    public ReadOnlySpan<float> Shares => _shares.AsSpan(0, Rows * Outputs);

    /// <summary>Everything that a graph is built for: passes of one shape can share a graph.</summary>
    public ReadOnlySpan<int> Shape => System.Runtime.InteropServices.CollectionsMarshal.AsSpan(_shape);

    /// <summary>Describes rows that were appended to <paramref name="cache"/> just before, in this order.</summary>
    /// <param name="rows">All rows of the pass.</param>
    /// <param name="cache">Where they stand.</param>
    /// <param name="tier">Of which tier's sequences to take the rows; <see langword="null"/> for all.</param>
    public void Fill(ReadOnlySpan<PassRow> rows, KvCache cache, int? tier = null)
    {
        FindRuns(rows, cache, tier);
        Full.Begin(cache.Capacity);
        Windowed.Begin(cache.Windowed?.Capacity ?? cache.Capacity);
        foreach (var run in _runs)
        {
            Full.Add(run.Rows, run.Full, cache.Length(run.Sequence));
            if (_window > 0)
                Windowed.Add(run.Rows, run.Windowed, Math.Min(cache.Length(run.Sequence), run.Rows - 1 + _window));
        }
        Full.HideAll();
        Windowed.HideAll();

        Rows = 0;
        foreach (var run in _runs)
        {
            var of = cache.Full.Cells(run.Sequence);
            for (var i = 0; i < run.Rows; i++, Rows++)
            {
                var position = of.Length - run.Rows + i;
                Tokens[Rows] = rows[run.First + i].Token;
                Positions[Rows] = position;
                _writeCells[(int)CacheKind.Full][Rows] = of[position];
                RowIndices[Rows] = run.First + i;
                Full.Show(Rows, of[..(position + 1)]);
                if (_window > 0)
                    ShowWindow(cache, run.Sequence, of, position);
                if (_convolution > 0)
                    ReadHistory(cache, run.Sequence, of, position);
            }
        }
        PickOutputs(rows);
        Describe();
    }

    /// <summary>Describes whole texts, whose rows see those of their own text.</summary>
    /// <param name="texts">Tokens, at least one of each text.</param>
    /// <param name="causal">Whether a row sees only what is before it, and itself.</param>
    /// <param name="pooling">Which row of a text stands for it, unless all do.</param>
    public void Fill(ReadOnlySpan<int[]> texts, bool causal, Pooling pooling)
    {
        Rows = 0;
        foreach (var text in texts)
            Rows += text.Length;
        Outputs = texts.Length;
        foreach (var mask in (ReadOnlySpan<AttentionMask>)[Full, Windowed])
            mask.Begin(Rows);
        Full.Add(Rows, (0, Rows), Rows);
        if (_window > 0)
            Windowed.Add(Rows, (0, Rows), Rows);
        Full.HideAll();
        Windowed.HideAll();
        if (_shares.Length < Rows * Outputs)
            _shares = GC.AllocateUninitializedArray<float>(Rows * Outputs);
        _shares.AsSpan(0, Rows * Outputs).Clear();

        var start = 0;
        for (var i = 0; i < texts.Length; start += texts[i++].Length)
        {
            var length = texts[i].Length;
            texts[i].CopyTo(Tokens, start);
            for (var position = 0; position < length; position++)
            {
                var row = start + position;
                Positions[row] = position;
                var end = causal ? position + 1 : length;
                Full.Show(row, start..(start + end));
                if (_window > 0)
                    Windowed.Show(row, (start + Math.Max(0, position + 1 - _window))..(start + end));
            }
            OutputRows[i] = pooling == Pooling.Last ? start + length - 1 : start;
            _shares.AsSpan((i * Rows) + start, length).Fill(1f / length);
        }
        Describe();
    }

    private void ShowWindow(KvCache cache, int sequence, ReadOnlySpan<int> all, int position)
    {
        var first = Math.Max(0, position + 1 - _window);
        if (cache.Windowed is not { } windowed)
        {
            Windowed.Show(Rows, all[first..(position + 1)]);
            return;
        }
        var own = windowed.CellOf(sequence, position);
        _writeCells[(int)CacheKind.Windowed][Rows] = own;
        Windowed.Show(Rows, (own - (position - first))..(own + 1));
    }

    private void ReadHistory(KvCache cache, int sequence, ReadOnlySpan<int> all, int position)
    {
        if (cache.History is { } history)
            _writeCells[(int)CacheKind.History][Rows] = history.CellOf(sequence, position);
        for (var j = 0; j < _convolution; j++)
        {
            var past = position - _convolution + 1 + j;
            _historyCells[(Rows * _convolution) + j] = cache.History is { } cells ? past >= 0 ? cells.CellOf(sequence, past) : cells.Capacity
                : past >= 0 ? all[past] : cache.Capacity;
        }
    }

    // The rows of one sequence, and the cells that they look at.
    private readonly record struct Run(int Sequence, int First, int Rows, (int First, int End) Full, (int First, int End) Windowed);

    // Those that look at neighbouring cells come together, so that they can share a look.
    private void FindRuns(ReadOnlySpan<PassRow> rows, KvCache cache, int? tier)
    {
        _runs.Clear();
        for (int first = 0, count; first < rows.Length; first += count)
        {
            var sequence = rows[first].Sequence;
            count = Runs.Length(rows[first..]);
            if (tier is not null && cache.Full.Tier(sequence) != tier)
                continue;
            var of = cache.Full.Cells(sequence);
            var reached = Math.Max(0, of.Length - count + 1 - _window);
            var windowed = _window == 0 ? default : cache.Windowed is { } sliding ? (sliding.CellOf(sequence, reached), sliding.CellOf(sequence, of.Length))
                : Stretch(of[reached..]);
            _runs.Add(new Run(sequence, first, count, Stretch(of), windowed));
        }
        if (_runs.Count > 1)
            _runs.Sort(static (a, b) => a.Full.First != b.Full.First ? a.Full.First.CompareTo(b.Full.First) : a.First.CompareTo(b.First));
    }

    private static (int First, int End) Stretch(ReadOnlySpan<int> cells)
    {
        int first = cells[0], last = cells[0];
        foreach (var cell in cells)
        {
            first = Math.Min(first, cell);
            last = Math.Max(last, cell);
        }
        return (first, last + 1);
    }

    private void PickOutputs(ReadOnlySpan<PassRow> rows)
    {
        Outputs = 0;
        PicksOutputs = false;
        // Where each asked-for row stands, in the order in which the rows were asked for.
        var asked = 0;
        for (var i = 0; i < rows.Length; i++)
        {
            if (!rows[i].WantsLogits)
                continue;
            var row = RowIndices.AsSpan(0, Rows).IndexOf(i);
            if (row >= 0)
            {
                PicksOutputs |= row != Outputs;
                OutputIndices[Outputs] = asked;
                OutputRows[Outputs++] = row;
            }
            asked++;
        }
        PicksOutputs |= Outputs != Rows;
    }

    private void Describe()
    {
        _shape.Clear();
        _shape.Add(Rows);
        _shape.Add(Outputs);
        _shape.Add(PicksOutputs ? 1 : 0);
        foreach (var mask in (ReadOnlySpan<AttentionMask>)[Full, Windowed])
        {
            foreach (var group in mask.Groups)
            {
                _shape.Add(group.Rows);
                _shape.Add(group.FirstCell);
                _shape.Add(group.Extent);
            }
        }
    }
}
