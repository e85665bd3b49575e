using System.Numerics;
using Ergon.Models;
using Ergon.Native;
using Ergon.Native.Tensors;

namespace Ergon.Inference;

/// <summary>One tensor of the KV cache.</summary>
/// <param name="Type">How its values are stored.</param>
/// <param name="RowBytes">What it holds for one position.</param>
/// <param name="Keeps">How many last positions of a sequence it must hold, to go on from there or to compute the last anew.</param>
internal readonly record struct CellTensor(GgmlType Type, int RowBytes, int Keeps);

/// <summary>Ergon's own forward pass of a model over many sequences, on one device or several.</summary>
internal sealed class Engine : IEngine
{
    /// <summary>Rows a pass can have; more are several passes. llama.cpp's <c>n_ubatch</c>, which bit-identical results depend on.</summary>
    public const int MaxRows = 512;

    private readonly GgmlType _cacheType;
    private readonly Queue<Flight> _inFlight = [];
    private readonly bool[] _isInFlight; // by sequence
    private readonly RowCheck _check;
    private readonly Dictionary<int, CacheTensor[]> _cacheTensors = []; // by tier, once asked for
    private Pipeline _pipeline;
    private SegmentReport[] _reports;
    private int _reported;
    private bool _isClosed; // no segments could be loaded in place of those that were freed

    /// <param name="model">The model.</param>
    /// <param name="placements">Devices for all its stages, in order.</param>
    /// <param name="cells">Cells of the KV cache: positions of all sequences together.</param>
    /// <param name="maxSequences">Sequences at once.</param>
    /// <param name="cacheType">How keys and values are stored.</param>
    /// <param name="progress">Told the share loaded, 0 to 1.</param>
    /// <param name="cancellation">Stops loading.</param>
    /// <exception cref="ArgumentException">The placements do not cover the model, or name the stages of one tier twice.</exception>
    /// <exception cref="NativeException">A device failed or has not enough memory.</exception>
    public Engine(ModelDescription model, IReadOnlyList<Placement> placements, int cells, int maxSequences, GgmlType cacheType, IProgress<double>? progress = null, CancellationToken cancellation = default)
    {
        if (Placement.WhyNoCover(placements, model.LayerCount) is { } reason)
            throw new ArgumentException(reason, nameof(placements));
        (Model, _cacheType) = (model, cacheType);
        _reports = new SegmentReport[placements.Count];
        var shape = KvCacheShape.For(model, cells, maxSequences);
        Cells = new KvCache(model, shape, (kind, from, to, count) =>
        {
            foreach (var (segment, _) in Rest())
                segment.Copy(kind, from, to, count);
        });
        _check = new RowCheck(model.VocabularySize, Cells);
        _isInFlight = new bool[maxSequences];
        _pipeline = new Pipeline(model, placements, shape, cacheType, progress, cancellation);
    }

    public ModelDescription Model { get; }

    /// <summary>The opened devices.</summary>
    public IEnumerable<Backend> Backends => _pipeline.Backends;

    /// <summary>What runs on which device.</summary>
    public IReadOnlyList<Placement> Placements => _pipeline.Placements;

    /// <summary>The first device that failed since the last change; <see langword="null"/>: none has.</summary>
    public Placement? Lost => _pipeline.Lost;

    /// <summary>Told of each segment before it computes, on its device's thread; what it throws is a failure of the device. For tests.</summary>
    public Action<StageRange>? SegmentBegins
    {
        get => _pipeline.SegmentBegins;
        set => _pipeline.SegmentBegins = value;
    }

    /// <inheritdoc/>
    public ReadOnlySpan<SegmentReport> Reports => _reports.AsSpan(0, _reported);

    /// <summary>The sequences and their cells.</summary>
    public KvCache Cells { get; }

    IKvCache IEngine.Cells => Cells;

    /// <inheritdoc/>
    public int VocabularySize => Model.VocabularySize;

    /// <inheritdoc/>
    public int Depth => _pipeline.Depth;

