using Ergon.Devices;
using Ergon.Units;

namespace Ergon.Energy.Sensors;

/// <summary>
/// The INA3221 monitors of a Jetson module: three rails each, millivolts and milliamperes (JetPack 5 and 6) or
/// milliwatts (JetPack 4). Rails are known by their labels, because their numbers differ from board to board.
/// </summary>
internal static class JetsonSensor
{
    private static readonly Watts BoardLimit = new(500);

    // The rails that make up a module's whole draw. On AGX Orin VDDQ lies inside VIN_SYS_5V0.
    private static readonly string[][] Totals =
    [
        ["VDD_IN"], // Orin NX, Orin Nano, Xavier NX, TX2
        ["POM_5V_IN"], // Nano
        ["VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"], // AGX Orin
    ];

    /// <summary>The module's total; none when there is no monitor.</summary>
    public static IEnumerable<EnergySensor> Find(SystemFiles files, MeterDiagnostics diagnostics)
    {
        var rails = Rails(files);
        if (rails.Count == 0)
            yield break;
        if (Totals.FirstOrDefault(total => total.All(rails.ContainsKey)) is not { } total)
        {
            diagnostics.Say(files.Full(rails.Values.First().Label), "rails", $"the rails {string.Join(", ", rails.Keys)} are of no module whose total is known");
            yield break;
        }
        var summed = total.Select(label => rails[label]).ToArray();
        yield return new DelegateSensor(() =>
        {
            var sum = Watts.Zero;
            foreach (var rail in summed)
            {
                var sample = rail.Read(files);
                if (sample.Fault is not null)
                    return sample;
                sum += sample.Power;
            }
            return SensorSample.OfPower(sum);
        })
        {
            Name = "ina3221", Device = "board", Domain = EnergyDomain.Board, Path = files.Full(summed[0].Power ?? summed[0].Current!), Limit = BoardLimit, IncludesCpu = true,
        };
    }

    private static Dictionary<string, Rail> Rails(SystemFiles files)
    {
        var rails = new Dictionary<string, Rail>(StringComparer.Ordinal);
        foreach (var driver in (string[])["ina3221", "ina3221x"])
        {
            foreach (var folder in files.Glob($"sys/bus/i2c/drivers/{driver}/*-004?/hwmon/hwmon*"))
            {
                for (var n = 1; n <= 3; n++)
                    Add($"{folder}/in{n}_label", new Rail($"{folder}/in{n}_label", $"{folder}/in{n}_input", $"{folder}/curr{n}_input", null));
            }
            foreach (var folder in files.Glob($"sys/bus/i2c/drivers/{driver}/*-004?/iio:device*"))
            {
                for (var n = 0; n < 3; n++)
                    Add($"{folder}/rail_name_{n}", new Rail($"{folder}/rail_name_{n}", null, null, $"{folder}/in_power{n}_input"));
            }
        }
        return rails;

        void Add(string label, Rail rail)
        {
            if (files.Read(label).Text is { Length: > 0 } name && name != "NC")
                rails.TryAdd(name, rail);
        }
    }

    /// <summary>One rail's files: volts and amperes, or power.</summary>
    private sealed record Rail(string Label, string? Voltage, string? Current, string? Power)
    {
        public SensorSample Read(SystemFiles files)
        {
            if (Power is not null)
                return files.ReadNumber(Power) is var (power, noPower) && power is { } milliwatts ? SensorSample.OfPower(new Watts(milliwatts * 1e-3)) : SensorSample.Failed(files.Full(Power), noPower!);
            var (millivolts, noVoltage) = files.ReadNumber(Voltage!);
            if (millivolts is null)
                return SensorSample.Failed(files.Full(Voltage!), noVoltage!);
            var (milliamperes, noCurrent) = files.ReadNumber(Current!);
            return milliamperes is null ? SensorSample.Failed(files.Full(Current!), noCurrent!) : SensorSample.OfPower(new Watts(millivolts.Value * 1e-3 * (milliamperes.Value * 1e-3)));
        }
    }
}
