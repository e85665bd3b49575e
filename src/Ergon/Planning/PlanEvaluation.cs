using Ergon.Units;

namespace Ergon.Planning;

/// <summary>What one device carries in a plan.</summary>
/// <param name="Device">Its profile's name.</param>
/// <param name="Places">Units it computes, those of prefill and of decode counted apart.</param>
/// <param name="Busy">The share of the time in which it computes.</param>
/// <param name="Dynamic">Of its dynamic power, a token.</param>
/// <param name="Resident">Weights, cache, activations and runtime.</param>
/// <param name="Cpq">The greater of its own CPQ and its pool's; 0 where nothing is.</param>
/// <param name="Temperature">Steady; the limit where there is none below; <see langword="null"/> while it is off.</param>
/// <param name="Clock">Of its clock level; <see langword="null"/> where the profile has none.</param>
internal sealed record DeviceLoad(string Device, int Places, double Busy, Joules Dynamic, Bytes Resident, double Cpq, Celsius? Temperature, Hertz? Clock);

/// <summary>A plan with everything that is said about it.</summary>
internal sealed record PlanEvaluation
{
    public required PlanScore Score { get; init; }

    /// <summary>A device for each place, then a clock level for each device.</summary>
    public required byte[] Genes { get; init; }

    /// <summary>Time of a request over the tokens of its answer.</summary>
    public required Seconds Latency { get; init; }

    /// <summary>Mean power of all devices that are on, in the phase where it is highest.</summary>
    public required Watts Power { get; init; }

    /// <summary>Places whose input comes from another device.</summary>
    public required int Seams { get; init; }

    public required IReadOnlyList<DeviceLoad> Loads { get; init; }

    /// <summary>The limit that is passed by most, and by how much; <see langword="null"/>: the plan is feasible.</summary>
    public required string? Binding { get; init; }
}
