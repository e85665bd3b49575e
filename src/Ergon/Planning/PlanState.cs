using System.Globalization;

namespace Ergon.Planning;

/// <summary>
/// A plan and its sums: moving a unit costs O(1), a score O(devices). Not thread-safe. Sums drift by rounding in long
/// chains of moves; <see cref="Load"/> starts anew.
/// </summary>
internal sealed class PlanState
{
    private readonly PlanProblem _problem;
    private readonly int _devices, _phases, _units;
    private readonly byte[] _genes;
    private readonly double[] _core, _launch, _dynamic, _seam, _busy; // [phases, devices]
    private readonly double[] _seamEnergy, _period, _power; // [phases]
    private readonly double[] _resident, _slow, _cpq, _leakage, _temperature; // [devices]
    private readonly double[] _pooled; // [pools]
    private readonly int[] _placed; // [devices], places
    private readonly byte[] _references; // [units, devices], phases in which the unit is there

    /// <summary>All places on the first device, clocks as the peaks.</summary>
    public PlanState(PlanProblem problem)
    {
        (_problem, _devices, _phases, _units) = (problem, problem.Devices, problem.Phases, problem.Units);
        _genes = new byte[problem.Genes];
        (_core, _launch, _dynamic, _seam, _busy) = (new double[_phases * _devices], new double[_phases * _devices], new double[_phases * _devices], new double[_phases * _devices], new double[_phases * _devices]);
        (_seamEnergy, _period, _power) = (new double[_phases], new double[_phases], new double[_phases]);
        (_resident, _slow, _cpq, _leakage, _temperature) = (new double[_devices], new double[_devices], new double[_devices], new double[_devices], new double[_devices]);
        _pooled = new double[problem.PoolMemory.Length];
        _placed = new int[_devices];
        _references = new byte[_units * _devices];
        Span<byte> start = stackalloc byte[problem.Genes];
        start.Clear();
        for (var d = 0; d < _devices; d++)
            start[problem.Places + d] = (byte)(problem.Levels[d] - 1);
        Load(start);
    }

    public ReadOnlySpan<byte> Genes => _genes;

    /// <summary>Scores asked for so far, the currency in which searches are compared.</summary>
    public int Evaluations { get; private set; }

    /// <summary>Takes another plan, with sums that no rounding has drifted.</summary>
    public void Load(ReadOnlySpan<byte> genes)
    {
        genes.CopyTo(_genes);
        foreach (var sums in (double[][])[_core, _launch, _dynamic, _seam, _seamEnergy, _resident])
            Array.Clear(sums);
        Array.Clear(_placed);
        Array.Clear(_references);
        for (var place = 0; place < _problem.Places; place++)
        {
            Count(place, _genes[place], 1);
            Seam(place, 1);
        }
        for (var unit = 0; _phases > 1 && unit < _units; unit++)
            Handoff(unit, 1);
    }

    /// <summary>Puts a gene to a device, or to a clock level.</summary>
    public void Set(int gene, byte value)
    {
        if (_genes[gene] == value)
            return;
        if (gene >= _problem.Places)
        {
            SetClock(gene, value);
            return;
        }
        var unit = gene % _units;
        Around(-1);
        Count(gene, _genes[gene], -1);
        _genes[gene] = value;
        Count(gene, value, 1);
        Around(1);

        void Around(int sign)
        {
            Seam(gene, sign);
            if (unit < _units - 1)
                Seam(gene + 1, sign);
            if (_phases > 1)
                Handoff(unit, sign);
        }
    }

    /// <summary>What the plan costs a token, and by how much it passes limits.</summary>
    public PlanScore Score()
    {
        Evaluations++;
        var excess = Memory();
        double time = 0, joules = 0, worked = 0, weights = 0;
        for (var phase = 0; phase < _phases; phase++)
        {
            double total = 0, longest = 0, dynamic = _seamEnergy[phase];
            for (int d = 0, at = phase * _devices; d < _devices; d++, at++)
            {
                _busy[at] = (_core[at] * _slow[d]) + _launch[at];
                var occupied = _busy[at] + _seam[at];
                total += occupied;
                longest = Math.Max(longest, occupied);
                dynamic += _dynamic[at];
                worked += _busy[at] * _problem.Weight[d];
            }
            // With several passes under way the busiest device sets the pace, if there are enough of them.
            _period[phase] = Math.Max(longest, total / _problem.Workload.InFlight);
            _power[phase] = dynamic / _period[phase];
            time += _period[phase];
            joules += dynamic;
        }
        for (var d = 0; d < _devices; d++)
        {
            weights += _problem.Weight[d];
            _leakage[d] = 0;
            if (_placed[d] == 0 && !_problem.AlwaysOn[d])
                continue;
            double dynamic = 0;
            for (var phase = 0; phase < _phases; phase++)
                dynamic += _dynamic[(phase * _devices) + d];
            excess += Heat(d, _problem.Static[d] + (dynamic / time));
            joules += (_problem.Static[d] + _leakage[d]) * time;
            for (var phase = 0; phase < _phases; phase++)
                _power[phase] += _problem.Static[d] + _leakage[d];
        }
        if (_problem.Limits.PowerCap is { } cap)
        {
            for (var phase = 0; phase < _phases; phase++)
                excess += Math.Max(0, (_power[phase] / cap.Value) - 1);
        }
        if (_problem.Limits.MaxLatency is { } most)
            excess += Math.Max(0, (Latency(time) / most.Value) - 1);
        return new(joules / _problem.TokensPerRound, time / _problem.TokensPerRound, Math.Max(0, 1 - (worked / (time * weights))), excess);
    }

