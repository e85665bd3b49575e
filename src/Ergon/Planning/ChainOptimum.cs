using System.Numerics;

namespace Ergon.Planning;

/// <summary>A device for each unit, with what that takes in a round; static power and leakage are not in the joules.</summary>
internal sealed record Chain(byte[] Devices, double Joules, double Seconds);

/// <summary>
/// The exact optimum of a J + b s over plans whose devices compute one run of units each: dynamic programming over prefix, set of devices
/// used and last device, at fixed temperatures and the clocks of the peaks, one pass after another. A device's memory is
/// a hard limit; of a pool it is what one device alone may take, because two runs are not compared.
/// </summary>
internal sealed class ChainOptimum
{
    /// <summary>Sets of more devices would take too long.</summary>
    public const int MostDevices = 10;

    // More make bounds tighter, and each costs as much as solving for all devices.
    private const int ChordPrices = 3;

    private readonly PlanProblem _problem;
    private readonly int _units, _devices;
    private readonly double[] _core, _launch, _dynamic; // [devices, units + 1], sums of the units before
    private readonly double[] _seamTime, _seamEnergy; // [from, to, units]
    private readonly double[] _bytes; // [units + 1], sums of the units before
    private readonly double[] _most, _knee; // [devices], bytes of units that are allowed; and without slowing down
    private readonly int[] _allowed, _below; // [devices, units + 1], first start of a run that memory allows, and that it does not slow down
    private readonly double[]?[] _slowed; // [devices][units + 1, units], seconds that a run from a start to an end loses to a full memory
    private readonly double[] _power; // [devices], static and leaking
    private readonly double[] _runs; // [devices, units + 1], what the units before cost at the prices being solved for
    private readonly double[] _seams; // [from, to, units], likewise
    private double[] _best = []; // [set, last, units + 1]
    private ushort[] _from = [];

    /// <param name="problem">What is planned.</param>
    /// <param name="phase">Of which phase; <see langword="null"/>: one assignment for all of them together.</param>
    public ChainOptimum(PlanProblem problem, int? phase = null)
    {
        (_problem, _units, _devices) = (problem, problem.Units, problem.Devices);
        (_core, _launch, _dynamic) = (new double[_devices * (_units + 1)], new double[_devices * (_units + 1)], new double[_devices * (_units + 1)]);
        (_seamTime, _seamEnergy) = (new double[_units * _devices * _devices], new double[_units * _devices * _devices]);
        (_bytes, _most, _knee, _power) = (new double[_units + 1], new double[_devices], new double[_devices], new double[_devices]);
        (_runs, _seams) = (new double[_core.Length], new double[_seamTime.Length]);
        (_allowed, _below, _slowed) = (new int[_core.Length], new int[_core.Length], new double[_devices][]);
        var phases = phase is { } one ? [one] : Enumerable.Range(0, problem.Phases).ToArray();
        for (var unit = 0; unit < _units; unit++)
        {
            _bytes[unit + 1] = _bytes[unit] + problem.UnitBytes[unit];
            for (var d = 0; d < _devices; d++)
            {
                var (at, level) = ((d * (_units + 1)) + unit, problem.Levels[d] - 1);
                _core[at + 1] = _core[at] + phases.Sum(p => problem.Core((p * _units) + unit, d, level));
                _launch[at + 1] = _launch[at] + phases.Sum(p => problem.Launch((p * _units) + unit, d, level));
                _dynamic[at + 1] = _dynamic[at] + phases.Sum(p => problem.Dynamic((p * _units) + unit, d, level));
            }
            var (copies, bytes) = (phases.Sum(p => problem.SeamCount[(p * _units) + unit]), phases.Sum(p => problem.SeamBytes[(p * _units) + unit]));
            for (var pair = 0; pair < _devices * _devices; pair++)
            {
                _seamTime[(pair * _units) + unit] = (copies * problem.Links[pair].Seam) + (bytes * problem.Links[pair].PerByte);
                _seamEnergy[(pair * _units) + unit] = bytes * problem.Links[pair].Energy;
            }
        }
        for (var d = 0; d < _devices; d++)
        {
            var (own, pool, whole) = (problem.DeviceMemory[d], problem.PoolMemory[problem.Pool[d]], (d * (_units + 1)) + _units);
            _most[d] = Math.Min(own.Capacity.Value * (1 - own.Reserve), pool.Capacity.Value * (1 - pool.Reserve)) - problem.Overhead;
            _knee[d] = own.Kappa == 0 ? _most[d] : Math.Min(_most[d], (own.Knee * own.Capacity.Value) - problem.Overhead);
            // As warm as when it computes half of the time.
            var heat = problem.Heat[d];
            var warm = heat.Steady(problem.Static[d] + (0.5 * _dynamic[whole] / (_core[whole] + _launch[whole])), problem.Limits.Ambient.Value) ?? heat.Limit;
            _power[d] = problem.Static[d] + heat.LeakageAt(warm);
            FillMemory(d);
        }
    }

