using Ergon.Cost;
using Ergon.Devices.Profiles;
using Ergon.Models;
using Ergon.Native;
using Ergon.Units;

namespace Ergon.Tests.Cost;

public sealed class EnergyModelTests
{
    // 100 GFLOP/s, 10 GB/s, 4 W of arithmetic, 2 W of memory, 1 W idle of which 0.5 W leakage at 45 °C.
    private static DeviceProfile Device { get; } = ProfileCatalogue.Named("Raspberry Pi 5") with
    {
        Peaks = [new PeakRate(GgmlType.F32, 1, Of(100e9))],
        Bandwidth = Of(10e9), Efficiency = Of(1), Launch = Of(0), IdlePower = Of(1), MaxPower = Of(7), ComputePower = Of(4), MemoryPower = Of(2),
        LeakagePower = Of(0.5), LeakageGrowth = Of(Math.Log(2) / 10), ReferenceTemperature = Of(45), ThermalResistance = Of(4), ThermalCapacitance = Of(10), LimitTemperature = Of(85),
        Clocks = [new ClockLevel(1e9, 0.5, "test"), new ClockLevel(2e9, 1, "test")],
    };

    private static Coefficient Of(double value) => new(value, Origin.Estimate, "test");

    private static StageCost Stage(double flops, double bytes, int operations = 0) => new(new Stage(StageKind.Head, -1), GgmlType.F32, 1, flops, bytes, 0, 0, 0, operations);

    [Theory]
    [InlineData(10, 1, 1)] // at the ridge: 10 FLOP a byte
    [InlineData(5, 1, 0.5)]
    [InlineData(40, 1, 1)]
    public void Dasi_is_the_share_of_peak_that_the_roofline_allows(double flops, double bytes, double dasi) =>
        Assert.Equal(dasi, EnergyModel.Dasi(flops, bytes, 100, 10), 12);

    [Fact]
    public void A_stage_that_waits_for_memory_draws_all_of_memorys_power_and_part_of_the_arithmetic()
    {
        var draw = EnergyModel.Draw(Device, Stage(50e9, 10e9));
        Assert.Equal((1, 0.5, (4 * 0.5) + 2), (draw.Time.Value, draw.Dasi, draw.DynamicPower.Value));
    }

    [Fact]
    public void Half_the_clock_halves_arithmetic_but_not_memory()
    {
        // 50 GFLOP at 50 GFLOP/s: still 1 s. All of the slower arithmetic is used, at f 1/2 and V^2 1/4.
        var draw = EnergyModel.Draw(Device, Stage(50e9, 10e9), clock: 0);
        Assert.Equal((1, (4 * 0.125) + 2), (draw.Time.Value, draw.DynamicPower.Value));
    }

    [Fact]
    public void Every_operation_pays_its_launch() =>
        Assert.Equal(0.25, EnergyModel.Draw(Device with { Launch = Of(0.05) }, Stage(0, 0, 5)).Time.Value, 12);

    [Fact]
    public void Leakage_doubles_each_ten_kelvin_and_lowers_phi()
    {
        Assert.Equal(2, EnergyModel.Leakage(Device, new Celsius(65)).Value, 12);
        Assert.Equal(0.75, EnergyModel.Phi(new Watts(6), EnergyModel.Leakage(Device, new Celsius(65)))!.Value, 12);
        Assert.Null(EnergyModel.Phi(Watts.Zero, new Watts(1)));
    }

    [Fact]
    public void The_steady_temperature_is_the_one_where_heat_in_is_heat_out()
    {
        var steady = EnergyModel.Steady(Device, new Watts(5), new Celsius(25));
        Assert.Null(steady.Limit);
        var t = steady.Temperature!.Value;
        Assert.Equal(25 + (4 * (5 + EnergyModel.Leakage(Device, t).Value)), t.Value, 6);
        // Steps of the thermal state end there too.
        var now = new Celsius(25);
        for (var i = 0; i < 4000; i++)
            now = EnergyModel.Step(Device, now, new Celsius(25), new Watts(5) + EnergyModel.Leakage(Device, now), new Seconds(0.5));
        Assert.Equal(t.Value, now.Value, 3);
    }

