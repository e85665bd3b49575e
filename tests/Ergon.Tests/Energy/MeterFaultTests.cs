using Ergon.Energy;
using Ergon.Units;
using static Ergon.Tests.Energy.CapturedMachine;

namespace Ergon.Tests.Energy;

/// <summary>What meters do when a sensor lies or goes: null with a reason, said once, and never a zero.</summary>
public sealed class MeterFaultTests
{
    private static EnergyMeter Begun(CapturedMachine machine)
    {
        var meter = new EnergyMeter(machine.Chosen()[0], machine.Time, machine.Diagnostics);
        meter.Read();
        return meter;
    }

    [Fact]
    public void A_sensor_that_vanishes_is_named_once_and_its_time_is_unmeasured()
    {
        using var machine = OrinNano();
        var meters = machine.Meters();
        var window = meters.Begin();
        machine.Remove($"{Ina}/curr1_input");
        for (var i = 0; i < 50; i++)
        {
            machine.Time.Pass(0.1);
            meters.ReadAll();
        }
        var measured = meters.End(window);
        Assert.Null(measured.Energy);
        Assert.Contains($"{Ina}/curr1_input: no such file", measured.Reason, StringComparison.Ordinal);
        Assert.Single(machine.Diagnostics.Problems);

        // Back again after five seconds: the gap stays a gap, the time after it counts.
        machine.Write($"{Ina}/curr1_input", 1480);
        meters.ReadAll();
        Assert.Null(meters.End(window).Energy);
        Assert.Contains("5 s went unmeasured", meters.End(window).Reason, StringComparison.Ordinal);
        var next = meters.Begin();
        machine.Time.Pass(1);
        Assert.Equal(7.3408, meters.End(next).Energy!.Value.Value, 1e-9);
    }

    [Fact]
    public void A_short_failure_of_a_power_sensor_is_bridged_and_called_interpolated()
    {
        using var machine = OrinNano();
        var meters = machine.Meters();
        var window = meters.Begin();
        machine.Time.Pass(0.1);
        machine.Remove($"{Ina}/curr1_input");
        meters.ReadAll();
        machine.Time.Pass(0.1);
        machine.Write($"{Ina}/curr1_input", 1480);
        meters.ReadAll();
        machine.Time.Pass(0.8);
        var measured = meters.End(window);
        Assert.Equal(7.3408, measured.Energy!.Value.Value, 1e-9);
        Assert.Equal(EnergyQuality.Interpolated, measured.Quality);
    }

    [Fact]
    public void A_counter_that_goes_back_without_a_range_is_a_gap_and_not_energy()
    {
        using var machine = IntelGpu();
        var meter = Begun(machine);
        machine.Time.Pass(1);
        machine.Write($"{Card}/energy1_input", 6_000_000);
        Assert.Equal(1, meter.Read().Measured.Value, 1e-9);
        machine.Time.Pass(1);
        machine.Write($"{Card}/energy1_input", 100);
        Assert.Equal(TimeSpan.FromSeconds(1), meter.Read().Unmeasured);
        machine.Time.Pass(1);
        machine.Write($"{Card}/energy1_input", 2_000_100);
        Assert.Equal(3, meter.Read().Measured.Value, 1e-9);
        Assert.Contains("went back", Assert.Single(machine.Diagnostics.Problems).Problem, StringComparison.Ordinal);
    }

    [Fact]
    public void A_jump_that_no_device_draws_is_left_out()
    {
        using var machine = Rapl();
        var meter = Begun(machine);
        machine.Time.Pass(1);
        machine.Write($"{Package}/energy_uj", 9_000_000_000);
        Assert.Equal(0, meter.Read().Measured.Value);
        Assert.Equal(TimeSpan.FromSeconds(1), meter.Read().Unmeasured);
        Assert.Contains("jumped", Assert.Single(machine.Diagnostics.Problems).Problem, StringComparison.Ordinal);
        machine.Time.Pass(1);
        machine.Write($"{Package}/energy_uj", 9_020_000_000);
        Assert.Equal(20, meter.Read().Measured.Value, 1e-9);
    }