    private uint All => (1u << _devices) - 1;

    /// <summary>Static power and leakage while a set of devices is on, W.</summary>
    public double Power(uint set) => Enumerable.Range(0, _devices).Sum(d => _problem.AlwaysOn[d] || (set & (1u << d)) != 0 ? _power[d] : 0);

    /// <summary>The plan of least time; <see langword="null"/> where none fits the memories.</summary>
    public Chain? Fastest() => Solve(All, 0, 1);

    /// <summary>The plan of least energy, static power and leakage of the devices that are on included.</summary>
    /// <param name="stop">Asked between steps; once it says so, the best plan so far is given.</param>
    public Chain? Cheapest(Func<bool>? stop = null)
    {
        // With all of a set charged, a plan that uses fewer of its devices is found cheaper under the smaller set. The bound
        // without memory is quick, so only sets whose bound is below the best plan are solved with it.
        var left = new PriorityQueue<(uint Set, double Power, double Bound), double>();
        foreach (var set in Sets())
        {
            var power = Power(set);
            var bound = Cost(Relaxed(set, 1, power), 1, power);
            left.Enqueue((set, power, bound), bound);
        }
        Chain? best = null;
        var least = double.MaxValue;
        Func<uint, double>? chords = null;
        while (left.TryDequeue(out var next, out var bound) && bound < least && stop?.Invoke() != true)
        {
            var free = Relaxed(next.Set, 1, next.Power);
            if (!Fits(free.Devices) && bound == next.Bound && _devices <= MostDevices && (chords ??= Chords())(next.Set) is var chord && chord > bound)
            {
                // Memory binds: the bound with it comes first, and the set has its turn when that is the least.
                left.Enqueue(next, chord);
                continue;
            }
            if ((Fits(free.Devices) ? free : Contiguous(next.Set, 1, next.Power)) is { } chain && Cost(chain, 1, next.Power) is var cost && cost < least)
                (best, least) = (chain, cost);
        }
        return best;
    }

    /// <summary>
    /// Plans between the cheapest and the fastest: the optima of J + price x s for rising prices of a second. The one with the least
    /// product of the two is the best of those on the convex hull.
    /// </summary>
    /// <param name="count">How many prices, in equal steps of their logarithm.</param>
    public IEnumerable<Chain> Between(int count)
    {
        var (low, high) = (Math.Max(1e-3, _power.Min()), 100 * Math.Max(1, _power.Sum()));
        for (var i = 0; i < count; i++)
        {
            if (Solve(All, 1, low * Math.Pow(high / low, (i + 0.5) / count)) is { } chain)
                yield return chain;
        }
    }

    /// <summary>The least of <paramref name="perJoule"/> J + <paramref name="perSecond"/> s with devices of a set; <see langword="null"/> where nothing fits.</summary>
    public Chain? Solve(uint set, double perJoule, double perSecond)
    {
        // Without the limits the optimum is a shortest path; where that keeps them, it is the answer.
        var free = Relaxed(set, perJoule, perSecond);
        return Fits(free.Devices) ? free : _devices <= MostDevices ? Contiguous(set, perJoule, perSecond) : null;
    }

