using Ergon.Units;

namespace Ergon.Energy;

/// <summary>
/// The meter of a device that has none: its profile's idle power over time, and the dynamic energy of each pass as the
/// cost model gives it.
/// </summary>
/// <param name="device">The device.</param>
/// <param name="domain">What part of the machine it is.</param>
/// <param name="profile">The profile's name, in <c>modelled:name</c>.</param>
/// <param name="idle">Power without work.</param>
/// <param name="time">The clock.</param>
internal sealed class ModelledMeter(string device, EnergyDomain domain, string profile, Watts idle, TimeProvider time) : IEnergyMeter
{
    private readonly Lock _gate = new();
    private readonly long _began = time.GetTimestamp();
    private Joules _dynamic;

    public string Device => device;

    public EnergyDomain Domain => domain;

    public string Source { get; } = $"modelled:{profile}";

    // For the idle power only: whoever charges a pass reads the meter then, so that an interval ends where the pass does.
    public TimeSpan Interval { get; } = TimeSpan.FromSeconds(1);

    /// <summary>Adds what a pass took beyond idling. Any thread may call it.</summary>
    public void Charge(Joules energy)
    {
        if (!double.IsFinite(energy.Value) || energy < Joules.Zero)
            throw new ErgonException($"The profile {profile} models a pass of {energy}, but energy is never negative.");
        lock (_gate)
            _dynamic += energy;
    }

    public EnergyReading Read()
    {
        lock (_gate)
        {
            var now = time.GetTimestamp();
            return new EnergyReading(now, _dynamic + idle * (Seconds)time.GetElapsedTime(_began, now), TimeSpan.Zero, EnergyQuality.Modelled, null, IsFailing: false);
        }
    }
}
