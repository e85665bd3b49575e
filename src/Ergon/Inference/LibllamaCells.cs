using Ergon.Native.Llama;

namespace Ergon.Inference;

/// <summary>
/// The sequences of a libllama context. <see cref="KvCells"/> counts; libllama's own memory follows every change
/// and is asked what it kept, and where the two would differ the sequence is forgotten in both.
/// </summary>
internal sealed class LibllamaCells(LlamaContext context, int window, int capacity, int maxSequences) : IKvCache
{
    private readonly KvCells _counts = new(capacity, maxSequences);

    /// <inheritdoc/>
    public int MaxSequences => _counts.MaxSequences;

    /// <inheritdoc/>
    public int Capacity => _counts.Capacity;

    /// <inheritdoc/>
    public int Free => _counts.Free;

    /// <inheritdoc/>
    public int? Open() => _counts.Open();

    /// <inheritdoc/>
    public bool IsOpen(int sequence) => _counts.IsOpen(sequence);

    /// <inheritdoc/>
    public void Close(int sequence)
    {
        Truncate(sequence, 0);
        _counts.Close(sequence);
    }

    /// <inheritdoc/>
    public int Length(int sequence) => _counts.Length(sequence);

    /// <inheritdoc/>
    public int LeastLength(int sequence)
    {
        var (first, length) = (context.Positions(sequence).First, Length(sequence));
        // A state has its last position only, and no window to go on from another.
        return first <= 0 ? 0 : Math.Min(length, window > 0 ? first + window : length);
    }

    /// <inheritdoc/>
    public int Truncate(int sequence, int length)
    {
        if (length == _counts.Length(sequence))
            return length;
        _counts.Truncate(sequence, length);
        return Settled(sequence, context.TryTruncate(sequence, length));
    }

    /// <inheritdoc/>
    public int? Fork(int sequence, int length)
    {
        var isWhole = length == _counts.Length(sequence);
        if (_counts.Fork(sequence, length) is not { } fork)
            return null;
        if (length > 0)
        {
            context.Share(sequence, fork, length);
            Settled(fork, isDone: true, isWhole);
        }
        return fork;
    }

    /// <summary>Counts a further position; libllama gets it with its token.</summary>
    public void Append(int sequence) => _counts.TryAppend(sequence, 1);

    /// <summary>Takes positions back that a pass did not compute, whatever of them libllama has.</summary>
    public void TakeBack(int sequence, int length)
    {
        _counts.Truncate(sequence, length);
        Settled(sequence, context.TryTruncate(sequence, length));
    }

    /// <summary>Forgets all sequences and overwrites what they held.</summary>
    public void Clear()
    {
        context.Clear();
        for (var sequence = 0; sequence < MaxSequences; sequence++)
        {
            if (IsOpen(sequence))
                _counts.Truncate(sequence, 0);
        }
    }

    // What has only a state (mamba, rwkv) cannot go back; what overwrites keys and values beyond a window may lack
    // those that an earlier position looks at.
    private int Settled(int sequence, bool isDone, bool isWhole = false)
    {
        var length = _counts.Length(sequence);
        var (first, last) = context.Positions(sequence);
        if (isDone && last == length - 1 && (isWhole || first <= Math.Max(0, length - window)))
            return length;
        if (!context.TryTruncate(sequence, 0))
            throw new ErgonException("libllama does not forget a sequence; load the model again.");
        _counts.Truncate(sequence, 0);
        return 0;
    }
}