    /// <inheritdoc/>
    public bool TryBegin(scoped ReadOnlySpan<PassRow> rows)
    {
        if (_isClosed)
            throw new ErgonException("The model's devices were given up, and it could not be loaded on others; load it anew.");
        if (_inFlight.Count == Depth)
            throw new InvalidOperationException($"{Depth} passes are in flight, as many as there can be; complete one first.");
        _check.Validate(rows);
        if (rows.Length > Cells.Free)
            return false;
        var flight = Unused();
        flight.Clear();
        try
        {
            for (int i = 0, count; i < rows.Length; i += count)
            {
                var sequence = rows[i].Sequence;
                count = Runs.Length(rows[i..]);
                var length = Cells.Length(sequence);
                if (_isInFlight[sequence])
                    throw new ArgumentException($"Row {i} is of sequence {sequence}, of which rows are in flight; complete their pass first.", nameof(rows));
                if (Model.Rope is null && length + count > Model.TrainingContext)
                    throw new ErgonException($"The model has {Model.TrainingContext} learned positions and cannot go beyond them.");
                flight.Extends(sequence, length);
                Cells.TryAppend(sequence, count);
            }
            flight.Fill(rows, Cells);
        }
        catch
        {
            flight.TakeBack(Cells);
            throw;
        }
        foreach (var (sequence, _) in flight.Before)
            _isInFlight[sequence] = true;
        _inFlight.Enqueue(flight);
        _pipeline.Start(flight);
        return true;
    }

    // The first, so that as long as equal groups of sequences take turns each finds the graphs of its last pass.
    private Flight Unused()
    {
        foreach (var flight in _pipeline.Flights)
        {
            if (!_inFlight.Contains(flight))
                return flight;
        }
        throw new InvalidOperationException("All flights are in use.");
    }

    /// <inheritdoc/>
    public ReadOnlySpan<float> Complete()
    {
        var flight = _inFlight.Dequeue();
        flight.Wait();
        foreach (var (sequence, _) in flight.Before)
            _isInFlight[sequence] = false;
        _reported = flight.CopyReports(_reports);
        try
        {
            return flight.Result();
        }
        catch
        {
            flight.TakeBack(Cells);
            throw;
        }
    }

    /// <inheritdoc/>
    public bool TryRun(scoped ReadOnlySpan<PassRow> rows, out ReadOnlySpan<float> logits)
    {
        logits = default;
        if (_inFlight.Count > 0)
            throw new InvalidOperationException("A pass is in flight; complete it before running one alone.");
        if (!TryBegin(rows))
            return false;
        logits = Complete();
        return true;
    }

    // The segments, once no device works on any: what is cached must not change under a pass.
    private IEnumerable<(Segment Segment, int? Tier)> Rest()
    {
        _pipeline.Settle();
        return _pipeline.Segments;
    }

    /// <summary>
    /// Forgets all of a sequence whose numbers are broken and overwrites them: a masked cell that holds NaN
    /// would spoil the attention of whoever looks at its neighbours.
    /// </summary>
    public void Discard(int sequence)
    {
        int[] own = [.. Cells.Full.Cells(sequence).ToArray().Where(Cells.Full.IsOwn)];
        for (int i = 0, run; i < own.Length; i += run)
        {
            run = Runs.Length(own.AsSpan(i));
            Overwrite(CacheKind.Full, (own[i], run));
        }
        if (Cells.Windowed is { } windowed)
            Overwrite(CacheKind.Windowed, windowed.Region(sequence));
        if (Cells.History is { } history)
            Overwrite(CacheKind.History, history.Region(sequence));
        Cells.Truncate(sequence, 0);

        void Overwrite(CacheKind kind, (int First, int Count) cells)
        {
            foreach (var (segment, _) in Rest())
                segment.Overwrite(kind, cells.First, cells.Count);
        }
    }

    /// <summary>Lets the stages that are placed by tiers run the rows of a sequence on another tier, and takes along what they cache of it.</summary>
    public void MoveTo(int sequence, int tier)
    {
        var length = Cells.Length(sequence);
        var (from, to) = (CellTensors(Cells.Full.Tier(sequence)), CellTensors(tier));
        for (var i = 0; i < from.Length && length > 0; i++)
        {
            if (from[i].Tensor.Equals(to[i].Tensor))
                continue;
            var first = Cells.FirstKept(from[i].Kind, sequence);
            var rows = new byte[(length - first) * from[i].Tensor.Nb(1)];
            Read(sequence, from[i], first, rows);
            Write(sequence, to[i], first, rows);
        }
        Cells.Full.SetTier(sequence, tier);
    }