    [Theory]
    [InlineData(-1_480, "negative")]
    [InlineData(0, "0 W")]
    [InlineData(148_000_000, "not believed")]
    public void A_power_that_cannot_be_is_not_integrated(int milliamperes, string problem)
    {
        using var machine = OrinNano();
        var meter = Begun(machine);
        machine.Time.Pass(3);
        machine.Write($"{Ina}/curr1_input", milliamperes);
        var reading = meter.Read();
        Assert.True(reading.IsFailing);
        Assert.Equal(0, reading.Measured.Value);
        Assert.Contains(problem, Assert.Single(machine.Diagnostics.Problems).Problem, StringComparison.Ordinal);
    }

    [Fact]
    public void A_frozen_counter_is_no_idle_machine()
    {
        using var machine = Rapl();
        var meters = machine.Meters();
        var window = meters.Begin();
        for (var i = 0; i < 20; i++)
        {
            machine.Time.Pass(1);
            machine.Write($"{Package}/intel-rapl:0:2/energy_uj", 50_000 + (i + 1) * 1_000_000);
            meters.ReadAll();
        }
        var measured = meters.End(window);
        Assert.Null(measured.Energy);
        Assert.Null(measured.Domains[0].Energy);
        Assert.Equal(20, measured.Domains[1].Energy!.Value.Value, 1e-9);
        var problem = Assert.Single(machine.Diagnostics.Problems);
        Assert.Equal(machine.Files.Full($"{Package}/energy_uj"), problem.Path);
        Assert.Contains("stands still", problem.Problem, StringComparison.Ordinal);

        // It moves again: nobody knows since when, so the time until now is lost and the rest is not.
        machine.Time.Pass(1);
        machine.Write($"{Package}/energy_uj", 5_000_000);
        meters.ReadAll();
        Assert.Null(meters.End(window).Domains[0].Energy);
        Assert.Contains("21 s went unmeasured", meters.End(window).Domains[0].Reason, StringComparison.Ordinal);
        var next = meters.Begin();
        machine.Time.Pass(1);
        machine.Write($"{Package}/energy_uj", 12_000_000).Write($"{Package}/intel-rapl:0:2/energy_uj", 30_000_000);
        Assert.Equal(7, meters.End(next).Domains[0].Energy!.Value.Value, 1e-9);
    }

    [Fact]
    public void Who_waits_for_a_dead_meter_is_told_that_nothing_comes()
    {
        using var machine = Rapl();
        var meters = machine.Meters();
        var ledger = new EnergyLedger(machine.Time, new Dictionary<string, Watts> { ["package-0"] = new(5) });
        meters.Measured = ledger.Measure;
        ledger.Open(1, machine.Time.GetTimestamp());
        machine.Deny($"{Package}/energy_uj");
        machine.Time.Pass(1);
        ledger.Close(1, machine.Time.GetTimestamp(), 2);
        machine.Write($"{Package}/intel-rapl:0:2/energy_uj", 60_000);
        meters.ReadAll();
        machine.Time.Pass(5);
        machine.Write($"{Package}/intel-rapl:0:2/energy_uj", 70_000);
        meters.ReadAll();
        ledger.Settle(machine.Time.GetTimestamp());
        var receipt = ledger.TryTake(1)!;
        Assert.Null(receipt.Energy);
        Assert.Contains("permission denied", receipt.Reason, StringComparison.Ordinal);
        Assert.Contains("1 s of 1 s went unmeasured", receipt.Reason, StringComparison.Ordinal);

        // The counter comes back with energy of the time that was given up: it is in no interval.
        var later = new List<MeterInterval>();
        meters.Measured = later.Add;
        Directory.Delete(machine.Files.Full($"{Package}/energy_uj"));
        machine.Time.Pass(1);
        machine.Write($"{Package}/energy_uj", 8_000_000);
        meters.ReadAll();
        Assert.Null(later.Single(i => i.Device == "package-0").Energy);
        machine.Time.Pass(1);
        machine.Write($"{Package}/energy_uj", 9_000_000);
        meters.ReadAll();
        Assert.Equal(1, later.Last(i => i.Device == "package-0").Energy!.Value.Value, 1e-9);
    }

