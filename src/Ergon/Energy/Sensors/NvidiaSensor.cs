using Ergon.Native.Nvidia;
using Ergon.Units;

namespace Ergon.Energy.Sensors;

/// <summary>NVIDIA's energy counter (millijoules, from Volta on), or its power where there is no counter.</summary>
internal static class NvidiaSensor
{
    private static readonly Watts GpuLimit = new(3000);

    public static IEnumerable<EnergySensor> Find(Nvml? library) => (library?.Devices ?? []).Select(gpu => Of(gpu.Index, gpu.EnergyMillijoules, gpu.PowerMilliwatts));

    /// <param name="index">The GPU's number.</param>
    /// <param name="energy">Its counter; asked once to see whether it has one.</param>
    /// <param name="power">Its power, refreshed in about 100 ms. Integrating it has read 24 to 41 % high, so the counter comes first.</param>
    public static EnergySensor Of(int index, Func<NvmlResult<ulong>> energy, Func<NvmlResult<uint>> power)
    {
        const string counter = "nvmlDeviceGetTotalEnergyConsumption", gauge = "nvmlDeviceGetPowerUsage";
        if (energy().Value is not null)
        {
            return new DelegateSensor(() => energy() is var (value, fault) && value is { } millijoules
                ? SensorSample.OfCount((long)millijoules) : SensorSample.Failed(counter, fault!))
            {
                Name = "nvml", Device = $"gpu-{index}", Domain = EnergyDomain.Gpu, Path = counter, Limit = GpuLimit,
                FrozenAfter = TimeSpan.FromSeconds(10), JoulesPerCount = 1e-3,
            };
        }
        return new DelegateSensor(() => power() is var (value, fault) && value is { } milliwatts
            ? SensorSample.OfPower(new Watts(milliwatts * 1e-3)) : SensorSample.Failed(gauge, fault!))
        {
            Name = "nvml", Device = $"gpu-{index}", Domain = EnergyDomain.Gpu, Path = gauge, Limit = GpuLimit, MayBeZero = true, FrozenAfter = TimeSpan.FromHours(1),
        };
    }
}
