namespace Ergon.Inference;

/// <summary>One row of a pass: a token appended to a sequence.</summary>
/// <param name="Sequence">An open sequence of the engine's <see cref="KvCells"/>.</param>
/// <param name="Token">A token id of the vocabulary.</param>
/// <param name="WantsLogits">Whether the logits after this token are wanted.</param>
internal readonly record struct PassRow(int Sequence, int Token, bool WantsLogits);

/// <summary>What every segment of a pass is told. Filled anew for each pass, its memory reused.</summary>
internal sealed class Pass
{
    // Attention looks at a multiple of this many cells, so that the graph changes once in as many tokens.
    // libllama pads by the same number, which bit-identical results depend on.
    private const int ExtentStep = 256;

    private readonly int _window, _convolution;
    private readonly int[] _historyCells;
    private Half[] _mask = [], _windowMask = [];
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
        WriteCells = new long[maxRows];
        OutputRows = new int[maxRows];
    }

    public int Rows { get; private set; }

    public int Outputs { get; private set; }

    /// <summary>Cells that attention looks at.</summary>
    public int Extent { get; private set; }

    public int[] Tokens { get; }

    public int[] Positions { get; }

    /// <summary>The cell that each row's key and value go to.</summary>
    public long[] WriteCells { get; }

    /// <summary>Indices of the rows that want logits, or that stand for their texts.</summary>
    public int[] OutputRows { get; }

    /// <summary>[Extent, Rows]: 0 where a row may look, minus infinity elsewhere.</summary>
    public ReadOnlySpan<Half> Mask => _mask.AsSpan(0, Extent * Rows);

    /// <summary>The same for layers with a window.</summary>
    public ReadOnlySpan<Half> WindowMask => _windowMask.AsSpan(0, Extent * Rows);

    /// <summary>[convolution, Rows]: the cells of each row's last positions, its own the last; the cell after all others stands for those before the first.</summary>
    public ReadOnlySpan<int> HistoryCells => _historyCells.AsSpan(0, _convolution * Rows);

    /// <summary>[Rows, Outputs]: how much of each row is in the mean of each text.</summary>
    public ReadOnlySpan<float> Shares => _shares.AsSpan(0, Rows * Outputs);

    /// <summary>Describes rows that were appended to <paramref name="cells"/> just before, in this order.</summary>
    public void Fill(ReadOnlySpan<PassRow> rows, KvCells cells)
    {
        Rows = rows.Length;
        Outputs = 0;
        Extent = Math.Min(cells.Capacity, (cells.Extent + ExtentStep - 1) / ExtentStep * ExtentStep);
        HideAll();

        // The last row of a sequence is at its end; the ones before it count back from there.
        var later = 0;
        for (var i = rows.Length - 1; i >= 0; i--)
        {
            var row = rows[i];
            later = i + 1 < rows.Length && rows[i + 1].Sequence == row.Sequence ? later + 1 : 0;
            var of = cells.Cells(row.Sequence);
            var position = of.Length - 1 - later;
            Tokens[i] = row.Token;
            Positions[i] = position;
            WriteCells[i] = of[position];
            Show(_mask, of[..(position + 1)]);
            if (_window > 0)
                Show(_windowMask, of[Math.Max(0, position + 1 - _window)..(position + 1)]);
            for (var j = 0; j < _convolution; j++)
                _historyCells[(i * _convolution) + j] = position - _convolution + 1 + j is var past and >= 0 ? of[past] : cells.Capacity;

            void Show(Half[] mask, ReadOnlySpan<int> visible)
            {
                var row = mask.AsSpan(i * Extent, Extent);
                foreach (var cell in visible)
                    row[cell] = Half.Zero;
            }
        }
        for (var i = 0; i < rows.Length; i++)
        {
            if (rows[i].WantsLogits)
                OutputRows[Outputs++] = i;
        }
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
        (Extent, Outputs) = (Rows, texts.Length);
        HideAll();
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
                Show(_mask, row, start..(start + end));
                if (_window > 0)
                    Show(_windowMask, row, (start + Math.Max(0, position + 1 - _window))..(start + end));
            }
            OutputRows[i] = pooling == Pooling.Last ? start + length - 1 : start;
            _shares.AsSpan((i * Rows) + start, length).Fill(1f / length);
        }

        void Show(Half[] mask, int row, Range visible) => mask.AsSpan(row * Extent, Extent)[visible].Clear();
    }

    private void HideAll()
    {
        Hide(ref _mask);
        if (_window > 0)
            Hide(ref _windowMask);

        void Hide(ref Half[] mask)
        {
            if (mask.Length < Extent * Rows)
                mask = GC.AllocateUninitializedArray<Half>(Extent * Rows);
            mask.AsSpan(0, Extent * Rows).Fill(Half.NegativeInfinity);
        }
    }
}
