using Ergon.Devices;
using Ergon.Units;

namespace Ergon.Energy.Sensors;

/// <summary>GPUs that tell power (amdgpu, microwatts) or energy (i915 and xe, microjoules) through hwmon.</summary>
internal static class HwmonSensors
{
    private static readonly Watts GpuLimit = new(3000);

    public static IEnumerable<EnergySensor> Find(SystemFiles files)
    {
        foreach (var folder in files.Glob("sys/class/drm/card*/device/hwmon/hwmon*"))
        {
            var card = folder.Split('/')[3];
            switch (files.Read($"{folder}/name").Text)
            {
                case "amdgpu" when new[] { "power1_average", "power1_input" }.Select(file => $"{folder}/{file}").FirstOrDefault(files.Exists) is { } path:
                    yield return Amd(files, folder, card, path);
                    break;
                case "i915" or "xe" when files.Exists($"{folder}/energy1_input"):
                    yield return Intel(files, card, $"{folder}/energy1_input");
                    break;
            }
        }
    }

    private static DelegateSensor Amd(SystemFiles files, string folder, string card, string path)
    {
        // Only an APU has a northbridge rail; its power is that of the whole package.
        var isApu = files.Read($"{folder}/in1_label").Text == "vddnb";
        return new DelegateSensor(() => files.ReadNumber(path) is var (value, fault) && value is { } microwatts
            ? SensorSample.OfPower(new Watts(microwatts * 1e-6)) : SensorSample.Failed(files.Full(path), fault!))
        {
            Name = "amdgpu", Device = isApu ? "package-0" : $"gpu-{card}", Domain = isApu ? EnergyDomain.Package : EnergyDomain.Gpu,
            Path = files.Full(path), Limit = GpuLimit, MayBeZero = !isApu, IncludesCpu = isApu,
            // A card that sleeps draws the same for hours.
            FrozenAfter = TimeSpan.FromHours(1),
        };
    }

    private static DelegateSensor Intel(SystemFiles files, string card, string path) =>
        new(() => files.ReadNumber(path) is var (value, fault) && value is { } count ? SensorSample.OfCount(count) : SensorSample.Failed(files.Full(path), fault!))
        {
            Name = "intel-gpu", Device = $"gpu-{card}", Domain = EnergyDomain.Gpu, Path = files.Full(path), Limit = GpuLimit,
            FrozenAfter = TimeSpan.FromSeconds(10), JoulesPerCount = 1e-6,
        };
}
