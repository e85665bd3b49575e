using System.Runtime.ExceptionServices;
using Ergon.Models;

namespace Ergon.Inference;

/// <summary>
/// A pass that devices compute, and what it has for itself so that several can be in flight: its rows, the values
/// between its segments, its results. Used again for later passes.
/// </summary>
internal sealed class Flight : IDisposable
{
    private readonly ModelDescription _model;
    private readonly Pass _rows;
    private readonly Pass[] _ofTiers; // the same rows, divided
    private readonly Boundary? _boundary;
    private readonly SegmentReport?[] _reports; // by lane; those without rows have none
    private readonly (int Sequence, int Length)[] _before;
    private readonly ManualResetEventSlim _done = new(initialState: true);
    private ExceptionDispatchInfo? _failure;
    private float[] _result = [];
    private int _resultLength, _sequences, _computing;

    /// <param name="number">Which of an engine's it is.</param>
    /// <param name="model">The model.</param>
    /// <param name="placements">What computes it.</param>
    /// <param name="maxSequences">Sequences that may have rows in it.</param>
    public Flight(int number, ModelDescription model, IReadOnlyList<Placement> placements, int maxSequences)
    {
        (Number, _model) = (number, model);
        _rows = NewPass();
        _ofTiers = [.. Enumerable.Range(0, 1 + (placements.Max(p => p.Tier) ?? -1)).Select(_ => NewPass())];
        _boundary = placements.Count > 1 ? new Boundary(model, Engine.MaxRows) : null;
        _reports = new SegmentReport?[placements.Count];
        _before = new (int, int)[maxSequences];

        Pass NewPass() => new(Engine.MaxRows, model.Layers.Window, model.Layers.ConvolutionLength);
    }

    public int Number { get; }

    /// <summary>Whether any of its rows wants logits.</summary>
    public bool HasOutputs => _rows.Outputs > 0;

    /// <summary>Why it need not go on.</summary>
    public bool HasFailed => Volatile.Read(ref _failure) is not null;

    /// <summary>How long the sequences that it extends were before.</summary>
    public ReadOnlySpan<(int Sequence, int Length)> Before => _before.AsSpan(0, _sequences);

    /// <summary>Notes that the pass is to extend a sequence, so that <see cref="TakeBack"/> can undo it.</summary>
    public void Extends(int sequence, int length) => _before[_sequences++] = (sequence, length);

    /// <summary>Takes back what the pass appended to sequences.</summary>
    public void TakeBack(KvCache cells)
    {
        foreach (var (sequence, length) in Before)
            cells.Truncate(sequence, length);
    }

    /// <summary>Forgets the sequences of the pass before.</summary>
    public void Clear() => _sequences = 0;

    /// <summary>Describes the pass, whose rows were appended just before.</summary>
    public void Fill(ReadOnlySpan<PassRow> rows, KvCache cells)
    {
        // Now, since other passes may change the cells before a device comes to this one.
        _rows.Fill(rows, cells);
        for (var tier = 0; tier < _ofTiers.Length; tier++)
            _ofTiers[tier].Fill(rows, cells, tier);
        _resultLength = _rows.Outputs * _model.VocabularySize;
        if (_result.Length < _resultLength)
            _result = GC.AllocateUninitializedArray<float>(_resultLength);
        Array.Clear(_reports);
        _failure = null;
        _done.Reset();
    }

    /// <summary>The rows that a tier's lanes compute; all without one.</summary>
    public Pass RowsOf(int? tier) => tier is { } index ? _ofTiers[index] : _rows;

    /// <summary>Computes a lane's segment, on its device's thread.</summary>
    public void Compute(Segment segment, int lane, int? tier) =>
        _reports[lane] = segment.Run(RowsOf(tier), _boundary, _result.AsSpan(0, _resultLength), Number) with { Placement = lane };

    /// <summary>Notes that so many lanes compute next, at the same time.</summary>
    public void Expect(int lanes) => Volatile.Write(ref _computing, lanes);

    /// <summary>Notes that a lane has ended; whether it was the last of those that compute.</summary>
    public bool IsLast() => Interlocked.Decrement(ref _computing) == 0;

    /// <summary>Fails the pass, if it is in flight and has not failed.</summary>
    public void Fail(ExceptionDispatchInfo failure)
    {
        if (!_done.IsSet)
            Interlocked.CompareExchange(ref _failure, failure, null);
    }

    /// <summary>No device does anything for it any more.</summary>
    public void End() => _done.Set();

    /// <summary>Waits until no device does anything for it.</summary>
    public void Wait() => _done.Wait();

    /// <summary>The logits, once it has ended.</summary>
    /// <exception cref="Native.NativeException">A device failed.</exception>
    public ReadOnlySpan<float> Result()
    {
        Volatile.Read(ref _failure)?.Throw();
        return _result.AsSpan(0, _resultLength);
    }

    /// <summary>What the segments did, in order.</summary>
    /// <returns>How many did something.</returns>
    public int CopyReports(Span<SegmentReport> to)
    {
        var count = 0;
        foreach (var report in _reports)
        {
            if (report is { } done)
                to[count++] = done;
        }
        return count;
    }

    public void Dispose() => _done.Dispose();
}