    /// <inheritdoc/>
    public CellTensor[] CellLayout() => [.. CellTensors(tier: 0).Select(t => new CellTensor(t.Tensor.Type, (int)t.Tensor.Nb(1), t.Keeps))];

    /// <summary>Loads the model on devices beside those that compute it now. Of all methods this one may be called on any thread.</summary>
    /// <param name="placements">As for the constructor.</param>
    /// <param name="progress">Told the share loaded, 0 to 1.</param>
    /// <param name="cancellation">Stops loading.</param>
    /// <returns>For <see cref="Switch"/>, or to be disposed.</returns>
    /// <exception cref="NativeException">A device failed or has not enough memory.</exception>
    public Pipeline Prepare(IReadOnlyList<Placement> placements, IProgress<double>? progress = null, CancellationToken cancellation = default) =>
        Placement.WhyNoCover(placements, Model.LayerCount) is { } reason ? throw new ArgumentException(reason, nameof(placements))
        : new Pipeline(Model, placements, Cells.Shape, _cacheType, progress, cancellation);

    /// <summary>Computes with other segments from now on, with what sequences have in the cache; nothing is in flight. The former ones are freed.</summary>
    /// <param name="next">From <see cref="Prepare"/>; the engine's from now on, unless this throws: then all is as before.</param>
    public void Switch(Pipeline next)
    {
        var stash = Stash();
        Use(next);
        Restore(stash);
    }

    /// <summary>The same where not both fit into memory: frees the segments before it loads the others, and loads them again where that fails.</summary>
    /// <param name="placements">As for <see cref="Prepare"/>.</param>
    /// <exception cref="NativeException">A device failed or has not enough memory; sequences and segments are as before.</exception>
    public void Exchange(IReadOnlyList<Placement> placements)
    {
        if (Placement.WhyNoCover(placements, Model.LayerCount) is { } reason)
            throw new ArgumentException(reason, nameof(placements));
        var (stash, before) = (Stash(), Placements);
        try
        {
            UseInstead(placements);
        }
        catch
        {
            UseInstead(before);
            Restore(stash);
            throw;
        }
        Restore(stash);
    }

    /// <summary>Computes with other devices, because one failed: what was cached is lost, and every sequence is empty. The former segments are freed first.</summary>
    /// <param name="placements">As for <see cref="Prepare"/>.</param>
    /// <exception cref="NativeException">A device failed or has not enough memory; every pass fails from then on.</exception>
    public void Abandon(IReadOnlyList<Placement> placements)
    {
        _pipeline.Settle();
        ForgetAll();
        UseInstead(placements);
        SettleTiers();
    }

    private CellStash Stash()
    {
        if (_inFlight.Count > 0)
            throw new InvalidOperationException("A pass is in flight; complete it before the devices change.");
        _pipeline.Settle();
        return CellStash.Of(Cells, CellTensors);
    }

    private void Restore(CellStash stash)
    {
        try
        {
            stash.WriteTo(tier => CellTensors(Math.Min(tier, Tiers - 1)));
        }
        catch (NativeException)
        {
            // What is not there is computed again; what ails the device shows in the next pass.
            ForgetAll();
        }
        SettleTiers();
    }

    private void ForgetAll()
    {
        for (var sequence = 0; sequence < Cells.MaxSequences; sequence++)
        {
            if (Cells.IsOpen(sequence))
                Cells.Truncate(sequence, 0);
        }
    }

    private int Tiers => 1 + Math.Max(0, Placements.Max(p => p.Tier) ?? 0);

    private void SettleTiers()
    {
        for (var sequence = 0; sequence < Cells.MaxSequences; sequence++)
            Cells.Full.SetTier(sequence, Math.Min(Cells.Full.Tier(sequence), Tiers - 1));
    }

    private void UseInstead(IReadOnlyList<Placement> placements)
    {
        _isClosed = true;
        _pipeline.Dispose();
        Use(Prepare(placements));
    }