    /// <summary>The plan in words and units, with the limit that binds most where it passes one.</summary>
    public PlanEvaluation Evaluate()
    {
        var score = Score();
        var time = _period.Sum();
        var limits = Limits(time).ToArray();
        return new PlanEvaluation
        {
            Score = score,
            Genes = [.. _genes],
            Latency = new(Latency(time)),
            Power = new(_power.Max()),
            Seams = Enumerable.Range(0, _problem.Places).Count(p => p % _units > 0 && _genes[p] != _genes[p - 1]),
            Loads = [.. Enumerable.Range(0, _devices).Select(d => new DeviceLoad(
                _problem.Profiles[d].Name, _placed[d], Enumerable.Range(0, _phases).Sum(p => _busy[(p * _devices) + d]) / time,
                new(Enumerable.Range(0, _phases).Sum(p => _dynamic[(p * _devices) + d]) / _problem.TokensPerRound),
                new((long)Held(d)), _cpq[d], _placed[d] > 0 || _problem.AlwaysOn[d] ? new(_temperature[d]) : null,
                _problem.Profiles[d].Clocks.Count > 0 ? new(_problem.Profiles[d].Clocks[_genes[_problem.Places + d]].Frequency) : null))],
            Binding = limits.Length == 0 ? null : limits.MaxBy(l => l.Excess).Text,
        };
    }

    private double Latency(double time) => time * _problem.Workload.InFlight / _problem.Workload.Tokens;

    private double Held(int device) => _resident[device] + (_placed[device] > 0 ? _problem.Overhead : 0);

    // CPQ and slowdown of every device; the sum of what is too much.
    private double Memory()
    {
        double excess = 0;
        Array.Clear(_pooled);
        for (var d = 0; d < _devices; d++)
            _pooled[_problem.Pool[d]] += Held(d);
        for (var d = 0; d < _devices; d++)
        {
            var (own, pool) = (_problem.DeviceMemory[d], _problem.PoolMemory[_problem.Pool[d]]);
            _cpq[d] = Math.Max(Held(d) / own.Capacity.Value, _placed[d] > 0 ? _pooled[_problem.Pool[d]] / pool.Capacity.Value : 0);
            var over = _placed[d] > 0 ? Math.Max(Held(d) / own.Capacity.Value - (1 - own.Reserve), (_pooled[_problem.Pool[d]] / pool.Capacity.Value) - (1 - pool.Reserve)) : 0;
            excess += Math.Max(0, over);
            _slow[d] = own.Slowdown(_cpq[d]) ?? 1;
        }
        return excess;
    }

    // Temperature and leakage at a power; how far over the limit that is.
    private double Heat(int d, double power)
    {
        var heat = _problem.Heat[d];
        if (heat.Steady(power, _problem.Limits.Ambient.Value) is { } steady)
        {
            (_temperature[d], _leakage[d]) = (steady, heat.LeakageAt(steady));
            return 0;
        }
        (_temperature[d], _leakage[d]) = (heat.Limit, heat.LeakageAt(heat.Limit));
        // Watts that the cooling takes at the limit, against those that come; a runaway below the limit counts a little.
        var room = (heat.Limit - _problem.Limits.Ambient.Value) / heat.Resistance;
        return room > 0 ? Math.Max(0.01, ((power + _leakage[d]) / room) - 1) : 1 + power;
    }

