using Ergon.Cost;
using Ergon.Devices;
using Ergon.Devices.Profiles;
using Ergon.Models;
using Ergon.Native;
using Ergon.Units;

namespace Ergon.Planning;

/// <summary>Drawn problems, for benchmarks and tests: devices between a small board and a large graphics card, some sharing memory, some with clock levels.</summary>
internal static class RandomProblem
{
    private const string Drawn = "drawn at random";

    /// <summary>A problem.</summary>
    /// <param name="random">Of what.</param>
    /// <param name="layers">Layers of the model.</param>
    /// <param name="devices">Devices.</param>
    /// <param name="granularity">Of its units.</param>
    /// <param name="phases">1: decode; 2: prefill too.</param>
    /// <param name="tight">Whether memories, cooling and drawn limits may bind, or make the problem impossible.</param>
    public static PlanProblem Of(Random random, int layers, int devices, Granularity granularity = Granularity.Layer, int phases = 1, bool tight = true)
    {
        var heads = random.Next(8, 65);
        var shape = new ModelShape("random", "llama", layers, heads * 128, heads * random.Next(256, 513) / 32 * 32, heads, heads, 128, random.Next(32, 129) * 1000, 8192, 1e4f) { TiedOutput = random.Next(2) == 0 };
        var outline = new PublishedModel(shape).Outline(QuantizationMix.All.First(m => m.Name == "q4_0"));
        var profiles = Enumerable.Range(0, devices).Select(d => Device(random, $"device {d}", outline.WeightBytes, devices, tight)).ToArray();
        var workload = new Workload { Prompt = phases > 1 ? random.Next(32, 257) : 0, Tokens = random.Next(32, 257), Batch = 1 << random.Next(4), InFlight = random.Next(4) == 0 ? devices : 1 };
        var limits = new PlanLimits
        {
            PowerCap = tight && random.Next(4) == 0 ? new Watts(Log(random, 20, 600)) : null,
            MaxTemperature = tight && random.Next(4) == 0 ? new Celsius(random.Next(35, 90)) : null,
            MaxLatency = tight && random.Next(4) == 0 ? new Seconds(Log(random, 0.01, 2)) : null,
        };
        return new PlanProblem(outline, profiles, workload, limits, granularity);
    }

    /// <summary>The same devices as they might be measured: every coefficient of speed and power off by up to a share.</summary>
    public static DeviceProfile Noisy(DeviceProfile device, Random random, double share)
    {
        Coefficient Off(Coefficient c) => c with { Value = c.Value * (1 + (share * ((2 * random.NextDouble()) - 1))) };
        var idle = Off(device.IdlePower);
        return device with
        {
            Peaks = [.. device.Peaks.Select(p => p with { Flops = Off(p.Flops) })],
            Bandwidth = Off(device.Bandwidth), Launch = Off(device.Launch), ComputePower = Off(device.ComputePower), MemoryPower = Off(device.MemoryPower),
            IdlePower = idle, LeakagePower = device.LeakagePower with { Value = Math.Min(idle.Value, Off(device.LeakagePower).Value) },
        };
    }

    private static double Log(Random random, double low, double high) => low * Math.Pow(high / low, random.NextDouble());

    private static DeviceProfile Device(Random random, string name, double modelBytes, int devices, bool tight)
    {
        Coefficient Of(double value) => new(value, Origin.Estimate, Drawn);
        double bandwidth = Log(random, 10e9, 1000e9), most = Log(random, 5, 300), idle = most * Log(random, 0.02, 0.3), share = 0.2 + (0.6 * random.NextDouble());
        var vector = bandwidth * Log(random, 4, 40);
        // Cooling that holds the most at 60 to 110 °C and, if it may bind, also less.
        var resistance = (tight ? Log(random, 30, 100) : Log(random, 30, 50)) / (1.2 * most);
        return new DeviceProfile
        {
            Name = name,
            Kind = random.Next(3) == 0 ? DeviceKind.Cpu : DeviceKind.Gpu,
            Pool = random.Next(3) == 0 ? "shared" : name,
            Peaks = [new PeakRate(GgmlType.Q4_0, 1, Of(vector)), new PeakRate(GgmlType.Q4_0, 512, Of(vector * Log(random, 1, 8)))],
            Bandwidth = Of(bandwidth), Efficiency = Of(1), Launch = Of(Log(random, 1e-6, 30e-6)),
            Capacity = Of((modelBytes + (devices * 2 * PlanProblem.RuntimeBytes)) * (tight ? Log(random, 0.25, 2.5) : 3)),
            IdlePower = Of(idle), MaxPower = Of(most), ComputePower = Of((most - idle) * share), MemoryPower = Of((most - idle) * (1 - share)),
            LeakagePower = Of(idle * 0.3), LeakageGrowth = Of(0.05), ReferenceTemperature = Of(45),
            ThermalResistance = Of(resistance), ThermalCapacitance = Of(50), LimitTemperature = Of(100),
            MemoryKnee = random.Next(4) == 0 ? Of(0.6) : null, MemoryPenalty = null,
            Clocks = random.Next(4) == 0 ? [new ClockLevel(1e9, 0.7, Drawn), new ClockLevel(2e9, 1, Drawn)] : [],
        } is var device && device.MemoryKnee is not null ? device with { MemoryPenalty = Of(20) } : device;
    }
}
