using System.Text.RegularExpressions;
using Ergon.Native;

namespace Ergon.Devices.Profiles;

/// <summary>The profile of a device that was not calibrated: the catalogue's where one is of its kind, else estimates for its class.</summary>
internal static class EstimatedProfile
{
    private const double Ambient = 25;

    /// <param name="device">The device.</param>
    /// <param name="cores">Cores of the processor.</param>
    /// <param name="files">Tell what board and processor it is.</param>
    public static DeviceProfile Of(DeviceInfo device, int cores, SystemFiles files)
    {
        var isSoftware = DeviceInfo.IsSoftware(device.Description);
        var names = string.Join('\n', files.BoardModel, isSoftware || device.Kind == DeviceKind.Gpu ? "" : files.ProcessorName, device.Description);
        if (ProfileCatalogue.All.FirstOrDefault(p => p.Kind == device.Kind && p.Calls is { } calls && Regex.IsMatch(names, calls, RegexOptions.Multiline | RegexOptions.IgnoreCase | RegexOptions.CultureInvariant)) is { } known)
            return device.TotalMemory is { } memory && memory < known.Capacity.Value ? known with { Capacity = new(memory, Origin.Measured, "what the backend says") } : known;
        return (isSoftware ? DeviceKind.Cpu : device.Kind) switch
        {
            DeviceKind.Cpu => Processor(device, cores),
            DeviceKind.Gpu => Of(device, cores, device.Name, "a graphics card of the middle class", 15, 150, 2.5e12, 10e12, 300e9, 5e-6, 90),
            DeviceKind.IntegratedGpu => Of(device, cores, "host", "a processor's integrated graphics", 1, 16, 0.5e12, 1e12, 60e9, 10e-6, 95),
            _ => Of(device, cores, "host", "an accelerator beside the processor", 0.5, 8.5, 0.5e12, 2e12, 60e9, 20e-6, 95),
        };
    }

    private static DeviceProfile Processor(DeviceInfo device, int cores)
    {
        var isServer = device.Description.Contains("EPYC", StringComparison.OrdinalIgnoreCase) || device.Description.Contains("Xeon", StringComparison.OrdinalIgnoreCase);
        var isArm = System.Runtime.InteropServices.RuntimeInformation.ProcessArchitecture is System.Runtime.InteropServices.Architecture.Arm64 or System.Runtime.InteropServices.Architecture.Arm;
        return isServer ? Of(device, cores, "host", $"{cores} of a server's many cores: about 4 W a core at full load and 1 W idle", cores, 4.0 * cores, 30e9 * cores, 100e9 * cores, 10e9 * cores, 2e-6, 95)
            : isArm ? Of(device, cores, "host", $"{cores} Arm cores: about 1.5 W a core at full load, and a board that idles at 1.5 W", 1.5, 1.5 + (1.5 * cores), 15e9 * cores, 30e9 * cores, 10e9, 2e-6, 85)
            : Of(device, cores, "host", $"{cores} cores of a desktop or laptop: about 8 W a core at full load, and 0.5 W a core and 2 W beside them idle", 2 + (0.5 * cores), 2 + (8.0 * cores), 30e9 * cores, 60e9 * cores, 40e9, 2e-6, 95);
    }

    private static DeviceProfile Of(DeviceInfo device, int cores, string pool, string reason, double idle, double max, double one, double many, double bandwidth, double launch, double limit)
    {
        Coefficient Estimate(double value, string source) => new(value, Origin.Estimate, source);
        var leakage = idle / 10;
        // As in the catalogue: cooling holds maximum power, with leakage grown to its temperature, a fifth below the limit.
        var hot = Ambient + (0.8 * (limit - Ambient));
        var resistance = (hot - Ambient) / (max + (leakage * (Math.Exp(0.069 * (hot - 45)) - 1)));
        return new DeviceProfile
        {
            Name = NameOf(device, cores),
            Kind = device.Kind,
            Pool = pool,
            Peaks = [new(GgmlType.Q4_0, 1, Estimate(one, reason)), new(GgmlType.Q4_0, 512, Estimate(many, reason))],
            Bandwidth = Estimate(bandwidth, reason),
            Efficiency = Estimate(0.8, "the usual share of a memory's bandwidth that reading weights reaches"),
            Launch = Estimate(launch, reason),
            Capacity = device.TotalMemory is { } total ? new(total, Origin.Measured, "what the backend says") : Estimate(8e9, "the backend does not say"),
            IdlePower = Estimate(idle, reason),
            MaxPower = Estimate(max, reason),
            ComputePower = Estimate((max - idle) / 2, "half of maxPower - idlePower"),
            MemoryPower = Estimate((max - idle) / 2, "half of maxPower - idlePower"),
            LeakagePower = Estimate(leakage, "a tenth of idlePower"),
            LeakageGrowth = new(0.069, Origin.Derived, "ln 2 / 10 K: leakage doubles with each 10 K"),
            ReferenceTemperature = Estimate(45, "idle silicon about 20 K above a room of 25 °C"),
            ThermalResistance = new(resistance, Origin.Derived, "cooling holds maxPower a fifth below limitTemperature"),
            ThermalCapacitance = new(60 / resistance, Origin.Derived, "60 s / thermalResistance; the time constant is an estimate"),
            LimitTemperature = Estimate(limit, "usual for this class"),
        }.Validated();
    }

    // "AMD EPYC" with two cores is "amd-epyc-2core": short, and safe in a label.
    private static string NameOf(DeviceInfo device, int cores)
    {
        var words = Regex.Replace(device.Description.ToLowerInvariant(), @"\s*\([^)]*\)|[^a-z0-9]+", " ").Split(' ', StringSplitOptions.RemoveEmptyEntries);
        return string.Join('-', words.Length > 0 ? words : [device.Name.ToLowerInvariant()]) + (device.Kind == DeviceKind.Cpu ? $"-{cores}core" : "");
    }
}