    /// <summary>The least without regard to memory, each device as often as it likes: a lower bound.</summary>
    public Chain Relaxed(uint set, double perJoule, double perSecond)
    {
        var members = Members(set);
        var best = new double[members.Length];
        var next = new double[members.Length];
        var from = new byte[_units * members.Length];
        for (var unit = 0; unit < _units; unit++)
        {
            for (var m = 0; m < members.Length; m++)
            {
                var (least, at) = (unit == 0 ? 0 : double.MaxValue, 0);
                for (var l = 0; l < members.Length && unit > 0; l++)
                {
                    var cost = best[l] + SeamCost(unit, members[l], members[m], perJoule, perSecond);
                    if (cost < least)
                        (least, at) = (cost, l);
                }
                from[(unit * members.Length) + m] = (byte)at;
                next[m] = least + RunCost(members[m], unit, unit + 1, 1, perJoule, perSecond);
            }
            (best, next) = (next, best);
        }
        var chain = new byte[_units];
        for (int unit = _units - 1, m = Array.IndexOf(best, best.Min()); unit >= 0; m = from[(unit * members.Length) + m], unit--)
            chain[unit] = (byte)members[m];
        // A bound, so no memory slows it down.
        return Of(chain, slowed: false);
    }

    // A lower bound for each set at its own power. What a set costs at best is a concave function of the price of a second, so between
    // two prices it lies above the chord; one solution for all devices gives the value for every set at once.
    private Func<uint, double> Chords()
    {
        var (low, high) = (Power(0), Power(All));
        double[] prices = [.. Enumerable.Range(0, ChordPrices).Select(i => low + ((high - low) * i / (ChordPrices - 1)))];
        var values = prices.Select(price =>
        {
            FillBest(All, 1, price);
            return Enumerable.Range(0, (int)All + 1).Select(s => Enumerable.Range(0, _devices).Min(d => _best[At((uint)s, d) + _units])).ToArray();
        }).ToArray();
        return set =>
        {
            // Of plans that use all of the set; smaller sets have their own turn.
            var power = Power(set);
            var right = 1;
            while (right < ChordPrices - 1 && prices[right] < power)
                right++;
            if (double.IsInfinity(values[right][set]))
                return double.PositiveInfinity;
            var share = high > low ? (power - prices[right - 1]) / (prices[right] - prices[right - 1]) : 1;
            return values[right - 1][set] + (share * (values[right][set] - values[right - 1][set]));
        };
    }

    private static double Cost(Chain chain, double perJoule, double perSecond) => (perJoule * chain.Joules) + (perSecond * chain.Seconds);

    private IEnumerable<uint> Sets() => Enumerable.Range(1, (int)All).Select(s => (uint)s).Where(s => _devices <= MostDevices || BitOperations.PopCount(s) <= 2 || s == All);

    private int[] Members(uint set) => [.. Enumerable.Range(0, _devices).Where(d => (set & (1u << d)) != 0)];

    private double Run(double[] sums, int device, int from, int end) => sums[(device * (_units + 1)) + end] - sums[(device * (_units + 1)) + from];

    private double RunCost(int device, int from, int end, double slowdown, double perJoule, double perSecond) =>
        (perJoule * Run(_dynamic, device, from, end)) + (perSecond * ((Run(_core, device, from, end) * slowdown) + Run(_launch, device, from, end)));

    private double SeamCost(int unit, int from, int to, double perJoule, double perSecond)
    {
        var at = (((from * _devices) + to) * _units) + unit;
        return (perJoule * _seamEnergy[at]) + (perSecond * _seamTime[at]);
    }

    private double RunBytes(int from, int end) => _bytes[end] - _bytes[from] - (from == 0 && end == _units ? _problem.SharedBytes : 0);

    private double Slowdown(int device, int from, int end)
    {
        var own = _problem.DeviceMemory[device];
        return own.Slowdown((RunBytes(from, end) + _problem.Overhead) / own.Capacity.Value) ?? 1;
    }

