using Ergon.Units;

namespace Ergon.Energy;

/// <summary>What a ledger has booked; the four parts of <see cref="Total"/> are disjoint.</summary>
/// <param name="Requests">To requests.</param>
/// <param name="Unattributed">To none: draw while nothing was open, and passes for nobody.</param>
/// <param name="Loading">To loading models.</param>
/// <param name="Total">All that the meters measured and the ledger has divided.</param>
internal readonly record struct LedgerTotals(Joules Requests, Joules Unattributed, Joules Loading, Joules Total);

/// <summary>
/// Divides what meters measure among requests. No meter resolves a pass, so for each interval between two readings:
/// <list type="number">
/// <item>The device's static draw, idle power times the interval and at most what was measured, is spread evenly over
/// its time. At each moment it belongs in equal parts to the open requests and to loading, as idle; to nobody when
/// nothing is open.</item>
/// <item>The rest is divided over the passes that overlap the interval by their modelled energy times the share of each
/// that lies inside, and within a pass by the requests' weights. Loading takes part with its modelled power.</item>
/// <item>Where no work overlaps, the rest goes the way of the static draw: time between passes is waiting.</item>
/// </list>
/// The rule is Ergon's own. Sum of requests, unattributed and loading = what the meters measured, to rounding.
/// Thread-safe. Times are timestamps of one <see cref="TimeProvider"/>.
/// </summary>
internal sealed class EnergyLedger
{
    private static readonly TimeSpan Forgotten = TimeSpan.FromMinutes(1);

    private readonly Lock _gate = new();
    private readonly TimeProvider _time;
    private readonly Dictionary<string, DeviceBook> _devices = new(StringComparer.Ordinal);
    private readonly Dictionary<long, RequestBook> _requests = [];
    private readonly List<LoadingSpan> _loadings = [];
    private readonly List<RequestBook> _spans = []; // requests that some undivided interval may still concern
    private Sum _unattributed, _loading, _billed, _total;

    /// <param name="time">The clock whose timestamps all calls use.</param>
    /// <param name="idle">Each metered device's draw without work, as far as it is known; see <see cref="SetIdle"/>.</param>
    public EnergyLedger(TimeProvider time, IReadOnlyDictionary<string, Watts> idle)
    {
        _time = time;
        foreach (var (device, power) in idle)
            SetIdle(device, power);
    }

    /// <summary>Says what a metered device draws without work; until then all that it draws while a pass runs is the pass's.</summary>
    public void SetIdle(string device, Watts power)
    {
        lock (_gate)
            Book(device).Idle = power;
    }

    public LedgerTotals Totals
    {
        get
        {
            lock (_gate)
                return new LedgerTotals(_billed.Value, _unattributed.Value, _loading.Value, _total.Value);
        }
    }

    /// <summary>A request begins.</summary>
    public void Open(long request, long at)
    {
        lock (_gate)
        {
            var book = new RequestBook(request, at);
            if (!_requests.TryAdd(request, book))
                throw new ErgonException($"The request {request} is open already; give each request a number of its own.");
            _spans.Add(book);
        }
    }

    /// <summary>A request ends, answered or cancelled. What passes did for it is still billed to it, once, when they are recorded.</summary>
    /// <param name="request">The request.</param>
    /// <param name="at">When.</param>
    /// <param name="tokens">Tokens that it generated.</param>
    public void Close(long request, long at, int tokens)
    {
        lock (_gate)
            (_requests[request].Closed, _requests[request].Tokens) = (at, tokens);
    }

    /// <summary>A model begins to be loaded.</summary>
    /// <param name="device">Where it shows.</param>
    /// <param name="at">When.</param>
    /// <param name="modelled">What loading is thought to draw beyond idling: its weight against passes at the same time.</param>
    /// <returns>What to end.</returns>
    public LoadingSpan BeginLoading(string device, long at, Watts modelled)
    {
        lock (_gate)
        {
            var span = new LoadingSpan(device, at, modelled);
            _loadings.Add(span);
            return span;
        }
    }

    /// <summary>The model is there, or will not come.</summary>
    public void EndLoading(LoadingSpan span, long at)
    {
        lock (_gate)
            span.End = at;
    }

