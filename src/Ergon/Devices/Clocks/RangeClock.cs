using System.Globalization;

namespace Ergon.Devices.Clocks;

/// <summary>A clock between two bounds in files; both bounds on one level hold it there.</summary>
internal abstract class RangeClock(SystemFiles files, string minPath, string maxPath) : ClockKnob
{
    protected SystemFiles Files => files;

    public override (IReadOnlyList<ClockState> States, string? Fault) Read()
    {
        var (min, noMin) = files.ReadNumber(minPath);
        var (max, noMax) = files.ReadNumber(maxPath);
        return min is { } low && max is { } high ? ([ClockState.Range(minPath, maxPath, low, high)], null)
            : ([], min is null ? $"{files.Full(minPath)}: {noMin}" : $"{files.Full(maxPath)}: {noMax}");
    }

    public override IReadOnlyList<ClockState> Hold(ClockLevel level) => [ClockState.Range(minPath, maxPath, level.Value, level.Value)];

    protected static IReadOnlyList<ClockLevel> LevelsOf(IEnumerable<long> values, double hertzPerUnit) =>
        [.. values.Distinct().Order().Select(v => new ClockLevel(v, string.Create(CultureInfo.InvariantCulture, $"{v * hertzPerUnit / 1e6:0.##} MHz")))];

    protected static IEnumerable<long> Numbers(string? text) =>
        (text ?? "").Split(' ', StringSplitOptions.RemoveEmptyEntries).Select(word => long.TryParse(word, NumberStyles.None, CultureInfo.InvariantCulture, out var value) ? value : 0).Where(v => v > 0);
}

/// <summary>The GPU's clock of a Jetson, through devfreq: Hz.</summary>
internal sealed class JetsonClock(SystemFiles files, string folder) : RangeClock(files, $"{folder}/min_freq", $"{folder}/max_freq")
{
    private static readonly string[] GpuNodes = ["gv11b", "gp10b", "ga10b", "gb10b", "gpu"];

    public static IEnumerable<ClockKnob> Find(SystemFiles files) =>
        files.Glob("sys/class/devfreq/*").Where(folder => IsGpu(files, folder)).Select(folder => new JetsonClock(files, folder)
        {
            Name = "jetson gpu clock",
            Levels = LevelsOf(Numbers(files.Read($"{folder}/available_frequencies").Text), 1),
        });

    /// <summary>Whether a devfreq device is the GPU and not a memory controller or video engine.</summary>
    public static bool IsGpu(SystemFiles files, string folder) => GpuNodes.Contains(files.Read($"{folder}/device/of_node/name").Text);

    public override bool? Follows(ClockLevel level) => Files.ReadNumber($"{folder}/cur_freq").Value is { } now ? now == level.Value : null;
}

/// <summary>The clock of a cluster of cores, through cpufreq: kHz.</summary>
internal sealed class CpuClock(SystemFiles files, string folder) : RangeClock(files, $"{folder}/scaling_min_freq", $"{folder}/scaling_max_freq")
{
    private const int Steps = 6;

    public static IEnumerable<ClockKnob> Find(SystemFiles files) =>
        files.Glob("sys/devices/system/cpu/cpufreq/policy*").Select(folder => new CpuClock(files, folder) { Name = $"cpu clock {Path.GetFileName(folder)}", Levels = LevelsOf(Frequencies(files, folder), 1e3) });

    // intel_pstate and amd-pstate list none: their range is continuous.
    private static IEnumerable<long> Frequencies(SystemFiles files, string folder)
    {
        if (Numbers(files.Read($"{folder}/scaling_available_frequencies").Text).ToArray() is { Length: > 0 } listed)
            return listed;
        return files.ReadNumber($"{folder}/cpuinfo_min_freq").Value is { } min && files.ReadNumber($"{folder}/cpuinfo_max_freq").Value is { } max && max > min
            ? Enumerable.Range(0, Steps).Select(i => min + (max - min) * i / (Steps - 1)) : [];
    }
}
