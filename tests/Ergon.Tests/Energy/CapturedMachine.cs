using Ergon.Devices;
using Ergon.Energy;
using Ergon.Energy.Sensors;

namespace Ergon.Tests.Energy;

/// <summary>A file system as a machine shows it, in the formats of the kernel's documentation.</summary>
internal sealed class CapturedMachine : IDisposable
{
    public const string Package = "sys/class/powercap/intel-rapl/intel-rapl:0";
    public const string Ina = "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon3";
    public const string Card = "sys/class/drm/card0/device/hwmon/hwmon2";
    public const string Battery = "sys/class/power_supply/BAT0";

    private readonly TemporaryFolder _root = new();

    public CapturedMachine() => Files = new SystemFiles(_root.Path);

    public string Root => _root.Path;

    public SystemFiles Files { get; }

    public ManualTime Time { get; } = new();

    public MeterDiagnostics Diagnostics { get; } = new();

    /// <summary>What vcgencmd prints for each argument; absent ones are a program that is not installed.</summary>
    public Dictionary<string, string> Vcgencmd { get; } = [];

    public int Asked { get; private set; }

    public CommandOutput Run(string program, string arguments)
    {
        Asked++;
        return Vcgencmd.TryGetValue(arguments, out var text) ? new CommandOutput(text, null) : new CommandOutput(null, $"the program '{program}' is not installed");
    }

    public CapturedMachine Write(string path, object value)
    {
        var full = Files.Full(path);
        Directory.CreateDirectory(Path.GetDirectoryName(full)!);
        File.WriteAllText(full, $"{value}\n");
        return this;
    }

    public void Remove(string path) => File.Delete(Files.Full(path));

    /// <summary>Puts a folder where a file was: opening it is denied to everybody, root included.</summary>
    public CapturedMachine Deny(string path)
    {
        Remove(path);
        Directory.CreateDirectory(Files.Full(path));
        return this;
    }

    public static CapturedMachine Rapl(long package = 1_000_000, long range = 262_143_328_850)
    {
        var machine = new CapturedMachine().Write($"{Package}/name", "package-0").Write($"{Package}/energy_uj", package).Write($"{Package}/max_energy_range_uj", range);
        foreach (var (zone, name, value) in new[] { ("0:0", "core", 600_000), ("0:1", "uncore", 100_000), ("0:2", "dram", 50_000) })
            machine.Write($"{Package}/intel-rapl:{zone}/name", name).Write($"{Package}/intel-rapl:{zone}/energy_uj", value).Write($"{Package}/intel-rapl:{zone}/max_energy_range_uj", range);
        return machine.Write("sys/class/powercap/intel-rapl/intel-rapl:1/name", "psys").Write("sys/class/powercap/intel-rapl/intel-rapl:1/energy_uj", 9_000_000);
    }

    public static CapturedMachine OrinNano()
    {
        var machine = new CapturedMachine();
        machine.Rail(Ina, 1, "VDD_IN", 4960, 1480).Rail(Ina, 2, "VDD_CPU_GPU_CV", 4952, 520).Rail(Ina, 3, "VDD_SOC", 4944, 300);
        return machine.Write($"{Ina}/in7_label", "sum of shunt voltages").Write("proc/device-tree/model", "NVIDIA Jetson Orin Nano Developer Kit\0");
    }

    public static CapturedMachine AgxOrin()
    {
        const string second = "sys/bus/i2c/drivers/ina3221/1-0041/hwmon/hwmon4";
        var machine = new CapturedMachine();
        machine.Rail(Ina, 1, "VDD_GPU_SOC", 19800, 400).Rail(Ina, 2, "VDD_CPU_CV", 19800, 100).Rail(Ina, 3, "VIN_SYS_5V0", 5000, 900);
        return machine.Rail(second, 1, "NC", 0, 0).Rail(second, 2, "VDDQ_VDD2_1V8AO", 5000, 200).Rail(second, 3, "NC", 0, 0);
    }

    public CapturedMachine Rail(string folder, int n, string label, int millivolts, int milliamperes) =>
        Write($"{folder}/in{n}_label", label).Write($"{folder}/in{n}_input", millivolts).Write($"{folder}/curr{n}_input", milliamperes);

    public static CapturedMachine Amd(bool apu, long microwatts = 25_000_000)
    {
        var machine = new CapturedMachine().Write($"{Card}/name", "amdgpu").Write($"{Card}/in0_label", "vddgfx").Write($"{Card}/power1_average", microwatts);
        return apu ? machine.Write($"{Card}/in1_label", "vddnb") : machine;
    }

    public static CapturedMachine IntelGpu() => new CapturedMachine().Write($"{Card}/name", "i915").Write($"{Card}/energy1_input", 5_000_000);

    public static CapturedMachine Pi5()
    {
        var machine = new CapturedMachine().Write("proc/device-tree/model", "Raspberry Pi 5 Model B Rev 1.0\0");
        machine.Vcgencmd["pmic_read_adc"] = Adc(1.0);
        machine.Vcgencmd["get_throttled"] = "throttled=0x0\n";
        return machine;
    }

    // 0.5 A x 3.3 V + amperes x 0.72 V; EXT5V and BATT have no current.
    public static string Adc(double amperes) =>
        string.Create(System.Globalization.CultureInfo.InvariantCulture, $"   3V3_SYS_A current(1)=0.50000000A\n  VDD_CORE_A current(7)={amperes:0.00000000}A\n   3V3_SYS_V volt(9)=3.30000000V\n  VDD_CORE_V volt(15)=0.72000000V\n     EXT5V_V volt(24)=5.15200000V\n      BATT_V volt(25)=0.00000000V\n");

    public static CapturedMachine Laptop(string status) =>
        new CapturedMachine().Write($"{Battery}/type", "Battery").Write($"{Battery}/status", status).Write($"{Battery}/current_now", 1_500_000).Write($"{Battery}/voltage_now", 12_000_000);

    public IReadOnlyList<FoundSensor> Survey() => MeterSurvey.Find(Files, Run, null, Diagnostics);

    public IReadOnlyList<EnergySensor> Chosen() => MeterSurvey.Choose(Survey());

    public MeterSet Meters() => MeterSet.OfMachine(Files, Run, null, Time, Diagnostics);

    public EnergyMeter Meter() => new(Chosen().Single(), Time, Diagnostics);

    public void Dispose() => _root.Dispose();
}
