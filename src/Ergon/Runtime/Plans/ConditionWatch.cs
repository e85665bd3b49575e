using System.Collections.Concurrent;
using Ergon.Devices;
using Ergon.Inference;
using Ergon.Native;
using Ergon.Native.Tensors;

namespace Ergon.Runtime.Plans;

/// <summary>What a plan depends on beside the model.</summary>
/// <param name="Unusable">Devices that are lost or too hot, each with the reason.</param>
/// <param name="OnBattery">Whether a battery feeds the machine.</param>
/// <param name="Sequences">Generations that ran in the last seconds; 0: none did.</param>
internal sealed record PlanConditions(IReadOnlyDictionary<string, string> Unusable, bool OnBattery, int Sequences);

/// <summary>Watches what a plan depends on: devices that fail and come back, temperatures, the power supply, the load. Thread-safe.</summary>
/// <param name="files">The machine's file system.</param>
/// <param name="temperatures">Reads the machine's sensors.</param>
/// <param name="time">The clock.</param>
/// <param name="opens">Whether a device can be opened again; <see langword="null"/>: by opening it.</param>
internal sealed class ConditionWatch(SystemFiles files, Func<IReadOnlyList<Temperature>> temperatures, TimeProvider time, Func<LocalDevice, bool>? opens = null)
{
    // A device throttles at its limit; it is left before that, and taken again when it is well below.
    private const double Guard = 3, Cooled = 13;

    private static readonly TimeSpan Recent = TimeSpan.FromSeconds(3), FirstRetry = TimeSpan.FromSeconds(30);

    private readonly ConcurrentDictionary<string, Loss> _lost = new();
    private readonly ConcurrentDictionary<int, long> _sequences = new(); // when last seen
    private readonly ConcurrentDictionary<string, double> _hot = new();

    private sealed record Loss(string Reason, long At, TimeSpan Wait, bool IsBack = false);

    /// <summary>Notes that a device failed. It is tried again after half a minute, after each further failure twice as long.</summary>
    public void Lose(string device, string reason) => _lost.AddOrUpdate(device, _ => new Loss(reason, time.GetTimestamp(), FirstRetry), (_, before) => new Loss(reason, time.GetTimestamp(), before.Wait * 2));

    /// <summary>Notes whose rows a pass had.</summary>
    public void Note(PassReport pass)
    {
        var now = time.GetTimestamp();
        foreach (var part in pass.Parts)
            _sequences[part.Sequence] = now;
    }

    /// <summary>How things are now.</summary>
    /// <param name="devices">Those that plans may use.</param>
    public PlanConditions Read(IReadOnlyList<LocalDevice> devices)
    {
        var (now, sensors, unusable) = (time.GetTimestamp(), temperatures(), new Dictionary<string, string>());
        foreach (var device in devices)
        {
            if ((WhyLost(device, now) ?? WhyHot(device, sensors)) is { } reason)
                unusable[device.Name] = reason;
        }
        var sequences = _sequences.Count(s => time.GetElapsedTime(s.Value, now) < Recent);
        return new PlanConditions(unusable, IsOnBattery(), sequences);
    }

    private string? WhyLost(LocalDevice device, long now)
    {
        if (!_lost.TryGetValue(device.Name, out var loss))
            return null;
        if (time.GetElapsedTime(loss.At, now) < loss.Wait)
            return loss.Reason;
        if (!loss.IsBack && !(opens ?? Opens)(device))
        {
            Lose(device.Name, loss.Reason);
            return loss.Reason;
        }
        // The wait is forgotten once the device has been back for as long.
        if (time.GetElapsedTime(loss.At, now) > 2 * loss.Wait)
            _lost.TryRemove(device.Name, out _);
        else
            _lost.TryUpdate(device.Name, loss with { IsBack = true }, loss);
        return null;
    }

    private static bool Opens(LocalDevice device)
    {
        try
        {
            using var backend = new Backend(device.Native, device.Threads, device.Cpus);
            return true;
        }
        catch (NativeException)
        {
            return false;
        }
    }

    private string? WhyHot(LocalDevice device, IReadOnlyList<Temperature> sensors)
    {
        if (Temperatures.Of(DeviceInfo.Of(device.Native).Kind, sensors) is not { } celsius)
            return null;
        var limit = device.Profile.LimitTemperature.Value;
        if (celsius.Value >= limit - Guard)
            _hot[device.Name] = celsius.Value;
        else if (celsius.Value <= limit - Cooled)
            _hot.TryRemove(device.Name, out _);
        return _hot.ContainsKey(device.Name) ? string.Create(System.Globalization.CultureInfo.InvariantCulture, $"it is at {celsius.Value:F0} °C and throttles at {limit:F0} °C") : null;
    }

    // A battery that discharges, and no supply that is plugged in.
    private bool IsOnBattery()
    {
        // Those of a mouse or a headset feed that alone.
        var supplies = files.Glob("sys/class/power_supply/*").Where(s => files.Read($"{s}/scope").Text != "Device").ToList();
        return supplies.Any(s => files.Read($"{s}/type").Text == "Battery" && files.Read($"{s}/status").Text == "Discharging")
            && !supplies.Any(s => files.Read($"{s}/type").Text is "Mains" or "USB" && files.Read($"{s}/online").Text == "1");
    }
}
