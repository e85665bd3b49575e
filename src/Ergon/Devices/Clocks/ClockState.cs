using System.Globalization;
using System.Text.Json.Serialization;
using Ergon.Native.Nvidia;

namespace Ergon.Devices.Clocks;

/// <summary>What a setting of clocks or power is or shall be; also how a watchdog is told what to restore.</summary>
/// <param name="Kind"><c>range</c> (two files), <c>file</c>, <c>nvml-clock</c> or <c>nvml-power</c>.</param>
/// <param name="Target">The file, the file of the lower bound, or the GPU's UUID.</param>
/// <param name="UpperTarget">The file of a range's upper bound.</param>
/// <param name="Value">The value, or the lower bound; of <c>nvml-clock</c> empty for a clock that nothing holds.</param>
/// <param name="UpperValue">A range's upper bound.</param>
internal sealed record ClockState(string Kind, string Target, string? UpperTarget, string Value, string? UpperValue)
{
    public static ClockState File(string path, string value) => new("file", path, null, value, null);

    public static ClockState Range(string minPath, string maxPath, long min, long max) =>
        new("range", minPath, maxPath, min.ToString(CultureInfo.InvariantCulture), max.ToString(CultureInfo.InvariantCulture));

    /// <summary>Whether both set the same thing.</summary>
    public bool IsOf(ClockState other) => (Kind, Target) == (other.Kind, other.Target);
}

[JsonSerializable(typeof(ClockState))]
internal sealed partial class ClockJson : JsonSerializerContext;

/// <summary>Sets clocks and power limits.</summary>
internal sealed class ClockWriter(SystemFiles files, Nvml? nvml)
{
    /// <summary>Brings a state about.</summary>
    /// <returns>Why it could not, with the path; <see langword="null"/> when it could.</returns>
    public string? Apply(ClockState state) => state.Kind switch
    {
        "file" => Write(state.Target, state.Value),
        "range" => SetRange(state),
        "nvml-clock" or "nvml-power" => SetGpu(state),
        _ => $"there is no kind of clock setting '{state.Kind}'",
    };

    // A lower bound above the upper one is refused by the kernel, so the bound that makes room goes first:
    // on the way up the upper, on the way down the lower.
    private string? SetRange(ClockState state)
    {
        var (current, fault) = files.ReadNumber(state.UpperTarget!);
        if (current is null)
            return $"{files.Full(state.UpperTarget!)}: {fault}";
        return long.Parse(state.Value, CultureInfo.InvariantCulture) > current
            ? Write(state.UpperTarget!, state.UpperValue!) ?? Write(state.Target, state.Value)
            : Write(state.Target, state.Value) ?? Write(state.UpperTarget!, state.UpperValue!);
    }

    private string? SetGpu(ClockState state)
    {
        if (nvml?.Devices.FirstOrDefault(d => d.Uuid == state.Target) is not { } gpu)
            return $"there is no NVIDIA GPU {state.Target}";
        if (state.Kind == "nvml-power")
            return gpu.SetPowerLimit(uint.Parse(state.Value, CultureInfo.InvariantCulture));
        return state.Value.Length == 0 ? gpu.UnlockClocks() : gpu.LockClocks(uint.Parse(state.Value, CultureInfo.InvariantCulture), uint.Parse(state.UpperValue!, CultureInfo.InvariantCulture));
    }

    private string? Write(string path, string value) => files.Write(path, value) is { } fault ? $"{files.Full(path)}: {fault}" : null;
}
