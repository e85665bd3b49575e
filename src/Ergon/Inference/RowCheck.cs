namespace Ergon.Inference;

/// <summary>Looks at the rows of a pass before native code does: it indexes the embedding with tokens, and positions follow from where the rows of a sequence stand.</summary>
internal sealed class RowCheck(int vocabularySize, IKvCache cells)
{
    private readonly long[] _checked = new long[cells.MaxSequences]; // the check in which a sequence last had rows
    private long _checks;

    /// <exception cref="ErgonException">A token is none of the vocabulary.</exception>
    /// <exception cref="ArgumentException">There are none or too many, a sequence is not open, or its rows do not stand together.</exception>
    public void Validate(scoped ReadOnlySpan<PassRow> rows)
    {
        ArgumentOutOfRangeException.ThrowIfZero(rows.Length);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(rows.Length, Engine.MaxRows);
        _checks++;
        for (var i = 0; i < rows.Length; i++)
        {
            var (sequence, token, _) = rows[i];
            if ((uint)token >= (uint)vocabularySize)
                throw new ErgonException($"Token id {token} is not in the vocabulary, whose ids are 0 to {vocabularySize - 1}.");
            if (i > 0 && sequence == rows[i - 1].Sequence)
                continue;
            if (!cells.IsOpen(sequence))
                throw new ArgumentException($"Row {i} is of sequence {sequence}, which is not open; there can be sequences 0 to {cells.MaxSequences - 1}.", nameof(rows));
            if (_checked[sequence] == _checks)
                throw new ArgumentException($"Row {i} is of sequence {sequence}, of which there are rows before others; the rows of a sequence stand together.", nameof(rows));
            _checked[sequence] = _checks;
        }
    }
}
