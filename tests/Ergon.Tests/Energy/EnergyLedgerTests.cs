using Ergon.Energy;
using Ergon.Energy.Sensors;
using Ergon.Units;

namespace Ergon.Tests.Energy;

public sealed class EnergyLedgerTests
{
    private const double Exact = 1e-9;
    private const long Second = 1_000_000;

    private static EnergyLedger Ledger(double idle) => new(new ManualTime(), new Dictionary<string, Watts> { ["cpu"] = new(idle) });

    private static MeterInterval Interval(double from, double to, double? joules, string device = "cpu", string? reason = null) =>
        new(device, At(from), At(to), joules is { } j ? new Joules(j) : null, "measured:rapl", EnergyQuality.Counter, reason);

    private static PassRecord Pass(double from, double to, double modelled, params PassShare[] shares) => new("cpu", At(from), At(to), new Joules(modelled), shares);

    private static long At(double seconds) => (long)Math.Round(seconds * Second);

    private static Receipt Receipt(EnergyLedger ledger, long request)
    {
        ledger.Settle(long.MaxValue);
        return ledger.TryTake(request)!;
    }

    [Fact]
    public void A_pass_is_billed_by_its_modelled_energy_then_by_the_weights_in_it()
    {
        var ledger = Ledger(idle: 2);
        ledger.Open(1, At(0));
        ledger.Open(2, At(0));
        // 10 J in a second, 2 J of them idle; 8 J over passes of 3 : 1, the first shared 1 : 2.
        ledger.Record(Pass(0, 0.4, 3, new PassShare(1, 10, IsPrefill: true), new PassShare(2, 20, IsPrefill: false)));
        ledger.Record(Pass(0.5, 0.9, 1, new PassShare(1, 1, IsPrefill: false)));
        ledger.Close(1, At(1), tokens: 4);
        ledger.Close(2, At(1), tokens: 0);
        ledger.Measure(Interval(0, 1, 10));

        var first = Receipt(ledger, 1);
        Assert.Equal(2, first.Prefill!.Value.Value, Exact);
        Assert.Equal(2, first.Decode!.Value.Value, Exact);
        Assert.Equal(1, first.Idle!.Value.Value, Exact);
        Assert.Equal(5, first.Energy!.Value.Value, Exact);
        Assert.Equal(5, first.Power!.Value.Value, Exact);
        Assert.Equal(1.25, first.PerToken!.Value.Value, Exact);
        Assert.Equal(("measured:rapl", EnergyQuality.Counter, null), (first.Source, first.Quality, first.Reason));

        var second = Receipt(ledger, 2);
        Assert.Equal((0, 4, 1), (second.Prefill!.Value.Value, Math.Round(second.Decode!.Value.Value, 9), Math.Round(second.Idle!.Value.Value, 9)));
        Assert.Null(second.PerToken);
    }

    [Fact]
    public void Of_a_pass_that_two_readings_cut_each_interval_holds_its_part()
    {
        var ledger = Ledger(idle: 0);
        ledger.Open(1, At(0));
        ledger.Open(2, At(0));
        // In the first second half of 6 J against 1 J; in the second the other half alone.
        ledger.Record(Pass(0.5, 1.5, 6, new PassShare(1, 1, IsPrefill: true)));
        ledger.Record(Pass(0, 0.5, 1, new PassShare(2, 1, IsPrefill: true)));
        ledger.Close(1, At(2), 0);
        ledger.Close(2, At(2), 0);
        ledger.Measure(Interval(0, 1, 8));
        ledger.Measure(Interval(1, 2, 5));
        Assert.Equal(6 + 5, Receipt(ledger, 1).Prefill!.Value.Value, Exact);
        Assert.Equal(2, Receipt(ledger, 2).Prefill!.Value.Value, Exact);
    }