    [Fact]
    public void A_frozen_power_sensor_is_found_out_after_a_minute()
    {
        using var machine = OrinNano();
        var meter = Begun(machine);
        for (var i = 0; i < 700; i++)
        {
            machine.Time.Pass(0.1);
            meter.Read();
        }
        Assert.True(meter.Read().IsFailing);
        Assert.InRange(meter.Read().Measured.Value, 59 * 7.3408, 61 * 7.3408);
        Assert.Contains("stands still", Assert.Single(machine.Diagnostics.Problems).Problem, StringComparison.Ordinal);
    }

    [Fact]
    public void A_window_too_short_for_its_counter_has_no_figure()
    {
        using var machine = IntelGpu();
        var meters = machine.Meters();
        var window = meters.Begin();
        machine.Time.Pass(0.001);
        var measured = meters.End(window);
        Assert.Null(measured.Energy);
        Assert.Contains("nothing new within 1 ms", measured.Reason, StringComparison.Ordinal);
    }

    [Fact]
    public void A_counter_read_too_late_to_tell_its_restarts_is_a_gap()
    {
        using var machine = Rapl(range: 100_000_000);
        var meter = Begun(machine);
        machine.Time.Pass(1);
        machine.Write($"{Package}/energy_uj", 51_000_000);
        Assert.Equal(50, meter.Read().Measured.Value, 1e-9);
        // 100 J at 50 W last two seconds; in ten it restarted five times.
        machine.Time.Pass(10);
        machine.Write($"{Package}/energy_uj", 61_000_000);
        Assert.Equal(50, meter.Read().Measured.Value, 1e-9);
        Assert.Equal(TimeSpan.FromSeconds(10), meter.Read().Unmeasured);
    }

    [Fact]
    public void Reading_happens_on_one_thread_at_each_meter_s_rate_and_its_cost_is_known()
    {
        using var machine = Rapl();
        var meters = machine.Meters();
        using var sampler = new MeterSampler(meters, machine.Time);
        var intervals = new List<MeterInterval>();
        meters.Measured = intervals.Add;
        for (var step = 1; step <= 40; step++)
        {
            machine.Time.Pass(0.1);
            machine.Write($"{Package}/energy_uj", 1_000_000 + step * 1_000_000);
            sampler.Tick();
        }
        Assert.InRange(intervals.Count(i => i.Device == "package-0"), 4, 5);
        // 1 J each 0.1 s.
        Assert.All(intervals.Where(i => i.Device == "package-0"), i => Assert.Equal(10 * machine.Time.GetElapsedTime(i.Start, i.End).TotalSeconds, i.Energy!.Value.Value, 1e-9));
        if (!OperatingSystem.IsWindows())
            Assert.InRange(sampler.CpuTime!.Value.Ticks, 1, TimeSpan.FromSeconds(5).Ticks);
    }

    [Fact]
    public void The_background_thread_reads_until_it_is_stopped()
    {
        using var machine = OrinNano();
        var meters = MeterSet.OfMachine(machine.Files, machine.Run, null, TimeProvider.System, machine.Diagnostics);
        using var read = new CountdownEvent(5);
        meters.Measured = _ =>
        {
            if (!read.IsSet)
                read.Signal();
        };
        using (var sampler = new MeterSampler(meters, TimeProvider.System, TimeSpan.FromMilliseconds(5)))
        {
            sampler.Start();
            Assert.True(read.Wait(TimeSpan.FromSeconds(30)));
        }
        Assert.Throws<ErgonException>(() => new MeterSampler(meters, TimeProvider.System, TimeSpan.Zero));
    }
}
