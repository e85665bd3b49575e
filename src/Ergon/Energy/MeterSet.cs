using Ergon.Devices;
using Ergon.Native.Nvidia;
using Ergon.Units;

namespace Ergon.Energy;

/// <summary>The time between two readings of a meter, and the energy in it.</summary>
/// <param name="Device">What was measured.</param>
/// <param name="Start">Timestamp of the reading before.</param>
/// <param name="End">Timestamp of this one.</param>
/// <param name="Energy"><see langword="null"/> when it went unmeasured.</param>
/// <param name="Source">The meter.</param>
/// <param name="Quality">How the figure came about.</param>
/// <param name="Reason">Why there is no figure.</param>
internal sealed record MeterInterval(string Device, long Start, long End, Joules? Energy, string Source, EnergyQuality Quality, string? Reason);

/// <summary>Meters that together count each joule once. Thread-safe.</summary>
internal sealed class MeterSet
{
    private readonly Lock _gate = new();
    private readonly List<IEnergyMeter> _meters = [];
    private readonly TimeProvider _time;
    private readonly List<EnergyReading> _last = [];
    private readonly List<int> _bridged = []; // readings of each meter that were interpolated
    private readonly List<long> _told = []; // up to when each meter's intervals were told

    // Longer than any gap that a meter bridges: who waits for a reading learns that there will be none.
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(3);

    public MeterSet(IEnumerable<IEnergyMeter> meters, TimeProvider time)
    {
        _time = time;
        foreach (var meter in meters)
            Add(meter);
    }

    public IReadOnlyList<IEnergyMeter> Meters
    {
        get
        {
            lock (_gate)
                return [.. _meters];
        }
    }

    /// <summary>Why nothing measures the processor; <see langword="null"/> where something does.</summary>
    public string? WhyNone { get; init; }

    /// <summary>Adds the meter of a device that no other shows. Windows that are open do not have it.</summary>
    public void Add(IEnergyMeter meter)
    {
        lock (_gate)
        {
            _meters.Add(meter);
            _last.Add(meter.Read());
            _bridged.Add(0);
            _told.Add(_last[^1].At);
        }
    }

    /// <summary>Called for each interval as its reading is made, by the thread that reads.</summary>
    public Action<MeterInterval>? Measured { get; set; }

    /// <summary>The machine's meters, chosen so that nothing counts twice; none where no sensor can be read.</summary>
    public static MeterSet OfMachine(SystemFiles files, CommandRunner run, Nvml? nvml, TimeProvider time, MeterDiagnostics diagnostics)
    {
        var found = MeterSurvey.Find(files, run, nvml, diagnostics);
        var chosen = MeterSurvey.Choose(found);
        // A battery on mains is no fault where another meter works.
        foreach (var failed in found.Where(f => !f.Works && (f.Sensor.Name != "battery" || chosen.Count == 0)))
            diagnostics.Say(failed.FaultPath!, failed.Fault!, failed.Fault!);
        return new MeterSet(chosen.Select(sensor => new EnergyMeter(sensor, time, diagnostics)), time) { WhyNone = MeterSurvey.WhyNone(found, files) };
    }

    /// <summary>Reads one meter now.</summary>
    public void Read(IEnergyMeter meter)
    {
        lock (_gate)
            ReadLocked(_meters.IndexOf(meter));
    }

    /// <summary>Reads all meters now: what a request that ends wants to have counted.</summary>
    public void ReadAll()
    {
        lock (_gate)
        {
            for (var i = 0; i < _meters.Count; i++)
                ReadLocked(i);
        }
    }

    /// <summary>Reads all meters and begins a window.</summary>
    public OpenWindow Begin()
    {
        lock (_gate)
        {
            ReadAll();
            return new OpenWindow(_time.GetTimestamp(), [.. _last], [.. _bridged]);
        }
    }

    /// <summary>Reads all meters and ends a window; it may be ended again later for a longer one.</summary>
    public EnergyWindow End(OpenWindow window)
    {
        lock (_gate)
        {
            ReadAll();
            var elapsed = _time.GetElapsedTime(window.Began);
            var domains = window.Readings.Select((_, i) => Part(i, window, elapsed)).ToArray();
            var reason = domains.Length == 0 ? "no meter can be read on this machine; 'ergon doctor' says what is missing" : domains.FirstOrDefault(d => d.Energy is null)?.Reason;
            return new EnergyWindow(reason is null ? new Joules(domains.Sum(d => d.Energy!.Value.Value)) : null, elapsed, domains, reason);
        }
    }

    private DomainEnergy Part(int i, OpenWindow window, TimeSpan elapsed)
    {
        var (meter, begin, end) = (_meters[i], window.Readings[i], _last[i]);
        var missing = end.Unmeasured - begin.Unmeasured;
        var reason = end.IsFailing ? end.Fault
            : missing > TimeSpan.Zero ? $"{missing.TotalSeconds:0.###} s went unmeasured: {end.Fault}"
            : end.At == begin.At ? $"{meter.Source} told nothing new within {elapsed.TotalMilliseconds:0.###} ms" : null;
        var isShort = end.Quality == EnergyQuality.Sampled && elapsed < meter.Interval;
        var quality = _bridged[i] > window.Bridged[i] || isShort ? EnergyQuality.Interpolated : end.Quality;
        return new DomainEnergy(meter.Device, meter.Domain, reason is null ? end.Measured - begin.Measured : null, meter.Source, quality, reason);
    }

    private void ReadLocked(int i)
    {
        var (meter, before) = (_meters[i], _last[i]);
        var after = _last[i] = meter.Read();
        if (after.At == before.At)
        {
            var now = _time.GetTimestamp();
            if (after.IsFailing && _time.GetElapsedTime(Math.Max(after.At, _told[i]), now) >= Patience)
                Tell(i, now, null, after);
            return;
        }
        if (after.Quality == EnergyQuality.Interpolated)
            _bridged[i]++;
        // Energy of which a part was told as lost cannot be told apart from the rest.
        var lost = after.Unmeasured > before.Unmeasured || _told[i] > before.At;
        Tell(i, after.At, lost ? null : after.Measured - before.Measured, after);
    }

    private void Tell(int i, long end, Joules? energy, EnergyReading reading)
    {
        var interval = new MeterInterval(_meters[i].Device, _told[i], end, energy, _meters[i].Source, reading.Quality, energy is null ? reading.Fault : null);
        _told[i] = end;
        Measured?.Invoke(interval);
    }
}

/// <summary>The meters' readings at a window's beginning.</summary>
internal sealed record OpenWindow(long Began, IReadOnlyList<EnergyReading> Readings, IReadOnlyList<int> Bridged);
