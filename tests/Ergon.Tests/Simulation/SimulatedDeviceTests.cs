using Ergon.Cost;
using Ergon.Devices.Profiles;
using Ergon.Models;
using Ergon.Native;
using Ergon.Simulation;
using Ergon.Units;

namespace Ergon.Tests.Simulation;

public sealed class SimulatedDeviceTests
{
    private static readonly DeviceProfile Pi = ProfileCatalogue.Named("Raspberry Pi 5");
    private static readonly Celsius Room = new(25);

    private static Coefficient Of(double value) => new(value, Origin.Estimate, "test");

    // So many seconds of saturated memory.
    private static SimulatedJob Job(double arrival, double seconds) =>
        new(new Seconds(arrival), [new StageCost(new Stage(StageKind.Head, -1), GgmlType.Q4_0, 1, 0, seconds * Pi.EffectiveBandwidth, 0, 0, 0, 0)]);

    [Fact]
    public void Energy_is_that_of_the_energy_equation_at_the_steady_temperature()
    {
        var costs = PassCost.Of(PublishedModel.Named("llama-3.2-1b").Outline(QuantizationMix.All.First(m => m.Name == "q4_k_m")), [SequencePass.Decode(100)]);
        var draws = costs.Select(c => EnergyModel.Draw(Pi, c)).ToArray();
        var time = new Seconds(draws.Sum(d => d.Time.Value));
        var mean = draws.Aggregate(Joules.Zero, (e, d) => e + (d.DynamicPower * d.Time)) / time;
        var steady = EnergyModel.Steady(Pi, mean + new Watts(Pi.StaticPower), Room).Temperature!.Value;
        var device = new SimulatedDevice(Pi, Room, steady);

        var result = Assert.Single(device.Run([new SimulatedJob(Seconds.Zero, costs)]));

        Assert.Equal((SimulatedEnd.Done, "simulated:Raspberry Pi 5"), (result.End, result.Label));
        Assert.Equal(time.Value, result.Finished.Value, 9);
        Assert.InRange(result.Energy / EnergyModel.Energy(Pi, draws, steady, time), 0.9999, 1.0001);
    }

    [Fact]
    public void Under_constant_load_the_temperature_becomes_the_fixed_point()
    {
        var device = new SimulatedDevice(Pi, Room);
        device.Run([Job(0, 1500)]);
        var steady = EnergyModel.Steady(Pi, new Watts(Pi.StaticPower + Pi.MemoryPower.Value), Room);
        Assert.Equal(steady.Temperature!.Value.Value, device.Temperature.Value, 2);
        // And cools to that of idling.
        device.IdleUntil(new Seconds(4000));
        Assert.Equal(EnergyModel.Steady(Pi, new Watts(Pi.StaticPower), Room).Temperature!.Value.Value, device.Temperature.Value, 2);
    }

    [Fact]
    public void A_queue_loses_no_work_and_never_idles_while_a_job_waits()
    {
        var random = new Random(7);
        var jobs = Enumerable.Range(0, 60).Select(_ => (Arrival: random.NextDouble() * 100, Service: random.NextDouble() * 3)).ToArray();
        var device = new SimulatedDevice(Pi, Room);
        var results = device.Run(jobs.Select(j => Job(j.Arrival, j.Service)));
        Assert.Equal(jobs.Sum(j => j.Service), device.Busy.Value, 6);
        var free = 0.0;
        foreach (var ((arrival, service), result) in jobs.OrderBy(j => j.Arrival).Zip(results))
        {
            Assert.Equal(Math.Max(free, arrival), result.Started.Value, 6);
            Assert.Equal(result.Started.Value + service, free = result.Finished.Value, 6);
        }
        device = new SimulatedDevice(Pi, Room);
        Assert.Equal(results, device.Run(jobs.Select(j => Job(j.Arrival, j.Service))));
    }

    [Fact]
    public void A_device_that_is_lost_says_so_and_the_energy_spent_stays_spent()
    {
        var device = new SimulatedDevice(Pi, Room, lostAt: new Seconds(2.5));
        var results = device.Run([Job(0, 1), Job(0, 5), Job(3, 1)]);
        Assert.Equal([SimulatedEnd.Done, SimulatedEnd.Lost, SimulatedEnd.Lost], results.Select(r => r.End));
        Assert.Equal([1, 2.5, 2.5], results.Select(r => Math.Round(r.Finished.Value, 9)));
        Assert.True(results[1].Energy.Value > Pi.MemoryPower.Value * 1.4);
        Assert.Equal(Joules.Zero, results[2].Energy);
        Assert.Equal(results[0].Energy.Value + results[1].Energy.Value, device.Energy.Value, 9);
    }

    [Fact]
    public void Losses_are_exponential_and_the_same_for_the_same_seed()
    {
        Random one = new(5), same = new(5);
        var draws = Enumerable.Range(0, 20000).Select(_ => SimulatedDevice.DrawLoss(one, new Seconds(40)).Value).ToArray();
        Assert.Equal(draws[0], SimulatedDevice.DrawLoss(same, new Seconds(40)).Value);
        Assert.InRange(draws.Average(), 38.5, 41.5);
        Assert.InRange(draws.Count(d => d > 40) / 20000.0, 0.35, 0.39); // 1/e
    }

    [Fact]
    public void Heat_lowers_the_clock_until_the_limit_holds_and_the_work_takes_longer()
    {
        // Arithmetic alone: 30 W at the full clock, 3.75 W at half of it and half the voltage squared.
        var hot = Pi with
        {
            Peaks = [new PeakRate(GgmlType.Q4_0, 1, Of(1e9))], ComputePower = Of(30), LeakagePower = Of(0.01), LimitTemperature = Of(60), ThermalResistance = Of(3), ThermalCapacitance = Of(5),
            Clocks = [new ClockLevel(1e9, 0.5, "test"), new ClockLevel(2e9, 1, "test")],
        };
        SimulatedJob[] job = [new(Seconds.Zero, [new StageCost(new Stage(StageKind.Head, -1), GgmlType.Q4_0, 1, 300e9, 0, 0, 0, 0, 0)])];
        var device = new SimulatedDevice(hot, Room);
        var result = device.Run(job)[0];
        Assert.Equal(SimulatedEnd.Done, result.End);
        Assert.InRange(result.Finished.Value, 320, 600);
        Assert.InRange(device.Temperature.Value, 50, 61);

        result = new SimulatedDevice(hot with { Clocks = [] }, Room).Run(job)[0];
        Assert.Equal(SimulatedEnd.Overheated, result.End);
        Assert.InRange(result.Finished.Value, 1, 300);
    }
}