    /// <summary>What an assignment takes, each device's run slowed down by its own memory.</summary>
    public Chain Of(byte[] chain) => Of(chain, slowed: true);

    private Chain Of(byte[] chain, bool slowed)
    {
        double joules = 0, seconds = 0;
        for (int from = 0, end; from < _units; from = end)
        {
            for (end = from + 1; end < _units && chain[end] == chain[from];)
                end++;
            joules += Run(_dynamic, chain[from], from, end);
            seconds += RunCost(chain[from], from, end, slowed ? Slowdown(chain[from], from, end) : 1, 0, 1);
            if (from == 0)
                continue;
            joules += SeamCost(from, chain[from - 1], chain[from], 1, 0);
            seconds += SeamCost(from, chain[from - 1], chain[from], 0, 1);
        }
        return new(chain, joules, seconds);
    }

    /// <summary>Whether each device's memory holds its run.</summary>
    public bool Holds(byte[] chain) => Enumerable.Range(0, _devices).All(d => Array.IndexOf(chain, (byte)d) is var from && (from < 0 || RunBytes(from, Array.LastIndexOf(chain, (byte)d) + 1) <= _most[d]));

    // One run a device, below the knee of its memory: then the limits change nothing.
    private bool Fits(byte[] chain)
    {
        uint seen = 0;
        for (int from = 0, end; from < _units; from = end)
        {
            for (end = from + 1; end < _units && chain[end] == chain[from];)
                end++;
            if ((seen & (1u << chain[from])) != 0 || RunBytes(from, end) > _knee[chain[from]])
                return false;
            seen |= 1u << chain[from];
        }
        return true;
    }

    private Chain? Contiguous(uint set, double perJoule, double perSecond)
    {
        FillBest(set, perJoule, perSecond);
        var ends = Enumerable.Range(1, (int)set).Where(s => ((uint)s & ~set) == 0).SelectMany(s => Members((uint)s).Select(d => (Set: (uint)s, Last: d)))
            .MinBy(e => _best[At(e.Set, e.Last) + _units]);
        if (double.IsInfinity(_best[At(ends.Set, ends.Last) + _units]))
            return null;
        var chain = new byte[_units];
        for (var (end, now, last) = (_units, ends.Set, ends.Last); end > 0;)
        {
            var begin = _from[At(now, last) + end];
            chain.AsSpan(begin, end - begin).Fill((byte)last);
            var (others, to) = (now & ~(1u << last), last);
            (end, now) = (begin, others);
            if (begin > 0)
                last = Members(others).MinBy(l => _best[At(others, l) + begin] + _seams[(((l * _devices) + to) * _units) + begin]);
        }
        return Of(chain);
    }

    private int At(uint set, int last) => (((int)set * _devices) + last) * (_units + 1);

    // _best: the least for the units before an end, all devices of the set used, the last one's run ending there.
    private void FillBest(uint set, double perJoule, double perSecond)
    {
        var width = _units + 1;
        if (_best.Length == 0)
            (_best, _from) = (new double[(All + 1) * _devices * width], new ushort[(All + 1) * _devices * width]);
        for (var i = 0; i < _runs.Length; i++)
            _runs[i] = (perJoule * _dynamic[i]) + (perSecond * (_core[i] + _launch[i]));
        for (var i = 0; i < _seams.Length; i++)
            _seams[i] = (perJoule * _seamEnergy[i]) + (perSecond * _seamTime[i]);
        Array.Fill(_best, double.PositiveInfinity, 0, (int)(set + 1) * _devices * width);
        var entry = new double[width];
        for (var s = 1u; s <= set; s++)
        {
            if ((s & ~set) != 0)
                continue;
            foreach (var d in Members(s))
            {
                var others = s & ~(1u << d);
                Array.Fill(entry, double.PositiveInfinity);
                if (others == 0)
                    entry[0] = 0;
                foreach (var last in Members(others))
                {
                    var seams = _seams.AsSpan(((last * _devices) + d) * _units, _units);
                    Lower(entry.AsSpan(1, _units - 1), _best.AsSpan(At(others, last) + 1, _units - 1), seams[1..]);
                }
                Extend(d, entry, _best.AsSpan(At(s, d), width), _from.AsSpan(At(s, d), width), perSecond);
            }
        }
    }