    /// <summary>A pass is over. Passes of a device are recorded before <see cref="Settle"/> goes past their beginnings.</summary>
    public void Record(PassRecord pass)
    {
        var isSound = pass.End >= pass.Start && double.IsFinite(pass.Modelled.Value) && pass.Modelled >= Joules.Zero;
        foreach (var share in pass.Shares)
            isSound &= double.IsFinite(share.Weight) && share.Weight >= 0;
        if (!isSound)
            throw new ErgonException($"The pass from {pass.Start} to {pass.End} with {pass.Modelled} cannot be booked; its times must be in order and its weights finite and not negative.");
        lock (_gate)
        {
            Book(pass.Device).Add(pass);
            foreach (var share in pass.Shares)
            {
                if (_requests.TryGetValue(share.Request, out var book))
                    book.LastWork = Math.Max(book.LastWork, pass.End);
            }
        }
    }

    /// <summary>A meter was read.</summary>
    public void Measure(MeterInterval interval)
    {
        lock (_gate)
            Book(interval.Device).Intervals.Enqueue(interval);
    }

    /// <summary>Divides all intervals that end by then: no pass that began before is still unrecorded.</summary>
    public void Settle(long until)
    {
        lock (_gate)
        {
            foreach (var device in _devices.Values)
            {
                while (device.Intervals.TryPeek(out var interval) && interval.End <= until)
                {
                    device.Intervals.Dequeue();
                    Divide(device, interval);
                    device.Settled = interval.End;
                }
                // What lies wholly before the next interval can concern none any more. Without a meter there will be
                // none, but the first may be a while in coming.
                device.Forget(device.IsMetered ? device.Settled : Past(until));
            }
            var settled = _devices.Values.Where(d => d.IsMetered).Select(d => d.Settled).DefaultIfEmpty(Past(until)).Min();
            _spans.RemoveAll(request => request.Ended <= settled);
            _loadings.RemoveAll(loading => loading.End <= settled);
        }
    }

    /// <summary>A closed request's receipt, once.</summary>
    /// <returns><see langword="null"/> while a meter has yet to cover the request's time: read the meters, settle, ask again.</returns>
    public Receipt? TryTake(long request)
    {
        lock (_gate)
        {
            var book = _requests[request];
            if (book.Closed == long.MaxValue || _devices.Values.Any(d => d.IsMetered && d.Settled < book.Ended))
                return null;
            _requests.Remove(request);
            _spans.Remove(book);
            return book.Receipt(_time, _devices.Values.Any(d => d.IsMetered));
        }
    }

    private long Past(long until) => until == long.MaxValue ? long.MinValue : until - (long)(Forgotten.TotalSeconds * _time.TimestampFrequency);

    private DeviceBook Book(string device)
    {
        if (!_devices.TryGetValue(device, out var book))
            _devices[device] = book = new DeviceBook(device);
        return book;
    }

    private void Divide(DeviceBook device, MeterInterval interval)
    {
        if (interval.Energy is not { } energy)
        {
            foreach (var request in _spans.Where(r => r.Opened < interval.End && r.Ended > interval.Start))
                request.Miss(interval, _time.GetElapsedTime(Math.Max(request.Opened, interval.Start), Math.Min(request.Ended, interval.End)));
            return;
        }
        _total.Add(energy.Value);
        var length = _time.GetElapsedTime(interval.Start, interval.End);
        var quiet = Math.Min(energy.Value, (device.Idle * (Seconds)length).Value);
        var work = energy.Value - quiet;

        var passes = device.During(interval).Select(pass => (Pass: pass, Weight: WeightOf(pass, interval))).Where(p => p.Weight > 0).ToList();
        var loadings = _loadings.Where(l => l.Device == device.Name && l.Modelled > Watts.Zero).Select(l => (Loading: l, Weight: l.Modelled.Value * Overlap(l.Start, l.End, interval))).Where(l => l.Weight > 0).ToList();
        var weights = passes.Sum(p => p.Weight) + loadings.Sum(l => l.Weight);
        if (weights <= 0)
        {
            (quiet, work) = (energy.Value, 0);
        }
        else
        {
            foreach (var (pass, weight) in passes)
                Bill(pass, work * (weight / weights), interval);
            foreach (var (_, weight) in loadings)
                _loading.Add(work * (weight / weights));
        }
        Spread(quiet, interval);
    }

    // Modelled energy times the part of the pass inside; a pass that the model gives nothing still weighs its time, faintly.
    private double WeightOf(PassRecord pass, MeterInterval interval)
    {
        if (pass.End == pass.Start)
            return pass.Start >= interval.Start && pass.Start < interval.End ? pass.Modelled.Value : 0;
        var inside = Overlap(pass.Start, pass.End, interval);
        return inside <= 0 ? 0 : Math.Max(pass.Modelled.Value, 1e-12) * (inside / _time.GetElapsedTime(pass.Start, pass.End).TotalSeconds);
    }

