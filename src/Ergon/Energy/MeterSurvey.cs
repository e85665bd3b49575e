using Ergon.Devices;
using Ergon.Energy.Sensors;
using Ergon.Native.Nvidia;

namespace Ergon.Energy;

/// <summary>A sensor that is there, and whether it can be read.</summary>
/// <param name="Sensor">The sensor.</param>
/// <param name="FaultPath">What could not be read; <see langword="null"/> when a trial reading succeeded.</param>
/// <param name="Fault">Why not.</param>
internal sealed record FoundSensor(EnergySensor Sensor, string? FaultPath, string? Fault)
{
    public bool Works => Fault is null;
}

/// <summary>Every energy sensor of a machine, and which of them together count each joule once.</summary>
internal static class MeterSurvey
{
    /// <summary>Looks for every kind of sensor and reads each once.</summary>
    /// <param name="files">The machine's file system.</param>
    /// <param name="run">Starts programs.</param>
    /// <param name="nvml">NVIDIA's library, where there is one.</param>
    /// <param name="diagnostics">Receives what is odd about sensors that are there.</param>
    public static IReadOnlyList<FoundSensor> Find(SystemFiles files, CommandRunner run, Nvml? nvml, MeterDiagnostics diagnostics) =>
        [.. RaplSensor.Find(files)
            .Concat(JetsonSensor.Find(files, diagnostics))
            .Concat(RaspberryPiSensor.Find(files, run))
            .Concat(AndroidSensor.Find(files))
            .Concat(NvidiaSensor.Find(nvml))
            .Concat(HwmonSensors.Find(files))
            .Concat(BatterySensor.Find(files))
            .Select(sensor => sensor.Read() is { Fault: not null } failed ? new FoundSensor(sensor, failed.FaultPath, failed.Fault) : new FoundSensor(sensor, null, null))];

    /// <summary>
    /// The sensors to add up. A board's meter contains processor and GPU, so it stands alone. Otherwise packages,
    /// their DRAM and discrete GPUs are different supplies and add. An APU's GPU sensor is the package once more: it
    /// serves where the package's counter cannot be read. A battery, slow to tell, comes last.
    /// </summary>
    public static IReadOnlyList<EnergySensor> Choose(IReadOnlyList<FoundSensor> found)
    {
        var working = found.Where(f => f.Works).Select(f => f.Sensor).ToList();
        if (working.FirstOrDefault(s => s.Domain == EnergyDomain.Board && s.Name != "battery") is { } board)
            return [board];
        List<EnergySensor> chosen = [.. working.Where(s => s.Name == "rapl")];
        if (!chosen.Any(s => s.IncludesCpu))
        {
            chosen.Clear();
            if (working.FirstOrDefault(s => s is { Domain: EnergyDomain.Package, Name: not "rapl" }) is { } apu)
                chosen.Add(apu);
            else if (working.FirstOrDefault(s => s.Name == "battery") is { } battery)
                return [battery];
        }
        chosen.AddRange(working.Where(s => s.Domain == EnergyDomain.Gpu));
        return chosen;
    }

    /// <summary>Why no sensor of these measures the processor; <see langword="null"/> where one does.</summary>
    public static string? WhyNone(IReadOnlyList<FoundSensor> found, SystemFiles files)
    {
        if (Choose(found).Any(s => s.Domain.Shows(DeviceKind.Cpu)))
            return null;
        if (found.FirstOrDefault(f => f.Sensor.Name == "rapl" || f.Sensor.Domain == EnergyDomain.Board && f.Sensor.Name != "battery") is { } failed)
            return $"{failed.FaultPath}: {failed.Fault}";
        return System.Runtime.InteropServices.RuntimeInformation.ProcessArchitecture is System.Runtime.InteropServices.Architecture.X64
            ? $"no RAPL: {files.Full(RaplSensor.Folder)} absent" : "no power sensor found";
    }
}
