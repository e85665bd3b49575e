using Ergon.Devices;
using Ergon.Units;

namespace Ergon.Energy.Sensors;

/// <summary>Intel's and AMD's running average power limit counters, as powercap shows them: microjoules, about 1 kHz.</summary>
internal static class RaplSensor
{
    public const string Folder = "sys/class/powercap/intel-rapl";

    // A frozen counter is a hypervisor's constant; a live one moves each millisecond.
    private static readonly TimeSpan FrozenAfter = TimeSpan.FromSeconds(10);

    /// <summary>Every package, and the DRAM of each. Core and uncore subzones lie inside their package and are left out, as is the platform zone.</summary>
    public static IEnumerable<EnergySensor> Find(SystemFiles files)
    {
        foreach (var zone in Zones(files))
        {
            // "package-0"; multi-die packages are named "package-0-die-1".
            if (files.Read($"{zone}/name").Text is not { } name || !name.StartsWith("package", StringComparison.Ordinal))
                continue;
            yield return Of(files, zone, name, EnergyDomain.Package, new Watts(2000));
            foreach (var subzone in files.Glob($"{zone}/intel-rapl:*:*"))
            {
                if (files.Read($"{subzone}/name").Text == "dram")
                    yield return Of(files, subzone, name.Replace("package", "dram", StringComparison.Ordinal), EnergyDomain.Dram, new Watts(500));
            }
        }
    }

    /// <summary>The folders of the zones, wherever the kernel lists them.</summary>
    public static IReadOnlyList<string> Zones(SystemFiles files)
    {
        var nested = files.Glob($"{Folder}/intel-rapl:*");
        // A container may show the links and not the control type's folder.
        return nested.Count > 0 ? nested : [.. files.Glob("sys/class/powercap/intel-rapl:*").Where(zone => zone.Count(c => c == ':') == 1)];
    }

    private static DelegateSensor Of(SystemFiles files, string zone, string device, EnergyDomain domain, Watts limit)
    {
        var path = $"{zone}/energy_uj";
        var range = files.ReadNumber($"{zone}/max_energy_range_uj").Value ?? 0;
        return new DelegateSensor(() => files.ReadNumber(path) is var (value, fault) && value is { } count ? SensorSample.OfCount(count) : SensorSample.Failed(files.Full(path), fault!))
        {
            Name = "rapl", Device = device, Domain = domain, Path = files.Full(path), Limit = limit, Interval = TimeSpan.FromSeconds(1),
            FrozenAfter = FrozenAfter, JoulesPerCount = 1e-6, Range = range, IncludesCpu = domain == EnergyDomain.Package,
        };
    }
}
