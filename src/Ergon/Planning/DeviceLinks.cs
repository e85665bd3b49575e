using Ergon.Devices.Profiles;

namespace Ergon.Planning;

/// <summary>What bytes cost from one device to another.</summary>
/// <param name="Latency">Seconds before the first byte.</param>
/// <param name="PerByte">Seconds a byte.</param>
/// <param name="Energy">Joules a byte, both ends together.</param>
/// <param name="Source">Where the numbers come from.</param>
internal readonly record struct DeviceLink(double Latency, double PerByte, double Energy, string Source)
{
    /// <summary>Seconds before what comes computes: the latency, and the graph that begins with it.</summary>
    public double Seam { get; init; } = Latency;
}

/// <summary>The way between two devices: a profile's own link, or a documented default for devices of one machine.</summary>
internal static class DeviceLinks
{
    // PCIe 4.0 carries 1.97 GB/s a lane: 15.8 GB/s over eight lanes, of which copies reach about four fifths.
    private const double HostBandwidth = 12.5e9;

    // From the end of the one kernel over a copy through the driver to the start of the other: 10 to 20 us is usual.
    private const double HostLatency = 15e-6;

    // Two serial links' ends at about 5 pJ a bit each, and DRAM at either end at about 4 pJ a bit: 18 pJ a bit.
    private const double HostEnergy = 144e-12;

    private const string HostSource = "estimate: devices of one machine over eight lanes of PCIe 4.0, 12.5 GB/s, 15 us, 144 pJ/B";

    /// <summary>The link from one device to another.</summary>
    /// <param name="from">The sender.</param>
    /// <param name="to">The receiver.</param>
    public static DeviceLink Between(DeviceProfile from, DeviceProfile to)
    {
        if (from.Links.FirstOrDefault(l => l.To == to.Name) is { } link)
            return new(link.Latency.Value, 1 / link.Bandwidth.Value, link.EnergyPerByte.Value, link.Bandwidth.Source);
        if (from.Pool != to.Pool)
            return new(HostLatency, 1 / HostBandwidth, HostEnergy, HostSource);
        // A copy reads and writes each byte: half of the bandwidth, and twice the energy of reading it.
        var slower = from.EffectiveBandwidth < to.EffectiveBandwidth ? from : to;
        return new(from.Launch.Value + to.Launch.Value, 2 / slower.EffectiveBandwidth, 2 * slower.MemoryPower.Value / slower.EffectiveBandwidth,
            "derived: a copy in the memory that both share, at half of the slower one's bandwidth");
    }
}
