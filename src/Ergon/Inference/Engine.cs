using System.Numerics;
using System.Runtime.ExceptionServices;
using Ergon.Models;
using Ergon.Native;
using Ergon.Native.Tensors;

namespace Ergon.Inference;

/// <summary>Which stages run on which device.</summary>
/// <param name="Device">The device.</param>
/// <param name="Stages">The run of stages; those of an engine follow each other and cover the model.</param>
/// <param name="Threads">CPU threads.</param>
/// <param name="Cpus">Logical CPUs to stay on, which makes a device of its own of them; <see langword="null"/> leaves the choice to the system.</param>
/// <param name="Tier">Of which sequences the rows run here, by <see cref="Engine.MoveTo"/>; <see langword="null"/>: of all. Placements of one run of stages and different tiers work at the same time.</param>
internal sealed record Placement(NativeDevice Device, StageRange Stages, int Threads, int[]? Cpus = null, int? Tier = null);

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

    private readonly List<(DeviceThread Thread, Placement First)> _devices = [];
    private readonly List<Lane> _lanes = [];
    private readonly Boundary? _boundary;
    private readonly Pass _pass;
    private readonly SegmentReport[] _reports;
    private readonly RowCheck _check;
    private readonly Dictionary<int, CacheTensor[]> _cacheTensors = []; // by tier, once asked for
    private float[] _result = [];
    private int _resultLength, _reported;

    // One segment and what it is told: all rows of a pass, or those of its tier.
    private sealed record Lane(Segment Segment, DeviceThread Thread, int? Tier, Pass Pass, Action Work);

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
        RequireCover(model, placements);
        Model = model;
        _pass = NewPass();
        _boundary = placements.Count > 1 ? new Boundary(model, MaxRows) : null;
        _reports = new SegmentReport[placements.Count];
        Cells = new KvCache(model, KvCacheShape.For(model, cells, maxSequences), (kind, from, to, count) =>
        {
            foreach (var lane in _lanes)
                lane.Segment.Copy(kind, from, to, count);
        });
        _check = new RowCheck(model.VocabularySize, Cells);
        try
        {
            var several = placements.Any(p => !IsSameDevice(p, placements[0]));
            foreach (var placement in placements)
            {
                if (!_devices.Exists(d => IsSameDevice(d.First, placement)))
                    _devices.Add((new DeviceThread(placement.Device, placement.Threads, placement.Cpus, isCaller: !several), placement));
                var thread = _devices.Find(d => IsSameDevice(d.First, placement)).Thread;
                // Here, not on the device's thread: threads that load would inherit its processors.
                var segment = new Segment(model, thread.Backend, placement.Stages, Cells.Shape, cacheType, progress, cancellation);
                var pass = placement.Tier is null ? _pass : NewPass();
                _lanes.Add(new Lane(segment, thread, placement.Tier, pass, () => segment.Run(pass, _boundary, _result.AsSpan(0, _resultLength))));
            }
        }
        catch
        {
            Dispose();
            throw;
        }

        Pass NewPass() => new(MaxRows, model.Layers.Window, model.Layers.ConvolutionLength);
    }

    private static bool IsSameDevice(Placement a, Placement b) => a.Device.Name == b.Device.Name && (a.Cpus ?? []).SequenceEqual(b.Cpus ?? []);

    private static void RequireCover(ModelDescription model, IReadOnlyList<Placement> placements)
    {
        var next = 0;
        for (var i = 0; i < placements.Count; i++)
        {
            var (stages, tier) = (placements[i].Stages, placements[i].Tier);
            var parallel = i > 0 && tier is not null && placements[i - 1].Tier is not null && stages == placements[i - 1].Stages;
            // After the last layer a value has a row for each output, which the tiers would mix up with those before.
            if ((!parallel && stages.First != next) || stages.End <= stages.First || (tier is not null && stages.End >= Stage.OfLayer(model.LayerCount)))
                throw new ArgumentException($"The placement of {stages} does not continue the model at stage {next}.", nameof(placements));
            next = stages.End;
        }
        if (next != Stage.Count(model.LayerCount))
            throw new ArgumentException($"The placements end at stage {next} of {Stage.Count(model.LayerCount)}.", nameof(placements));
        int[][] tiers = [.. placements.Where(p => p.Tier is not null).GroupBy(p => p.Stages).Select(g => g.Select(p => p.Tier!.Value).Order().ToArray())];
        if (tiers.Any(t => t[0] != 0 || t.Distinct().Count() < t.Length || !t.SequenceEqual(tiers[0])))
            throw new ArgumentException("Stages that are placed by tiers must be placed for the same tiers everywhere, each once, from 0 on.", nameof(placements));
    }

    public ModelDescription Model { get; }

    /// <summary>The opened devices.</summary>
    public IEnumerable<Backend> Backends => _devices.Select(d => d.Thread.Backend);

    /// <inheritdoc/>
    public ReadOnlySpan<SegmentReport> Reports => _reports.AsSpan(0, _reported);

    /// <summary>The sequences and their cells.</summary>
    public KvCache Cells { get; }

    IKvCache IEngine.Cells => Cells;

    /// <inheritdoc/>
    public int VocabularySize => Model.VocabularySize;

    /// <inheritdoc/>
    public bool TryRun(scoped ReadOnlySpan<PassRow> rows, out ReadOnlySpan<float> logits)
    {
        logits = default;
        _check.Validate(rows);
        if (rows.Length > Cells.Free)
            return false;
        Span<(int Sequence, int Length)> before = stackalloc (int, int)[Math.Min(rows.Length, Cells.MaxSequences)];
        var runs = 0;
        try
        {
            for (int i = 0, count; i < rows.Length; i += count)
            {
                var sequence = rows[i].Sequence;
                count = Runs.Length(rows[i..]);
                before[runs] = (sequence, Cells.Length(sequence));
                if (Model.Rope is null && before[runs].Length + count > Model.TrainingContext)
                    throw new ErgonException($"The model has {Model.TrainingContext} learned positions and cannot go beyond them.");
                runs++;
                Cells.TryAppend(sequence, count);
            }
            logits = Compute(rows);
            return true;
        }
        catch
        {
            foreach (var (sequence, length) in before[..runs])
                Cells.Truncate(sequence, length);
            throw;
        }
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
            foreach (var lane in _lanes)
                lane.Segment.Overwrite(kind, cells.First, cells.Count);
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

    // A tensor of the cache, the segment and kind of layer that it belongs to, and how many last positions of a sequence count in it.
    private readonly record struct CacheTensor(Tensor Tensor, Segment Segment, CacheKind Kind, int Keeps);

    // What is kept of each position, in the model's order, and where.
    private CacheTensor[] CellTensors(int tier)
    {
        if (_cacheTensors.TryGetValue(tier, out var known))
            return known;
        var tensors = new List<CacheTensor>();
        for (var layer = 0; layer < Model.LayerCount; layer++)
        {
            var keeps = Model.Layers.HasConvolution(layer) ? Model.Layers.ConvolutionLength : Model.Layers.HasWindow(layer) ? Model.Layers.Window : int.MaxValue;
            var segment = _lanes.First(l => (l.Tier is null || l.Tier == tier) && l.Segment.CacheOf(layer) is not null).Segment;
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
        var rowBytes = (int)from.Tensor.Nb(1);
        var count = rows.Length / rowBytes;
        for (int i = 0, run; i < count; i += run)
        {
            run = Neighbours(from.Kind, sequence, first + i, count - i);
            from.Tensor.Get(rows.Slice(i * rowBytes, run * rowBytes), (long)Cells.CellOf(from.Kind, sequence, first + i) * rowBytes);
        }
        return count;
    }

    private int Write(int sequence, CacheTensor to, int first, ReadOnlySpan<byte> rows)
    {
        var rowBytes = (int)to.Tensor.Nb(1);
        var count = rows.Length / rowBytes;
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

    private ReadOnlySpan<float> Compute(scoped ReadOnlySpan<PassRow> rows)
    {
        _pass.Fill(rows, Cells);
        _resultLength = _pass.Outputs * Model.VocabularySize;
        if (_result.Length < _resultLength)
            _result = GC.AllocateUninitializedArray<float>(_resultLength);
        _reported = 0;
        for (int i = 0, end; i < _lanes.Count; i = end)
        {
            var stages = _lanes[i].Segment.Stages;
            for (end = i + 1; end < _lanes.Count && _lanes[end].Segment.Stages == stages; end++)
            {
            }
            // Without anything to hand on, the feed-forward block of the last layer and the head have nothing to do.
            if (_pass.Outputs == 0 && stages.First >= Stage.OfLayer(Model.LayerCount) - 1)
                break;
            Run(rows, i, end);
        }
        return _result.AsSpan(0, _resultLength);
    }

    // Lanes of one run of stages, all at the same time.
    private void Run(scoped ReadOnlySpan<PassRow> rows, int first, int end)
    {
        for (var i = first; i < end; i++)
        {
            var lane = _lanes[i];
            if (lane.Tier is not null)
                lane.Pass.Fill(rows, Cells, lane.Tier);
            if (lane.Pass.Rows > 0)
                lane.Thread.Begin(lane.Work);
        }
        ExceptionDispatchInfo? failure = null;
        for (var i = first; i < end; i++)
        {
            if (_lanes[i].Pass.Rows == 0)
                continue;
            try
            {
                _lanes[i].Thread.Join();
                _reports[_reported++] = _lanes[i].Segment.Report;
            }
#pragma warning disable CA1031 // thrown once the others, which compute for the same pass, have ended
            catch (Exception e)
#pragma warning restore CA1031
            {
                failure ??= ExceptionDispatchInfo.Capture(e);
            }
        }
        failure?.Throw();
    }

    public void Dispose()
    {
        for (var i = _lanes.Count - 1; i >= 0; i--)
            _lanes[i].Segment.Dispose();
        _lanes.Clear();
        foreach (var (thread, _) in _devices)
            thread.Dispose();
        _devices.Clear();
    }
}