    private double Overlap(long start, long end, MeterInterval interval)
    {
        var (from, to) = (Math.Max(start, interval.Start), Math.Min(end, interval.End));
        return to <= from ? 0 : _time.GetElapsedTime(from, to).TotalSeconds;
    }

    private void Bill(PassRecord pass, double joules, MeterInterval interval)
    {
        var weights = pass.Shares.Sum(s => s.Weight);
        // A share of a request that took its receipt already, or never was, stays nobody's.
        foreach (var share in pass.Shares)
        {
            var part = weights > 0 ? joules * (share.Weight / weights) : joules / pass.Shares.Count;
            if (_requests.TryGetValue(share.Request, out var request))
            {
                request.Bill(share.IsPrefill, part, interval);
                _billed.Add(part);
            }
            else
            {
                _unattributed.Add(part);
            }
        }
        if (pass.Shares.Count == 0)
            _unattributed.Add(joules);
    }

    // Evenly over time; at each moment in equal parts to what is open.
    private void Spread(double joules, MeterInterval interval)
    {
        var requests = _spans.Where(r => Overlap(r.Opened, r.Closed, interval) > 0).ToList();
        var loadings = _loadings.Where(l => Overlap(l.Start, l.End, interval) > 0).ToList();
        var edges = requests.SelectMany(r => new[] { r.Opened, r.Closed }).Concat(loadings.SelectMany(l => new[] { l.Start, l.End }))
            .Where(t => t > interval.Start && t < interval.End).Append(interval.Start).Append(interval.End).Distinct().Order().ToList();
        for (var i = 1; i < edges.Count; i++)
        {
            var (from, to) = (edges[i - 1], edges[i]);
            var part = joules * ((double)(to - from) / (interval.End - interval.Start));
            var open = requests.Where(r => r.Opened <= from && r.Closed >= to).ToList();
            var loading = loadings.Count(l => l.Start <= from && l.End >= to);
            var heads = open.Count + loading;
            if (heads == 0)
            {
                _unattributed.Add(part);
                continue;
            }
            foreach (var request in open)
            {
                request.Wait(part / heads, interval);
                _billed.Add(part / heads);
            }
            _loading.Add(part * loading / heads);
        }
    }

    /// <summary>Sums many small figures without losing them in a large one (Neumaier).</summary>
    private struct Sum
    {
        private double _sum, _lost;

        public readonly Joules Value => new(_sum + _lost);

        public void Add(double value)
        {
            var next = _sum + value;
            _lost += Math.Abs(_sum) >= Math.Abs(value) ? _sum - next + value : value - next + _sum;
            _sum = next;
        }
    }

    private sealed class DeviceBook(string name)
    {
        // By their beginnings: thousands of short passes may lie between two settlements, each with an interval of its own.
        private readonly List<PassRecord> _passes = [];
        private int _first; // no pass before it concerns an interval that is still to come

        public string Name => name;

        public Watts Idle { get; set; }

        public Queue<MeterInterval> Intervals { get; } = new();

        public long Settled { get; set; } = long.MinValue;

        public bool IsMetered => Settled > long.MinValue || Intervals.Count > 0;

        public void Add(PassRecord pass)
        {
            var at = _passes.Count;
            while (at > 0 && _passes[at - 1].Start > pass.Start)
                at--;
            _passes.Insert(at, pass);
            _first = Math.Min(_first, at);
        }

        // Intervals are asked for in the order of time.
        public IEnumerable<PassRecord> During(MeterInterval interval)
        {
            while (_first < _passes.Count && _passes[_first].End < interval.Start)
                _first++;
            for (var i = _first; i < _passes.Count && _passes[i].Start <= interval.End; i++)
                yield return _passes[i];
        }

        public void Forget(long past)
        {
            var gone = 0;
            while (gone < _passes.Count && _passes[gone].End < past)
                gone++;
            _passes.RemoveRange(0, gone);
            _first = Math.Max(0, _first - gone);
        }
    }
}

/// <summary>A model being loaded.</summary>
internal sealed class LoadingSpan(string device, long start, Watts modelled)
{
    public string Device => device;

    public long Start => start;

    public Watts Modelled => modelled;

    public long End { get; set; } = long.MaxValue;
}
