using Ergon.Devices;

namespace Ergon.Energy;

/// <summary>What part of a machine a figure covers.</summary>
public enum EnergyDomain
{
    /// <summary>A processor with its cores, caches and integrated GPU; without DRAM.</summary>
    Package,

    /// <summary>The memory of a package.</summary>
    Dram,

    /// <summary>A discrete GPU with its memory.</summary>
    Gpu,

    /// <summary>All that the board's supply feeds: processor, GPU, memory and the rest.</summary>
    Board,
}

/// <summary>What the domains are to devices.</summary>
internal static class EnergyDomains
{
    /// <summary>Whether what a device draws is in a domain's figure. All but cards is the processor's supply.</summary>
    public static bool Shows(this EnergyDomain domain, DeviceKind device) =>
        domain == EnergyDomain.Board || (domain == EnergyDomain.Gpu) == (device == DeviceKind.Gpu);
}

/// <summary>How a figure came about, the most trustworthy first.</summary>
public enum EnergyQuality
{
    /// <summary>The difference of two readings of an energy counter in hardware.</summary>
    Counter,

    /// <summary>Power, read at a stated rate and integrated by trapezoids.</summary>
    Sampled,

    /// <summary>As one of the two above, but a short gap was bridged, or the time asked about is shorter than the meter's interval.</summary>
    Interpolated,

    /// <summary>No meter: a device profile's idle and dynamic power over the reports of passes.</summary>
    Modelled,
}
