namespace Ergon.Devices.Clocks;

/// <summary>A setting that a knob can hold.</summary>
/// <param name="Value">In the kernel's own unit: Hz for devfreq, kHz for cpufreq, MHz and mW for NVIDIA, uW for RAPL.</param>
/// <param name="Label">For people: <c>816 MHz</c>, <c>15 W</c>, <c>low</c>.</param>
internal sealed record ClockLevel(long Value, string Label);

/// <summary>One clock or power limit that a machine lets its owner turn.</summary>
internal abstract class ClockKnob
{
    /// <summary><c>jetson gpu clock</c>, <c>cpu clock policy0</c>.</summary>
    public required string Name { get; init; }

    /// <summary>What it can be set to, ascending.</summary>
    public required IReadOnlyList<ClockLevel> Levels { get; init; }

    /// <summary>What it is set to now: what a restore brings back.</summary>
    /// <returns>The states, or why they cannot be read.</returns>
    public abstract (IReadOnlyList<ClockState> States, string? Fault) Read();

    /// <summary>The states that hold a level, in the order of writing.</summary>
    public abstract IReadOnlyList<ClockState> Hold(ClockLevel level);

    /// <summary>Whether the hardware runs at the level; <see langword="null"/> where it does not tell or is free to go lower.</summary>
    public virtual bool? Follows(ClockLevel level) => null;
}
