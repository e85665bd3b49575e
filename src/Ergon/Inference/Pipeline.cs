using System.Runtime.ExceptionServices;
using Ergon.Models;
using Ergon.Native;
using Ergon.Native.Tensors;

namespace Ergon.Inference;

/// <summary>
/// The segments of a model on their devices' threads, and the passes that go through them: whichever device is done
/// with its part of a pass hands the pass to the next, so that several can be in flight, each on another device. A
/// device computes one at a time, in the order in which they reach it.
/// </summary>
internal sealed class Pipeline : IDisposable
{
    // Each pass in flight has memory for its intermediate results on every device.
    private const int MaxDepth = 4;

    private readonly List<(DeviceThread Thread, Placement First)> _devices = [];
    private readonly List<Lane> _lanes = [];
    private readonly int _afterLastAttention;
    private readonly Flight[] _flights;
    private readonly Action[][] _work; // by flight and lane
    private Placement? _lost;

    // One segment; those up to End compute the same stages at the same time, for the rows of their tiers.
    private sealed record Lane(Segment Segment, DeviceThread Thread, int? Tier, int End);

    /// <param name="model">The model.</param>
    /// <param name="placements">Devices for all its stages, in order.</param>
    /// <param name="cells">The KV cache.</param>
    /// <param name="cacheType">How keys and values are stored.</param>
    /// <param name="progress">Told the share loaded, 0 to 1.</param>
    /// <param name="cancellation">Stops loading.</param>
    /// <exception cref="NativeException">A device failed or has not enough memory.</exception>
    public Pipeline(ModelDescription model, IReadOnlyList<Placement> placements, KvCacheShape cells, GgmlType cacheType, IProgress<double>? progress, CancellationToken cancellation)
    {
        (_afterLastAttention, Placements) = (Stage.OfLayer(model.LayerCount) - 1, placements);
        var devices = new List<Placement>();
        foreach (var placement in placements)
        {
            if (!devices.Exists(placement.IsOnSameDevice))
                devices.Add(placement);
        }
        _flights = [.. Enumerable.Range(0, Math.Min(devices.Count, MaxDepth)).Select(i => new Flight(i, model, placements, cells.Sequences))];
        _work = [.. _flights.Select(flight => Enumerable.Range(0, placements.Count).Select(lane => (Action)(() => Run(flight, lane))).ToArray())];
        try
        {
            foreach (var device in devices)
            {
                // The engine's own thread must not stay on processors that another pipeline does not mean.
                _devices.Add((new DeviceThread(device.Device, device.Threads, device.Cpus, isCaller: devices.Count == 1 && device.Cpus is null), device));
            }
            for (var i = 0; i < placements.Count; i++)
            {
                var placement = placements[i];
                var thread = _devices.Find(d => placement.IsOnSameDevice(d.First)).Thread;
                // Here, not on the device's thread: threads that load would inherit its processors.
                var segment = new Segment(model, thread.Backend, placement.Stages, cells, cacheType, Depth, progress, cancellation);
                var end = i + placements.Skip(i).TakeWhile(p => p.Stages == placement.Stages).Count();
                _lanes.Add(new Lane(segment, thread, placement.Tier, end));
            }
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    /// <summary>What runs on which device.</summary>
    public IReadOnlyList<Placement> Placements { get; }

    /// <summary>The first device that failed; <see langword="null"/>: none has.</summary>
    public Placement? Lost => Volatile.Read(ref _lost);

    /// <summary>Passes that can be in flight: as many as devices can be busy with, 1 where there is one device.</summary>
    public int Depth => _flights.Length;

    /// <summary>What passes in flight have for themselves, by their numbers.</summary>
    public ReadOnlySpan<Flight> Flights => _flights;

    /// <summary>Told of each segment before it computes, on its device's thread; what it throws is a failure of the device.</summary>
    public Action<StageRange>? SegmentBegins { get; set; }

    /// <summary>The opened devices.</summary>
    public IEnumerable<Backend> Backends => _devices.Select(d => d.Thread.Backend);

    /// <summary>The segments, each with the tier that it belongs to.</summary>
    public IEnumerable<(Segment Segment, int? Tier)> Segments => _lanes.Select(l => (l.Segment, l.Tier));

    /// <summary>Sends a pass on its way; with one device it is done on return.</summary>
    public void Start(Flight flight) => Continue(flight, 0, here: null);

    /// <summary>Waits until the devices rest.</summary>
    public void Settle()
    {
        foreach (var flight in _flights)
            flight.Wait();
    }

    // On a device's thread, which stays with a pass as long as the next segment is its own.
    private void Run(Flight flight, int index)
    {
        while (index >= 0)
        {
            var (segment, thread, tier, end) = _lanes[index];
            try
            {
                SegmentBegins?.Invoke(segment.Stages);
                flight.Compute(segment, index, tier);
            }
#pragma warning disable CA1031 // whoever waits for the pass gets it
            catch (Exception e)
#pragma warning restore CA1031
            {
                // What a device that failed does for those behind is not to be relied on.
                Interlocked.CompareExchange(ref _lost, Placements[index], null);
                var failure = ExceptionDispatchInfo.Capture(e);
                foreach (var other in _flights)
                    other.Fail(failure);
            }
            if (!flight.IsLast())
                return;
            index = Continue(flight, end, thread);
        }
    }

    // Hands a pass to the next lanes that have rows of it, or ends it. Returns the lane that the caller, a device's
    // thread, is to go on with itself; -1 for none.
    private int Continue(Flight flight, int index, DeviceThread? here)
    {
        while (index < _lanes.Count && !flight.HasFailed)
        {
            var (first, end) = (index, _lanes[index].End);
            index = end;
            // Without anything to hand on, the feed-forward block of the last layer and the head have nothing to do.
            if (!flight.HasOutputs && _lanes[first].Segment.Stages.First >= _afterLastAttention)
                break;
            int count = 0, last = -1;
            for (var i = first; i < end; i++)
            {
                if (flight.RowsOf(_lanes[i].Tier).Rows > 0)
                    (count, last) = (count + 1, i);
            }
            if (count == 0)
                continue;
            flight.Expect(count);
            if (count == 1 && _lanes[last].Thread == here)
                return last;
            // Not a look further than the last: then the pass may be over, and its memory another's.
            for (var i = first; count > 0; i++)
            {
                if (flight.RowsOf(_lanes[i].Tier).Rows == 0)
                    continue;
                count--;
                _lanes[i].Thread.Post(_work[flight.Number][i]);
            }
            return -1;
        }
        flight.End();
        return -1;
    }

    public void Dispose()
    {
        if (_lanes.Count > 0)
            Settle();
        for (var i = _lanes.Count - 1; i >= 0; i--)
            _lanes[i].Segment.Dispose();
        _lanes.Clear();
        foreach (var (thread, _) in _devices)
            thread.Dispose();
        _devices.Clear();
        foreach (var flight in _flights)
            flight.Dispose();
    }
}