    [Fact]
    public void Idle_draw_is_shared_by_who_is_open_at_the_moment_and_nobody_s_when_none_is()
    {
        var ledger = Ledger(idle: 10);
        ledger.Open(1, At(0.2));
        ledger.Open(2, At(0.6));
        ledger.Close(1, At(0.8), 0);
        ledger.Close(2, At(1.0), 0);
        ledger.Measure(Interval(0, 1, 10));
        // 2 J before anybody; 4 J and half of 2 J; half of 2 J and 2 J.
        Assert.Equal(5, Receipt(ledger, 1).Idle!.Value.Value, Exact);
        Assert.Equal(3, Receipt(ledger, 2).Energy!.Value.Value, Exact);
        Assert.Equal(2, ledger.Totals.Unattributed.Value, Exact);
    }

    [Fact]
    public void Loading_is_a_line_of_its_own()
    {
        var ledger = Ledger(idle: 2);
        var loading = ledger.BeginLoading("cpu", At(0), new Watts(5));
        ledger.EndLoading(loading, At(0.5));
        ledger.Open(1, At(0.5));
        ledger.Close(1, At(1), 0);
        ledger.Measure(Interval(0, 1, 12));
        Assert.Equal(1, Receipt(ledger, 1).Energy!.Value.Value, Exact);
        Assert.Equal(11, ledger.Totals.Loading.Value, Exact);
        Assert.Equal(0, ledger.Totals.Unattributed.Value, Exact);
    }

    [Fact]
    public void Work_that_ends_after_its_request_was_cancelled_is_billed_to_it_once()
    {
        var ledger = Ledger(idle: 0);
        ledger.Open(1, At(0));
        ledger.Close(1, At(0.1), 0);
        ledger.Record(Pass(0, 1, 1, new PassShare(1, 1, IsPrefill: true)));
        ledger.Measure(Interval(0, 0.5, 4));
        ledger.Settle(At(0.5));
        Assert.Null(ledger.TryTake(1)); // its pass goes on
        ledger.Measure(Interval(0.5, 1, 6));
        Assert.Equal(10, Receipt(ledger, 1).Prefill!.Value.Value, Exact);
        Assert.Equal(10, ledger.Totals.Requests.Value, Exact);
    }

    [Fact]
    public void Unmeasured_work_after_the_cancelling_leaves_no_figure_either()
    {
        var ledger = Ledger(idle: 0);
        ledger.Open(1, At(0));
        ledger.Close(1, At(0.1), 0);
        ledger.Record(Pass(0, 1, 1, new PassShare(1, 1, IsPrefill: true)));
        ledger.Measure(Interval(0, 0.5, 4));
        ledger.Settle(At(0.5));
        ledger.Measure(Interval(0.5, 1, null, reason: "/sys/x: permission denied"));
        var receipt = Receipt(ledger, 1);
        Assert.Null(receipt.Energy);
        Assert.Contains("permission denied", receipt.Reason, StringComparison.Ordinal);
    }

    [Fact]
    public void Unmeasured_time_is_a_reason_and_no_number()
    {
        var ledger = Ledger(idle: 1);
        ledger.Open(1, At(0));
        ledger.Record(Pass(0, 1, 1, new PassShare(1, 1, IsPrefill: false)));
        ledger.Close(1, At(2), 3);
        ledger.Measure(Interval(0, 1, 5));
        ledger.Measure(Interval(1, 2, null, reason: "/sys/x: permission denied"));
        var receipt = Receipt(ledger, 1);
        Assert.Null(receipt.Energy);
        Assert.Null(receipt.PerToken);
        Assert.Null(receipt.Idle);
        Assert.Contains("1 s of 2 s went unmeasured (/sys/x: permission denied); the rest took 5 J", receipt.Reason, StringComparison.Ordinal);
    }

    [Fact]
    public void Without_a_meter_a_receipt_says_why()
    {
        var ledger = new EnergyLedger(new ManualTime(), new Dictionary<string, Watts>());
        ledger.Open(1, At(0));
        ledger.Close(1, At(1), 1);
        var receipt = Receipt(ledger, 1);
        Assert.Null(receipt.Energy);
        Assert.Null(receipt.Source);
        Assert.Contains("ergon doctor", receipt.Reason, StringComparison.Ordinal);
    }

