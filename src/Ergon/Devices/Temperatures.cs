using Ergon.Native.Nvidia;
using Ergon.Units;

namespace Ergon.Devices;

/// <summary>What a temperature sensor says.</summary>
/// <param name="Name">The zone's type or the chip and its label: <c>cpu-thermal</c>, <c>k10temp/Tctl</c>, <c>nvml/gpu-0</c>.</param>
/// <param name="Value"><see langword="null"/> when it cannot be read.</param>
/// <param name="Reason">Why not, with the path.</param>
public sealed record Temperature(string Name, Celsius? Value, string? Reason);

/// <summary>The temperatures of a machine.</summary>
internal static class Temperatures
{
    // A Jetson's zone of a unit without power says -256 degrees; silicon works between these.
    private static readonly Celsius Coldest = new(-60);
    private static readonly Celsius Hottest = new(150);

    /// <summary>Reads thermal zones, hwmon chips and NVIDIA's GPUs, in this order.</summary>
    public static IReadOnlyList<Temperature> Read(SystemFiles files, Nvml? nvml)
    {
        var all = new List<Temperature>();
        foreach (var zone in files.Glob("sys/class/thermal/thermal_zone*"))
            all.Add(OfFile(files, files.Read($"{zone}/type").Text ?? Path.GetFileName(zone), $"{zone}/temp"));
        foreach (var input in files.Glob("sys/class/hwmon/hwmon*/temp*_input"))
        {
            var folder = Path.GetDirectoryName(input)!;
            var sensor = Path.GetFileName(input).Replace("_input", "", StringComparison.Ordinal);
            all.Add(OfFile(files, $"{files.Read($"{folder}/name").Text ?? Path.GetFileName(folder)}/{files.Read($"{folder}/{sensor}_label").Text ?? sensor}", input));
        }
        foreach (var gpu in nvml?.Devices ?? [])
        {
            var (degrees, fault) = gpu.Temperature();
            all.Add(Checked($"nvml/gpu-{gpu.Index}", degrees is { } value ? new Celsius(value) : null, fault, "nvmlDeviceGetTemperature"));
        }
        return all;
    }

    /// <summary>The hottest sensor of a kind of device: of the card, or of the processor and what is on it; <see langword="null"/> where none can be read.</summary>
    public static Celsius? Of(DeviceKind device, IReadOnlyList<Temperature> all)
    {
        string[] names = device == DeviceKind.Gpu ? ["nvml", "amdgpu", "xe", "i915"] : ["cpu", "soc", "x86_pkg", "k10temp", "coretemp", "acpitz"];
        // The first names are the better ones: a zone of ACPI's serves where nothing else is.
        return names.Select(name => all.Where(t => t.Name.Contains(name, StringComparison.OrdinalIgnoreCase) && t.Value is not null).Select(t => t.Value).OrderByDescending(t => t!.Value.Value).FirstOrDefault()).FirstOrDefault(t => t is not null);
    }

    private static Temperature OfFile(SystemFiles files, string name, string path)
    {
        var (value, fault) = files.ReadNumber(path);
        return Checked(name, value is { } millidegrees ? new Celsius(millidegrees * 1e-3) : null, fault, files.Full(path));
    }

    private static Temperature Checked(string name, Celsius? value, string? fault, string path) =>
        value is null ? new Temperature(name, null, $"{path}: {fault}")
        : value < Coldest || value > Hottest ? new Temperature(name, null, $"{path}: it says {value}, which no silicon at work has")
        : new Temperature(name, value, null);
}
