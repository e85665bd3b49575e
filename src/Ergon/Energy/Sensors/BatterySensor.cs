using Ergon.Devices;
using Ergon.Units;

namespace Ergon.Energy.Sensors;

/// <summary>
/// What leaves the batteries while the machine runs on them: microwatts, or microamperes times microvolts. On mains
/// a battery does not know the machine's draw. Firmware refreshes it every few seconds at best.
/// </summary>
internal static class BatterySensor
{
    private static readonly Watts BoardLimit = new(400);

    public static IEnumerable<EnergySensor> Find(SystemFiles files)
    {
        var batteries = files.Glob("sys/class/power_supply/BAT*");
        if (batteries.Count == 0)
            yield break;
        yield return new DelegateSensor(() =>
        {
            var sum = Watts.Zero;
            var discharging = 0;
            foreach (var battery in batteries)
            {
                var (status, fault) = files.Read($"{battery}/status");
                if (status is null)
                    return SensorSample.Failed(files.Full($"{battery}/status"), fault!);
                if (status is "Charging")
                    return SensorSample.Failed(files.Full($"{battery}/status"), "the battery is charging, so it does not tell what the machine draws");
                // Of two batteries one waits, "Not charging" or "Unknown".
                if (status is not "Discharging")
                    continue;
                discharging++;
                var sample = Read(files, battery);
                if (sample.Fault is not null)
                    return sample;
                sum += sample.Power;
            }
            return discharging > 0 ? SensorSample.OfPower(sum) : SensorSample.Failed(files.Full($"{batteries[0]}/status"), "the machine is on mains, so the battery does not tell what it draws");
        })
        {
            Name = "battery", Device = "board", Domain = EnergyDomain.Board, Path = files.Full(batteries[0]), Limit = BoardLimit,
            Interval = TimeSpan.FromSeconds(1), FrozenAfter = TimeSpan.FromMinutes(5), IncludesCpu = true,
        };
    }

    private static SensorSample Read(SystemFiles files, string battery)
    {
        if (files.Exists($"{battery}/power_now"))
            return files.ReadNumber($"{battery}/power_now") is var (power, noPower) && power is { } microwatts ? SensorSample.OfPower(new Watts(microwatts * 1e-6)) : SensorSample.Failed(files.Full($"{battery}/power_now"), noPower!);
        var (microamperes, noCurrent) = files.ReadNumber($"{battery}/current_now");
        if (microamperes is null)
            return SensorSample.Failed(files.Full($"{battery}/current_now"), noCurrent!);
        var (microvolts, noVoltage) = files.ReadNumber($"{battery}/voltage_now");
        // Drivers disagree on the sign of a current that leaves the battery.
        return microvolts is null ? SensorSample.Failed(files.Full($"{battery}/voltage_now"), noVoltage!)
            : SensorSample.OfPower(new Watts(Math.Abs(microamperes.Value * 1e-6) * microvolts.Value * 1e-6));
    }
}
