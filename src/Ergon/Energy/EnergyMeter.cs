using Ergon.Energy.Sensors;
using Ergon.Units;

namespace Ergon.Energy;

/// <summary>
/// A sensor as a meter: counters are unwrapped, powers integrated, and what cannot be true is left out as
/// unmeasured time and said once, so that no failure becomes a small number of joules.
/// </summary>
internal sealed class EnergyMeter : IEnergyMeter
{
    // Over a gap of this length power is still a fair guess from both its ends.
    private static readonly TimeSpan Bridgeable = TimeSpan.FromSeconds(2);
    private static readonly TimeSpan NearRestart = TimeSpan.FromMilliseconds(100);

    private readonly EnergySensor _sensor;
    private readonly MeterDiagnostics _diagnostics;
    private readonly TimeProvider _time;
    private SensorSample? _last; // the last good sample
    private long _sampled; // when the sensor was asked last
    private long _changed; // when its value began to be what it is
    private bool _asked;
    private bool _frozen;
    private EnergyReading _reading;
    private Watts _power;

    public EnergyMeter(EnergySensor sensor, TimeProvider time, MeterDiagnostics diagnostics)
    {
        (_sensor, _time, _diagnostics) = (sensor, time, diagnostics);
        Source = $"measured:{sensor.Name}";
        _reading = new EnergyReading(time.GetTimestamp(), Joules.Zero, TimeSpan.Zero, EnergyQuality.Sampled, null, IsFailing: false);
    }

    public string Device => _sensor.Device;

    public EnergyDomain Domain => _sensor.Domain;

    public string Source { get; }

    public TimeSpan Interval
    {
        get
        {
            // Close to its restart a counter is read so often that the restart falls into a short interval of known power.
            if (_sensor.Range == 0 || _last is not { IsCount: true } last)
                return _sensor.Interval;
            var left = new Joules((_sensor.Range - last.Count) * _sensor.JoulesPerCount);
            return left < _power * (Seconds)(2 * _sensor.Interval) ? NearRestart : _sensor.Interval;
        }
    }

    public EnergyReading Read()
    {
        var now = _time.GetTimestamp();
        if (_asked && _time.GetElapsedTime(_sampled, now) < _sensor.Floor)
            return _reading;
        (_asked, _sampled) = (true, now);
        var sample = _sensor.Read();
        if (Fault(sample) is { } fault)
            return Fail(sample.FaultPath ?? _sensor.Path, fault.Kind, fault.Problem);
        if (_last is not { } last)
        {
            // Time before the first good sample is nobody's to know.
            _last = sample;
            _changed = now;
            var waited = _reading.IsFailing ? _time.GetElapsedTime(_reading.At, now) : TimeSpan.Zero;
            return _reading = _reading with { At = now, Unmeasured = _reading.Unmeasured + waited, IsFailing = false };
        }
        if (sample == last)
        {
            var still = _time.GetElapsedTime(_changed, now);
            if (still >= _sensor.FrozenAfter)
            {
                _frozen = true;
                return Fail(_sensor.Path, "frozen", $"it stands still at {Show(sample)} for {still.TotalSeconds:0.#} s");
            }
            // A counter that has not moved says nothing yet about the time since it did.
            if (sample.IsCount)
                return _reading;
        }
        else if (_frozen)
        {
            return Restart(sample, now);
        }
        else
        {
            _changed = now;
        }
        return sample.IsCount ? Count(last, sample, now) : Integrate(last, sample, now);
    }

    private EnergyReading Count(SensorSample last, SensorSample sample, long now)
    {
        var elapsed = _time.GetElapsedTime(_reading.At, now);
        var counts = sample.Count - last.Count;
        // energy_uj restarts at max_energy_range_uj: 262 kJ at 200 W last 22 minutes. One restart between two
        // readings is normal; a second in the same gap cannot be told from none.
        if (counts < 0 && _sensor.Range > 0)
            counts += _sensor.Range;
        if (counts < 0)
            return Skip(sample, now, "backwards", $"it went back from {Show(last)} to {Show(sample)}");
        var energy = new Joules(counts * _sensor.JoulesPerCount);
        if (energy > _sensor.Limit * (Seconds)elapsed && elapsed > TimeSpan.Zero)
            return Skip(sample, now, "jump", $"it jumped from {Show(last)} to {Show(sample)}, {energy / (Seconds)elapsed}; more than {_sensor.Limit} is not believed");
        if (_sensor.Range > 0 && _power > Watts.Zero && new Joules(_sensor.Range * _sensor.JoulesPerCount) < _power * (Seconds)elapsed)
            return Skip(sample, now, "restarts", $"it was not read for {elapsed.TotalSeconds:0} s, in which it may have restarted more than once");
        if (elapsed > TimeSpan.Zero)
            _power = energy / (Seconds)elapsed;
        return Accept(sample, now, energy, EnergyQuality.Counter);
    }

    private EnergyReading Integrate(SensorSample last, SensorSample sample, long now)
    {
        var elapsed = _time.GetElapsedTime(_reading.At, now);
        if (_reading.IsFailing && elapsed > Bridgeable)
            return Restart(sample, now);
        var quality = _reading.IsFailing || elapsed > 2 * Bridgeable ? EnergyQuality.Interpolated : EnergyQuality.Sampled;
        return Accept(sample, now, (last.Power + sample.Power) / 2 * (Seconds)elapsed, quality);
    }

    private EnergyReading Accept(SensorSample sample, long now, Joules energy, EnergyQuality quality)
    {
        _last = sample;
        return _reading = new EnergyReading(now, _reading.Measured + energy, _reading.Unmeasured, quality, _reading.Fault, IsFailing: false);
    }

    private EnergyReading Skip(SensorSample sample, long now, string kind, string problem)
    {
        Fail(_sensor.Path, kind, problem);
        return Restart(sample, now);
    }

    // The time since the last good reading stays unmeasured; the sensor is believed again from here.
    private EnergyReading Restart(SensorSample sample, long now)
    {
        (_last, _changed, _frozen) = (sample, now, false);
        return _reading = _reading with { At = now, Unmeasured = _reading.Unmeasured + _time.GetElapsedTime(_reading.At, now), IsFailing = false };
    }

    private EnergyReading Fail(string path, string kind, string problem)
    {
        _diagnostics.Say(path, kind, problem);
        return _reading = _reading with { Fault = $"{path}: {problem}", IsFailing = true };
    }

    private (string Kind, string Problem)? Fault(SensorSample sample)
    {
        if (sample.Fault is { } fault)
            return (fault, fault);
        if (sample.IsCount)
            return sample.Count < 0 ? ("negative", $"it says {sample.Count}") : null;
        if (!double.IsFinite(sample.Power.Value))
            return ("nonsense", $"it says {sample.Power}");
        if (sample.Power < Watts.Zero)
            return ("negative", $"it says {sample.Power}, and a device draws no negative power");
        if (sample.Power == Watts.Zero && !_sensor.MayBeZero)
            return ("zero", "it says 0 W, which nothing that answers draws");
        return sample.Power > _sensor.Limit ? ("jump", $"it says {sample.Power}; more than {_sensor.Limit} is not believed") : null;
    }

    private string Show(SensorSample sample) => sample.IsCount ? new Joules(sample.Count * _sensor.JoulesPerCount).ToString() : sample.Power.ToString();
}