    [Fact]
    public void A_receipt_waits_for_the_reading_that_covers_its_request()
    {
        var ledger = Ledger(idle: 0);
        ledger.Measure(Interval(0, 1, 1));
        ledger.Open(1, At(0.5));
        ledger.Close(1, At(1.5), 1);
        ledger.Settle(At(1.5));
        Assert.Null(ledger.TryTake(1));
        ledger.Measure(Interval(1, 2, 1));
        ledger.Settle(At(1.5));
        Assert.Null(ledger.TryTake(1)); // a pass that overlaps may still be under way
        Assert.NotNull(Receipt(ledger, 1));
    }

    [Fact]
    public void Several_devices_add_and_a_request_shorter_than_a_reading_is_interpolated()
    {
        var ledger = new EnergyLedger(new ManualTime(), new Dictionary<string, Watts> { ["cpu"] = new(1), ["gpu"] = new(3) });
        ledger.Open(1, At(0));
        ledger.Close(1, At(0.5), 1);
        ledger.Measure(Interval(0, 1, 1));
        ledger.Measure(Interval(0, 0.5, 1.5, "gpu") with { Source = "measured:nvml", Quality = EnergyQuality.Sampled });
        var receipt = Receipt(ledger, 1);
        Assert.Equal(2, receipt.Energy!.Value.Value, Exact);
        Assert.Equal(("measured:nvml+measured:rapl", EnergyQuality.Interpolated), (receipt.Source, receipt.Quality));
    }

    [Fact]
    public void What_cannot_be_booked_is_refused()
    {
        var ledger = Ledger(idle: 0);
        ledger.Open(1, 0);
        Assert.Throws<ErgonException>(() => ledger.Open(1, 5));
        Assert.Throws<ErgonException>(() => ledger.Record(Pass(1, 0.5, 1)));
        Assert.Throws<ErgonException>(() => ledger.Record(Pass(0, 1, double.NaN)));
        Assert.Throws<ErgonException>(() => ledger.Record(Pass(0, 1, 1, new PassShare(1, -1, IsPrefill: true))));
    }

    /// <summary>Ten thousand schedules, each from its own seed: no joule is lost, none is booked twice.</summary>
    [Fact]
    public void Requests_unattributed_and_loading_are_what_the_devices_drew()
    {
        int cancelled = 0, wraps = 0, gaps = 0;
        for (var seed = 0; seed < 10_000; seed++)
        {
            var schedule = new Schedule(seed);
            schedule.Run();
            var totals = schedule.Ledger.Totals;
            var parts = totals.Requests + totals.Unattributed + totals.Loading;
            Assert.True(Math.Abs((parts - schedule.Measurable).Value) <= 1e-9 * schedule.Measurable.Value, $"seed {seed}: {parts} of {schedule.Measurable}");
            Assert.True(Math.Abs((totals.Requests - schedule.Receipts).Value) <= 1e-9 * Math.Max(1, schedule.Measurable.Value), $"seed {seed}: receipts of {schedule.Receipts}, booked {totals.Requests}");
            (cancelled, wraps, gaps) = (cancelled + schedule.Cancelled, wraps + schedule.Wraps, gaps + schedule.Gaps);
        }
        Assert.True(cancelled > 1000 && wraps > 1000 && gaps > 1000, $"{cancelled} cancelled, {wraps} wraps, {gaps} gaps");
    }

    /// <summary>A random run of two devices under a counter that restarts and a meter that now and then is not read.</summary>
    private sealed class Schedule
    {
        private const long Range = 300_000_000;

        private readonly Random _random;
        private readonly ManualTime _time = new();
        private readonly MeterSet _meters;
        private readonly long[] _count = [7_000_000, 298_000_000];
        private readonly List<long> _open = [];
        private readonly HashSet<long> _all = [];
        private readonly List<(string Device, long Began, List<PassShare> Shares)> _running = [];
        private LoadingSpan? _loading;
        private long _next;

