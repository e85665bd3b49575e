using Ergon.Units;

namespace Ergon.Energy;

/// <summary>
/// One figure of energy that only grows. Two readings make a window: what lies between them is
/// the difference of <see cref="EnergyReading.Measured"/>, provided that nothing in between went unmeasured.
/// Not thread-safe: whoever shares a meter locks it (<see cref="MeterSet"/> does).
/// </summary>
internal interface IEnergyMeter
{
    /// <summary>What it measures, unique on the machine: <c>package-0</c>, <c>gpu-0</c>, <c>board</c>.</summary>
    string Device { get; }

    EnergyDomain Domain { get; }

    /// <summary><c>measured:rapl</c>, <c>measured:nvml</c>, <c>modelled:profile-name</c>.</summary>
    string Source { get; }

    /// <summary>When it wants to be read next: its usual interval, or less where waiting loses energy.</summary>
    TimeSpan Interval { get; }

    /// <summary>Reads the sensor, or repeats the last reading when the sensor must not be asked so soon.</summary>
    EnergyReading Read();
}

/// <summary>The state of a meter.</summary>
/// <param name="At">The clock's timestamp (<see cref="TimeProvider.GetTimestamp"/>) up to which the two sums reach.</param>
/// <param name="Measured">Energy since the meter was made, gaps left out.</param>
/// <param name="Unmeasured">The gaps' length since the meter was made.</param>
/// <param name="Quality">Of the energy since the reading before.</param>
/// <param name="Fault">Why the sensor gives nothing at present, or what the last gap came from; <see langword="null"/> when there was none.</param>
/// <param name="IsFailing">Whether nothing after <paramref name="At"/> is measured at present.</param>
internal readonly record struct EnergyReading(long At, Joules Measured, TimeSpan Unmeasured, EnergyQuality Quality, string? Fault, bool IsFailing);
