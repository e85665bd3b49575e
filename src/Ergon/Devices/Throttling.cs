using System.Globalization;
using Ergon.Native.Nvidia;
using Ergon.Units;

namespace Ergon.Devices;

/// <summary>Whether something holds a clock down.</summary>
/// <param name="Name">Whose: <c>policy0</c>, <c>gpu-0</c>, <c>firmware</c>.</param>
/// <param name="Clock">The clock now; <see langword="null"/> when not told.</param>
/// <param name="Max">The highest clock of the hardware; <see langword="null"/> when not told.</param>
/// <param name="IsThrottled">Whether heat or power holds it down; <see langword="null"/> when that cannot be known.</param>
/// <param name="Reason">What holds it down, or why it cannot be known.</param>
public sealed record Throttle(string Name, Hertz? Clock, Hertz? Max, bool? IsThrottled, string? Reason);

/// <summary>Reads what the machine tells of throttling.</summary>
internal static class Throttling
{
    // nvmlClocksEventReason*: the bits that mean heat or power, not idling or a user's own limit.
    private static readonly (ulong Bit, string Why)[] Events =
    [
        (0x04, "power limit"), (0x08, "hardware slowdown"), (0x20, "software thermal slowdown"), (0x40, "hardware thermal slowdown"), (0x80, "power brake"),
    ];

    // Below this share of the highest clock a busy processor is held down; boost clocks move by a few per cent.
    private const double Held = 0.9;

    /// <summary>Reads cpufreq, the Raspberry Pi's firmware and NVIDIA's GPUs.</summary>
    /// <param name="files">The machine's file system.</param>
    /// <param name="run">Starts programs; <see langword="null"/> leaves the Raspberry Pi's firmware alone.</param>
    /// <param name="nvml">NVIDIA's library, where there is one.</param>
    /// <param name="isBusy">Whether the processor has work: an idle one lowers its clock by itself, which says nothing.</param>
    public static IReadOnlyList<Throttle> Read(SystemFiles files, CommandRunner? run, Nvml? nvml, bool isBusy)
    {
        var all = files.Glob("sys/devices/system/cpu/cpufreq/policy*").Select(policy => OfPolicy(files, policy, isBusy)).ToList();
        if (run is not null && files.BoardModel.StartsWith("Raspberry Pi", StringComparison.Ordinal))
            all.Add(OfFirmware(run("vcgencmd", "get_throttled")));
        foreach (var gpu in nvml?.Devices ?? [])
            all.Add(OfGpu($"gpu-{gpu.Index}", gpu.ClockMegahertz().Value, gpu.MaxClockMegahertz().Value, gpu.ClocksEventReasons()));
        return all;
    }

    internal static Throttle OfGpu(string name, uint? clock, uint? max, NvmlResult<ulong> reasons)
    {
        var (now, top) = (clock is { } c ? new Hertz(c * 1e6) : (Hertz?)null, max is { } m ? new Hertz(m * 1e6) : (Hertz?)null);
        if (reasons.Value is not { } bits)
            return new Throttle(name, now, top, null, $"nvmlDeviceGetCurrentClocksEventReasons: {reasons.Fault}");
        var held = Events.Where(e => (bits & e.Bit) != 0).Select(e => e.Why).ToArray();
        return new Throttle(name, now, top, held.Length > 0, held.Length > 0 ? string.Join(", ", held) : null);
    }

    private static Throttle OfPolicy(SystemFiles files, string policy, bool isBusy)
    {
        var name = Path.GetFileName(policy);
        var (clock, noClock) = files.ReadNumber($"{policy}/scaling_cur_freq");
        var (max, noMax) = files.ReadNumber($"{policy}/cpuinfo_max_freq");
        // cpufreq counts in kHz.
        var (now, top) = (clock is { } c ? new Hertz(c * 1e3) : (Hertz?)null, max is { } m ? new Hertz(m * 1e3) : (Hertz?)null);
        if (now is null || top is null)
            return new Throttle(name, now, top, null, now is null ? $"{files.Full($"{policy}/scaling_cur_freq")}: {noClock}" : $"{files.Full($"{policy}/cpuinfo_max_freq")}: {noMax}");
        // A cooling device lowers the policy's own limit, busy or not.
        if (files.ReadNumber($"{policy}/scaling_max_freq").Value is { } limit && limit < Held * max)
            return new Throttle(name, now, top, true, $"scaling_max_freq is {limit} kHz of {max} kHz");
        if (!isBusy)
            return new Throttle(name, now, top, null, "an idle processor's clock says nothing");
        var held = now.Value / top.Value < Held;
        return new Throttle(name, now, top, held, held ? $"{clock} kHz of {max} kHz under load" : null);
    }

    // "throttled=0x50005": bits 0 to 3 hold now, 16 to 19 since the start.
    private static Throttle OfFirmware(CommandOutput output)
    {
        if (output.Output is not { } text)
            return new Throttle("firmware", null, null, null, output.Fault);
        var hex = text.Trim().Split("0x");
        if (hex is not ["throttled=", var digits] || !uint.TryParse(digits, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out var bits))
            return new Throttle("firmware", null, null, null, $"'vcgencmd get_throttled' says '{text.Trim()}'");
        var held = new[] { (0x1u, "under-voltage"), (0x2u, "clock capped"), (0x4u, "throttled"), (0x8u, "soft temperature limit") }.Where(b => (bits & b.Item1) != 0).Select(b => b.Item2).ToArray();
        return new Throttle("firmware", null, null, held.Length > 0, held.Length > 0 ? string.Join(", ", held) : null);
    }
}