        public Schedule(int seed)
        {
            _random = new Random(seed);
            var devices = new[] { "a", "b" };
            Ledger = new EnergyLedger(_time, devices.ToDictionary(d => d, _ => new Watts(_random.NextDouble() * 4)));
            var diagnostics = new MeterDiagnostics();
            _meters = new MeterSet(devices.Select((device, i) => new EnergyMeter(
                new DelegateSensor(() => SensorSample.OfCount(_count[i] % Range))
                {
                    Name = device, Device = device, Domain = EnergyDomain.Package, Path = device, Limit = new Watts(1000), JoulesPerCount = 1e-6, Range = Range, FrozenAfter = TimeSpan.FromHours(1),
                }, _time, diagnostics)), _time)
            { Measured = Ledger.Measure };
        }

        public EnergyLedger Ledger { get; }

        public Joules Measurable { get; private set; }

        public Joules Receipts { get; private set; }

        public int Cancelled { get; private set; }

        public int Wraps { get; private set; }

        public int Gaps { get; private set; }

        public void Run()
        {
            long[] before = [.. _count];
            var steps = _random.Next(5, 40);
            for (var i = 0; i < steps; i++)
                Step();
            foreach (var request in _open.ToArray())
                Close(request);
            foreach (var pass in _running.ToArray())
                End(pass);
            if (_loading is not null)
                Ledger.EndLoading(_loading, _time.GetTimestamp());
            Pass(0.01);
            _meters.ReadAll();
            Ledger.Settle(_time.GetTimestamp());
            Measurable = new Joules((_count[0] - before[0] + _count[1] - before[1]) * 1e-6);
            foreach (var request in _all)
            {
                var receipt = Ledger.TryTake(request)!;
                // Who was there for no time at all has no figure either.
                Assert.True(receipt.Energy is not null || receipt.Elapsed == TimeSpan.Zero, receipt.Reason);
                Receipts += receipt.Energy ?? Joules.Zero;
            }
        }

        private void Step()
        {
            Pass(_random.NextDouble() * 0.05);
            switch (_random.Next(10))
            {
                case 0 or 1:
                    Ledger.Open(++_next, _time.GetTimestamp());
                    _open.Add(_next);
                    _all.Add(_next);
                    break;
                case 2 when _open.Count > 0:
                    Close(_open[_random.Next(_open.Count)]);
                    break;
                case 3 or 4 or 5 when _running.Count < 2:
                    var shares = _open.Where(_ => _random.Next(2) == 0).Select(r => new PassShare(r, _random.Next(4), _random.Next(2) == 0)).ToList();
                    var device = _running.Any(r => r.Device == "a") ? "b" : "a";
                    _running.Add((device, _time.GetTimestamp(), shares));
                    break;
                case 6 or 7 when _running.Count > 0:
                    End(_running[_random.Next(_running.Count)]);
                    break;
                case 8:
                    if (_loading is null)
                        _loading = Ledger.BeginLoading(_random.Next(2) == 0 ? "a" : "b", _time.GetTimestamp(), new Watts(_random.Next(3)));
                    else
                        Ledger.EndLoading(_loading, _time.GetTimestamp());
                    break;
                default:
                    if (_random.Next(3) == 0)
                    {
                        // Nobody reads for a while.
                        Pass(0.3);
                        Gaps++;
                    }
                    _meters.ReadAll();
                    Settle();
                    break;
            }
        }

        private void Close(long request)
        {
            // With a pass still at work for it: cancelled.
            if (_running.Any(r => r.Shares.Any(s => s.Request == request)))
                Cancelled++;
            _open.Remove(request);
            Ledger.Close(request, _time.GetTimestamp(), _random.Next(5));
        }

        private void End((string Device, long Began, List<PassShare> Shares) pass)
        {
            _running.Remove(pass);
            Ledger.Record(new PassRecord(pass.Device, pass.Began, _time.GetTimestamp(), new Joules(_random.Next(3) * _random.NextDouble()), pass.Shares));
            Settle();
        }

        private void Settle() => Ledger.Settle(_running.Select(r => r.Began).DefaultIfEmpty(_time.GetTimestamp()).Min());

        private void Pass(double seconds)
        {
            _time.Pass(seconds);
            for (var i = 0; i < _count.Length; i++)
            {
                var restarts = _count[i] / Range;
                _count[i] += 1 + (long)(seconds * 1e6 * (2 + _random.NextDouble() * 60));
                Wraps += (int)(_count[i] / Range - restarts);
            }
        }
    }
}
