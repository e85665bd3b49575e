using System.Globalization;
using Ergon.Native.Nvidia;

namespace Ergon.Devices.Clocks;

/// <summary>amdgpu's performance level: the lowest clocks, the highest, or its own choice.</summary>
internal sealed class AmdgpuClock(SystemFiles files, string path) : ClockKnob
{
    private static readonly string[] Names = ["low", "auto", "high"];

    public static IEnumerable<ClockKnob> Find(SystemFiles files) =>
        files.Glob("sys/class/drm/card*/device/power_dpm_force_performance_level")
            .Select(path => new AmdgpuClock(files, path) { Name = $"amdgpu clock {path.Split('/')[3]}", Levels = [.. Names.Select((name, i) => new ClockLevel(i, name))] });

    public override (IReadOnlyList<ClockState> States, string? Fault) Read() =>
        files.Read(path) is var (text, fault) && text is not null ? ([ClockState.File(path, text)], null) : ([], $"{files.Full(path)}: {fault}");

    public override IReadOnlyList<ClockState> Hold(ClockLevel level) => [ClockState.File(path, level.Label)];
}

/// <summary>A package's power limits, through RAPL: microwatts. Both constraints, the long and the short, are lowered to a level and never raised.</summary>
internal sealed class PowerLimit(SystemFiles files, IReadOnlyList<(string Path, long Before)> constraints) : ClockKnob
{
    private const int Steps = 5;

    public static IEnumerable<ClockKnob> Find(SystemFiles files)
    {
        foreach (var zone in files.Glob("sys/class/powercap/intel-rapl/intel-rapl:*").Where(z => (files.Read($"{z}/name").Text ?? "").StartsWith("package", StringComparison.Ordinal)))
        {
            var constraints = files.Glob($"{zone}/constraint_*_power_limit_uw").Where(path => files.Read(path.Replace("power_limit_uw", "name", StringComparison.Ordinal)).Text != "peak_power")
                .Select(path => (path, files.ReadNumber(path).Value ?? long.MaxValue)).ToArray();
            // Some firmware says 0 for the highest power; what is in force is then the highest.
            var max = new[] { files.ReadNumber($"{zone}/constraint_0_max_power_uw").Value, files.ReadNumber($"{zone}/constraint_0_power_limit_uw").Value }.FirstOrDefault(v => v > 0);
            if (constraints.Length > 0 && max is { } top)
                yield return new PowerLimit(files, constraints) { Name = $"power limit {files.Read($"{zone}/name").Text}", Levels = LevelsOf(top) };
        }
    }

    public override (IReadOnlyList<ClockState> States, string? Fault) Read()
    {
        var states = new List<ClockState>();
        foreach (var (path, _) in constraints)
        {
            var (text, fault) = files.Read(path);
            if (text is null)
                return ([], $"{files.Full(path)}: {fault}");
            states.Add(ClockState.File(path, text));
        }
        return (states, null);
    }

    public override IReadOnlyList<ClockState> Hold(ClockLevel level) =>
        [.. constraints.Select(c => ClockState.File(c.Path, Math.Min(level.Value, c.Before).ToString(CultureInfo.InvariantCulture)))];

    // From 40 % up: below, packages stop answering their limit.
    private static ClockLevel[] LevelsOf(long top) =>
        [.. Enumerable.Range(0, Steps).Select(i => top * (40 + 15 * i) / 100).Select(v => new ClockLevel(v, string.Create(CultureInfo.InvariantCulture, $"{v * 1e-6:0.#} W")))];
}

/// <summary>The held graphics clock of an NVIDIA GPU: MHz. Nobody but root may.</summary>
internal sealed class NvidiaClock(NvmlDevice gpu) : ClockKnob
{
    private const int Steps = 7;

    public static IEnumerable<ClockKnob> Find(Nvml? nvml) => (nvml?.Devices ?? []).Where(gpu => gpu.MaxClockMegahertz().Value is > 0).Select(gpu => new NvidiaClock(gpu)
    {
        Name = $"nvidia clock gpu-{gpu.Index}",
        Levels = [.. Enumerable.Range(1, Steps).Select(i => (long)gpu.MaxClockMegahertz().Value! * (i + 2) / (Steps + 2)).Select(v => new ClockLevel(v, $"{v} MHz"))],
    });

    // NVML does not tell whether a clock is held: letting it go is the driver's default.
    public override (IReadOnlyList<ClockState> States, string? Fault) Read() => ([new ClockState("nvml-clock", gpu.Uuid, null, "", null)], null);

    public override IReadOnlyList<ClockState> Hold(ClockLevel level)
    {
        var clock = level.Value.ToString(CultureInfo.InvariantCulture);
        return [new ClockState("nvml-clock", gpu.Uuid, null, clock, clock)];
    }
}

/// <summary>The power limit of an NVIDIA GPU: milliwatts. Nobody but root may.</summary>
internal sealed class NvidiaPowerLimit(NvmlDevice gpu) : ClockKnob
{
    private const int Steps = 5;

    public static IEnumerable<ClockKnob> Find(Nvml? nvml)
    {
        foreach (var gpu in nvml?.Devices ?? [])
        {
            if (gpu.PowerLimits().Value is var (min, max) && max > min)
                yield return new NvidiaPowerLimit(gpu) { Name = $"power limit gpu-{gpu.Index}", Levels = [.. Enumerable.Range(0, Steps).Select(i => min + (long)(max - min) * i / (Steps - 1)).Select(v => new ClockLevel(v, string.Create(CultureInfo.InvariantCulture, $"{v * 1e-3:0.#} W")))] };
        }
    }

    public override (IReadOnlyList<ClockState> States, string? Fault) Read() => gpu.PowerLimitMilliwatts() is { Value: { } limit }
        ? ([new ClockState("nvml-power", gpu.Uuid, null, limit.ToString(CultureInfo.InvariantCulture), null)], null) : ([], gpu.PowerLimitMilliwatts().Fault);

    public override IReadOnlyList<ClockState> Hold(ClockLevel level) => [new ClockState("nvml-power", gpu.Uuid, null, level.Value.ToString(CultureInfo.InvariantCulture), null)];
}