    private void Use(Pipeline next)
    {
        // One that was freed already does nothing more.
        _pipeline.Dispose();
        _cacheTensors.Clear();
        (_pipeline, _reports, _reported, _isClosed) = (next, new SegmentReport[next.Placements.Count], 0, false);
    }

    // What is kept of each position, in the model's order, and where.
    private CacheTensor[] CellTensors(int tier)
    {
        if (_cacheTensors.TryGetValue(tier, out var known))
            return known;
        var tensors = new List<CacheTensor>();
        for (var layer = 0; layer < Model.LayerCount; layer++)
        {
            var keeps = Model.Layers.HasConvolution(layer) ? Model.Layers.ConvolutionLength : Model.Layers.HasWindow(layer) ? Model.Layers.Window : int.MaxValue;
            var segment = _pipeline.Segments.First(s => (s.Tier is null || s.Tier == tier) && s.Segment.CacheOf(layer) is not null).Segment;
            var cache = segment.CacheOf(layer)!.Value;
            tensors.AddRange(cache.Tensors.Select(t => new CacheTensor(t, segment, cache.Kind, keeps)));
        }
        return _cacheTensors[tier] = [.. tensors];
    }

    /// <inheritdoc/>
    public bool TryReserve(int sequence, int count) => Cells.TryReserve(sequence, count);

    /// <inheritdoc/>
    public int ReadCells(int sequence, int tensor, int first, Span<byte> rows) => Read(sequence, CellTensors(Cells.Full.Tier(sequence))[tensor], first, rows);

    /// <inheritdoc/>
    public int WriteCells(int sequence, int tensor, int first, ReadOnlySpan<byte> rows) => Write(sequence, CellTensors(Cells.Full.Tier(sequence))[tensor], first, rows);

    private int Read(int sequence, CacheTensor from, int first, Span<byte> rows)
    {
        _pipeline.Settle();
        var rowBytes = (int)from.Tensor.Nb(1);
        var count = rows.Length / rowBytes;
        if (first + count > Cells.Length(sequence))
            throw CacheIsLost();
        for (int i = 0, run; i < count; i += run)
        {
            run = Neighbours(from.Kind, sequence, first + i, count - i);
            from.Tensor.Get(rows.Slice(i * rowBytes, run * rowBytes), (long)Cells.CellOf(from.Kind, sequence, first + i) * rowBytes);
        }
        return count;
    }

    private int Write(int sequence, CacheTensor to, int first, ReadOnlySpan<byte> rows)
    {
        _pipeline.Settle();
        var rowBytes = (int)to.Tensor.Nb(1);
        var count = rows.Length / rowBytes;
        if (first + count > Cells.Length(sequence))
            throw CacheIsLost();
        for (int i = 0, run; i < count; i += run)
        {
            run = Neighbours(to.Kind, sequence, first + i, count - i);
            var cell = Cells.CellOf(to.Kind, sequence, first + i);
            // Or the first pass that looks at them would clear them.
            to.Segment.Clear(to.Kind, cell, run);
            to.Tensor.Set(rows.Slice(i * rowBytes, run * rowBytes), (long)cell * rowBytes);
        }
        return count;
    }

    private static ErgonException CacheIsLost() => new("What the session has in the cache was lost while it was saved or restored, because the model's devices changed; ask again.");

    // Positions whose cells follow each other, at most so many: they are copied together.
    private int Neighbours(CacheKind kind, int sequence, int position, int most) =>
        kind == CacheKind.Full ? Math.Min(most, Runs.Length(Cells.Full.Cells(sequence)[position..])) : most;

    /// <summary>Whether every value is a finite number.</summary>
    public static bool IsFinite(ReadOnlySpan<float> values)
    {
        // x - x is 0 for finite numbers only. Summing keeps one accumulator per lane.
        var sums = Vector<float>.Zero;
        var i = 0;
        for (; i <= values.Length - Vector<float>.Count; i += Vector<float>.Count)
        {
            var v = new Vector<float>(values[i..]);
            sums += v - v;
        }
        var sum = Vector.Sum(sums);
        for (; i < values.Length; i++)
            sum += values[i] - values[i];
        return sum == 0;
    }

    public void Dispose() => _pipeline.Dispose();
}