    [Fact]
    public void What_cannot_be_cooled_says_which_limit_binds()
    {
        Assert.Contains("more than the cooling takes", EnergyModel.Steady(Device, new Watts(40), new Celsius(25)).Limit, StringComparison.Ordinal);
        // 4 x 12.5 + 25 = 75 °C without growth of leakage, below 85 °C; with it there is no end.
        var runaway = EnergyModel.Steady(Device, new Watts(12), new Celsius(25));
        Assert.Null(runaway.Temperature);
        Assert.Contains("limitTemperature 85 °C", runaway.Limit, StringComparison.Ordinal);
        Assert.Contains("runaway", runaway.Limit, StringComparison.Ordinal);
    }

    [Fact]
    public void A_thermal_step_may_be_cut_anywhere()
    {
        Celsius Step(Celsius from, double s) => EnergyModel.Step(Device, from, new Celsius(20), new Watts(3), new Seconds(s));
        Assert.Equal(Step(new Celsius(60), 31).Value, Step(Step(new Celsius(60), 12), 19).Value, 9);
        // After one time constant of 40 s, 1/e of the way from 60 to 32 °C is left.
        Assert.Equal(32 + (28 / Math.E), Step(new Celsius(60), 40).Value, 9);
    }

    [Fact]
    public void The_energy_equation_counts_leakage_once_and_charges_idle_time()
    {
        // At 45 °C: 1 s busy (2 + 2 + 0.5 W), 3 s makespan at 0.5 W static, 2 s idle at 0.5 W leakage.
        var energy = EnergyModel.Energy(Device, [EnergyModel.Draw(Device, Stage(50e9, 10e9))], new Celsius(45), new Seconds(3));
        Assert.Equal(4.5 + 1.5 + 1, energy.Value, 12);
        Assert.Throws<ArgumentException>(() => EnergyModel.Energy(Device, [EnergyModel.Draw(Device, Stage(50e9, 10e9))], new Celsius(45), new Seconds(0.5)));
    }

    [Fact]
    public void Devices_that_share_memory_draw_on_one_pool()
    {
        var pool = new MemoryPool(new Bytes(1000), Reserve: 0.1, Knee: 0.5, Kappa: 4);
        Assert.Equal(0.7, pool.Cpq(new Bytes(300), new Bytes(400)), 12);
        Assert.Equal(1 + (4 * 0.04), pool.Slowdown(0.7)!.Value, 12);
        Assert.Equal(1, pool.Slowdown(0.5));
        Assert.Null(pool.Slowdown(0.91));
    }

    [Fact]
    public void A_seam_costs_its_latency_its_bytes_and_their_energy()
    {
        var linked = (Device with { Links = [new LinkProfile("server", Of(100), Of(0.5), Of(0.01))] }).Validated();
        var seam = EnergyModel.Seam(linked, "server", new Bytes(50))!.Value;
        Assert.Equal((1.0, 0.5), (seam.Time.Value, seam.Energy.Value));
        Assert.Null(EnergyModel.Seam(linked, "elsewhere", new Bytes(50)));
        // The format on disk keeps them.
        Assert.Equal("server", ProfileCatalogue.Read(ProfileCatalogue.Write([linked]), "a test")[0].Links[0].To);
    }

    [Fact]
    public void A_pool_without_a_measured_knee_does_not_slow_down_before_it_is_full()
    {
        var pool = MemoryPool.Of(Device with { Capacity = Of(1000) });
        Assert.Equal((1.0, (double?)null), (pool.Slowdown(0.9)!.Value, pool.Slowdown(0.91)));
        pool = MemoryPool.Of(Device with { Capacity = Of(1000), MemoryKnee = Of(0.5), MemoryPenalty = Of(4) });
        Assert.Equal(1.16, pool.Slowdown(0.7)!.Value, 12);
    }

    [Fact]
    public void Metrics_are_ratios_and_nothing_is_divided_by_nothing()
    {
        Assert.Equal(0.757 / 63.8, Metrics.Ipw(0.757, new Watts(63.8))!.Value, 12);
        Assert.Null(Metrics.Ipj(0.5, Joules.Zero));
        Assert.Equal(0.04, Metrics.Ece(0.8, new Joules(20))!.Value, 12);
        Assert.Equal(0.05, Metrics.Ppp(100, 200, new Watts(10))!.Value, 12);
        Assert.Equal(6, Metrics.Edp(new Joules(3), new Seconds(2)));
        Assert.Equal((2.0, 0.5), (Metrics.PerToken(new Joules(8), 4)!.Value.Value, Metrics.TokensPerJoule(4, new Joules(8))!.Value));
        Assert.Null(Metrics.PerToken(new Joules(8), 0));
    }
}
