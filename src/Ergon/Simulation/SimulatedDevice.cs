using Ergon.Cost;
using Ergon.Devices.Profiles;
using Ergon.Units;

namespace Ergon.Simulation;

/// <summary>Work for a simulated device: stages one after another.</summary>
/// <param name="Arrival">When it can start, in virtual time.</param>
/// <param name="Stages">What runs.</param>
internal sealed record SimulatedJob(Seconds Arrival, IReadOnlyList<StageCost> Stages);

/// <summary>How a job ended.</summary>
internal enum SimulatedEnd
{
    Done,

    /// <summary>The device was lost before the job was done, or before it began.</summary>
    Lost,

    /// <summary>The limit temperature was reached at the lowest clock.</summary>
    Overheated,
}

/// <summary>What became of a job, in virtual time.</summary>
/// <param name="Label">Says that this was simulated, and from which profile.</param>
/// <param name="End">How it ended.</param>
/// <param name="Started">When its first stage began; when it failed, if none did.</param>
/// <param name="Finished">When it was done or failed.</param>
/// <param name="Energy">What the device drew from start to finish, static power included; the energy of a lost job is spent too.</param>
internal sealed record SimulatedResult(string Label, SimulatedEnd End, Seconds Started, Seconds Finished, Joules Energy);

/// <summary>
/// A device in virtual time, from a profile: jobs in the order of their arrival, one at a time, with launch latency,
/// heat (RC), throttling over the profile's clock levels, and loss at a time. There is no clock and no chance in it:
/// the same jobs give the same results. Not thread-safe.
/// </summary>
/// <param name="profile">The device.</param>
/// <param name="ambient">The air's temperature; the device starts with it unless <paramref name="temperature"/> says otherwise.</param>
/// <param name="temperature">Of the silicon at the start.</param>
/// <param name="lostAt">When the device is lost; <see langword="null"/>: never.</param>
/// <param name="slowdown">Of a full memory, from <see cref="MemoryPool.Slowdown"/>.</param>
internal sealed class SimulatedDevice(DeviceProfile profile, Celsius ambient, Celsius? temperature = null, Seconds? lostAt = null, double slowdown = 1)
{
    // Leakage is taken as constant over a step: a step of 1/500 of the time constant moves the temperature by
    // at most 1/500 of the way to its end.
    private const double StepsPerTimeConstant = 500;

    // Clocks rise again only when the silicon has cooled by so many kelvin, so that they do not flap.
    private const double Hysteresis = 5;

    private readonly Celsius _limit = new(profile.LimitTemperature.Value);
    private readonly Seconds _step = new(profile.ThermalResistance.Value * profile.ThermalCapacitance.Value / StepsPerTimeConstant);

    private Celsius? _atLowest; // above the limit

    /// <summary><c>simulated:</c> and the profile's name; every result carries it.</summary>
    public string Label { get; } = "simulated:" + profile.Name;

    /// <summary>Virtual time.</summary>
    public Seconds Now { get; private set; }

    /// <summary>Of the silicon.</summary>
    public Celsius Temperature { get; private set; } = temperature ?? ambient;

    /// <summary>Drawn since the start, idle time included.</summary>
    public Joules Energy { get; private set; }

    /// <summary>Time with a job running.</summary>
    public Seconds Busy { get; private set; }

    /// <summary>The index of the clock level; <see langword="null"/> where the profile has none.</summary>
    public int? Clock { get; private set; } = profile.Clocks.Count > 0 ? profile.Clocks.Count - 1 : null;

    /// <summary>Whether the device is gone.</summary>
    public bool IsLost => lostAt is { } lost && Now >= lost;

    /// <summary>When a device of this mean time between failures is lost, exponentially distributed; the same random stream gives the same time.</summary>
    public static Seconds DrawLoss(Random random, Seconds meanTimeBetweenFailures) => new(-meanTimeBetweenFailures.Value * Math.Log(1 - random.NextDouble()));

    /// <summary>Runs jobs in the order of their arrival; those of the same time in the order given.</summary>
    public IReadOnlyList<SimulatedResult> Run(IEnumerable<SimulatedJob> jobs) => [.. jobs.OrderBy(j => j.Arrival).Select(Run)];

    /// <summary>Lets time pass with nothing running, until then or until the device is lost.</summary>
    public void IdleUntil(Seconds time)
    {
        while (Now < time && !IsLost)
            Advance(Watts.Zero, time - Now, isBusy: false);
    }

    private SimulatedResult Run(SimulatedJob job)
    {
        IdleUntil(job.Arrival);
        var (started, before) = (Now, Energy);
        var end = IsLost ? SimulatedEnd.Lost : SimulatedEnd.Done;
        foreach (var stage in job.Stages)
        {
            if (end == SimulatedEnd.Done)
                end = Run(stage);
        }
        return new SimulatedResult(Label, end, started, Now, Energy - before);
    }

    // The clock may change within a stage, so what counts is the share of it that is left.
    private SimulatedEnd Run(StageCost stage)
    {
        for (var left = 1.0; left > 1e-12;)
        {
            if (IsLost)
                return SimulatedEnd.Lost;
            if (!Throttle())
                return SimulatedEnd.Overheated;
            var draw = EnergyModel.Draw(profile, stage, Clock, slowdown);
            if (draw.Time == Seconds.Zero)
                return SimulatedEnd.Done;
            left -= Advance(draw.DynamicPower, draw.Time * left, isBusy: true) / draw.Time;
        }
        return SimulatedEnd.Done;
    }

    private bool Throttle()
    {
        if (Temperature > _limit)
        {
            // At the lowest clock it may still be cooling down.
            if (Clock is null || (Clock == 0 && Temperature >= _atLowest))
                return false;
            if (Clock > 0)
                Clock--;
            else
                _atLowest = Temperature;
            return true;
        }
        _atLowest = null;
        if (Clock < profile.Clocks.Count - 1 && _limit - Temperature > Hysteresis)
        {
            Clock++;
        }
        return true;
    }

    // At most one step, and not past the loss; returns how long it was.
    private Seconds Advance(Watts dynamic, Seconds most, bool isBusy)
    {
        var time = new Seconds(Math.Min(most.Value, _step.Value));
        if (lostAt is { } lost && Now + time >= lost)
            (time, Now) = (lost - Now, lost);
        else
            Now += time;
        var power = new Watts(profile.StaticPower) + dynamic + EnergyModel.Leakage(profile, Temperature);
        Energy += power * time;
        if (isBusy)
            Busy += time;
        Temperature = EnergyModel.Step(profile, Temperature, ambient, power, time);
        return time;
    }
}