    // For each end the best start of a device's run: sums make a run's cost a difference, so below the knee it is the least
    // of (entry - sum) over a window of starts that memory allows, and the window only moves up. Above the knee each is tried.
    private void Extend(int device, Span<double> entry, Span<double> best, Span<ushort> from, double perSecond)
    {
        var row = device * (_units + 1);
        var runs = _runs.AsSpan(row, _units + 1);
        Span<int> window = stackalloc int[_units + 1];
        int head = 0, tail = 0;
        for (var end = 1; end <= _units; end++)
        {
            entry[end - 1] -= runs[end - 1];
            if (!double.IsInfinity(entry[end - 1]))
            {
                while (tail > head && entry[window[tail - 1]] >= entry[end - 1])
                    tail--;
                window[tail++] = end - 1;
            }
            var (allowed, below) = (_allowed[row + end], _below[row + end]);
            while (head < tail && window[head] < below)
                head++;
            var (least, at) = head < tail ? (entry[window[head]], window[head]) : (double.PositiveInfinity, 0);
            if (allowed < below && Least(entry[allowed..below], _slowed[device].AsSpan((end * _units) + allowed, below - allowed), perSecond) is var (slow, start) && slow < least)
                (least, at) = (slow, allowed + start);
            (best[end], from[end]) = (least + runs[end], (ushort)at);
        }
    }

    // Which starts a device's memory allows for each end, and what those above its knee lose.
    private void FillMemory(int device)
    {
        var row = device * (_units + 1);
        var slowed = _knee[device] < _most[device] ? _slowed[device] = new double[(_units + 1) * _units] : null;
        for (int end = 1, allowed = 0, below = 0; end <= _units; end++)
        {
            while (allowed < end && RunBytes(allowed, end) > _most[device])
                allowed++;
            while (below < end && RunBytes(below, end) > _knee[device])
                below++;
            (_allowed[row + end], _below[row + end]) = (allowed, Math.Max(allowed, below));
            for (var start = allowed; slowed is not null && start < below; start++)
                slowed[(end * _units) + start] = Run(_core, device, start, end) * (Slowdown(device, start, end) - 1);
        }
    }

    // into = min(into, a + b)
    private static void Lower(Span<double> into, ReadOnlySpan<double> a, ReadOnlySpan<double> b)
    {
        var i = 0;
        for (; i <= into.Length - Vector<double>.Count; i += Vector<double>.Count)
            Vector.Min(new Vector<double>(into[i..]), new Vector<double>(a[i..]) + new Vector<double>(b[i..])).CopyTo(into[i..]);
        for (; i < into.Length; i++)
            into[i] = Math.Min(into[i], a[i] + b[i]);
    }

    // The least of a + b x factor, and where.
    private static (double Value, int At) Least(ReadOnlySpan<double> a, ReadOnlySpan<double> b, double factor)
    {
        var (i, least, at) = (0, double.PositiveInfinity, 0);
        var least4 = new Vector<double>(double.PositiveInfinity);
        for (; i <= a.Length - Vector<double>.Count; i += Vector<double>.Count)
            least4 = Vector.Min(least4, new Vector<double>(a[i..]) + (new Vector<double>(b[i..]) * factor));
        for (; i < a.Length; i++)
            least = Math.Min(least, a[i] + (b[i] * factor));
        for (i = 0; i < Vector<double>.Count; i++)
            least = Math.Min(least, least4[i]);
        for (i = 0; i < a.Length && !double.IsInfinity(least); i++)
        {
            if (a[i] + (b[i] * factor) <= least)
                return (least, i);
        }
        return (least, at);
    }
}