    private IEnumerable<(double Excess, string Text)> Limits(double time)
    {
        for (var d = 0; d < _devices; d++)
        {
            var (profile, own, pool) = (_problem.Profiles[d], _problem.DeviceMemory[d], _problem.PoolMemory[_problem.Pool[d]]);
            if (_placed[d] > 0 && Held(d) / own.Capacity.Value is var cpq && cpq > 1 - own.Reserve)
                yield return (cpq - (1 - own.Reserve), Invariant($"memory: '{profile.Name}' would hold {Held(d) / 1e9:F2} GB, {100 * cpq:F0} % of its {own.Capacity.Value / 1e9:F2} GB where {100 * (1 - own.Reserve):F0} % are allowed"));
            if (_placed[d] > 0 && _pooled[_problem.Pool[d]] / pool.Capacity.Value is var shared && shared > 1 - pool.Reserve)
                yield return (shared - (1 - pool.Reserve), Invariant($"memory: the pool '{profile.Pool}' would hold {_pooled[_problem.Pool[d]] / 1e9:F2} GB, {100 * shared:F0} % of its {pool.Capacity.Value / 1e9:F2} GB where {100 * (1 - pool.Reserve):F0} % are allowed"));
            if (_placed[d] == 0 && !_problem.AlwaysOn[d])
                continue;
            var power = _problem.Static[d] + (Enumerable.Range(0, _phases).Sum(p => _dynamic[(p * _devices) + d]) / time);
            if (_problem.Heat[d].Steady(power, _problem.Limits.Ambient.Value) is null)
                yield return (Heat(d, power), Invariant($"temperature: '{profile.Name}' has no steady temperature at or below {_problem.Heat[d].Limit:F0} °C at {power:F1} W without leakage, the air at {_problem.Limits.Ambient.Value:F0} °C"));
        }
        if (_problem.Limits.PowerCap is { } cap && _power.Max() > cap.Value)
            yield return ((_power.Max() / cap.Value) - 1, Invariant($"power cap: {_power.Max():F1} W where {cap.Value:F1} W are allowed"));
        if (_problem.Limits.MaxLatency is { } most && Latency(time) > most.Value)
            yield return ((Latency(time) / most.Value) - 1, Invariant($"latency: {1e3 * Latency(time):F2} ms a token where {1e3 * most.Value:F2} ms are allowed"));
    }

    private static string Invariant(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);

    private void SetClock(int gene, byte level)
    {
        var device = gene - _problem.Places;
        for (var place = 0; place < _problem.Places; place++)
        {
            if (_genes[place] == device)
                Work(place, device, -1);
        }
        _genes[gene] = level;
        for (var place = 0; place < _problem.Places; place++)
        {
            if (_genes[place] == device)
                Work(place, device, 1);
        }
    }

    private void Work(int place, int device, int sign)
    {
        var (at, level) = ((place / _units * _devices) + device, _genes[_problem.Places + device]);
        _core[at] += sign * _problem.Core(place, device, level);
        _launch[at] += sign * _problem.Launch(place, device, level);
        _dynamic[at] += sign * _problem.Dynamic(place, device, level);
    }

    private void Count(int place, int device, int sign)
    {
        Work(place, device, sign);
        _placed[device] += sign;
        var unit = place % _units;
        ref var references = ref _references[(unit * _devices) + device];
        // Only the first phase that comes and the last that goes change what is resident.
        if (sign > 0 ? references++ > 0 : --references > 0)
            return;
        var bytes = _problem.UnitBytes[unit];
        if (_problem.SharedBytes > 0 && (unit == 0 || unit == _units - 1) && _references[((_units - 1 - unit) * _devices) + device] > 0)
            bytes -= _problem.SharedBytes;
        _resident[device] += sign * bytes;
    }

    private void Seam(int place, int sign)
    {
        if (place % _units == 0 || _genes[place] == _genes[place - 1])
            return;
        var link = _problem.Links[(_genes[place - 1] * _devices) + _genes[place]];
        var phase = place / _units;
        _seam[(phase * _devices) + _genes[place]] += sign * ((_problem.SeamCount[place] * link.Seam) + (_problem.SeamBytes[place] * link.PerByte));
        _seamEnergy[phase] += sign * _problem.SeamBytes[place] * link.Energy;
    }

    // Keys and values go where decoding reads them.
    private void Handoff(int unit, int sign)
    {
        var (from, to) = (_genes[unit], _genes[_units + unit]);
        if (from == to || _problem.HandoffBytes[unit] == 0)
            return;
        var link = _problem.Links[(from * _devices) + to];
        _seam[to] += sign * (link.Latency + (_problem.HandoffBytes[unit] * link.PerByte));
        _seamEnergy[0] += sign * _problem.HandoffBytes[unit] * link.Energy;
    }
}
