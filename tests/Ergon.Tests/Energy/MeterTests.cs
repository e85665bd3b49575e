using Ergon.Energy;
using Ergon.Energy.Sensors;
using Ergon.Native.Nvidia;
using Ergon.Units;
using static Ergon.Tests.Energy.CapturedMachine;

namespace Ergon.Tests.Energy;

/// <summary>Every row of the meter table, with figures worked out by hand: a wrong unit is off by a thousand.</summary>
public sealed class MeterTests
{
    private const double Exact = 1e-9;

    [Fact]
    public void Rapl_counts_package_and_dram_and_leaves_out_what_lies_inside_the_package()
    {
        using var machine = Rapl();
        var meters = machine.Meters();
        var window = meters.Begin();
        machine.Time.Pass(2);
        machine.Write($"{Package}/energy_uj", 31_000_000).Write($"{Package}/intel-rapl:0:2/energy_uj", 4_050_000).Write($"{Package}/intel-rapl:0:0/energy_uj", 20_600_000);
        var measured = meters.End(window);

        Assert.Equal(["package-0", "dram-0"], measured.Domains.Select(d => d.Device));
        Assert.Equal(30, measured.Domains[0].Energy!.Value.Value, Exact);
        Assert.Equal(4, measured.Domains[1].Energy!.Value.Value, Exact);
        Assert.Equal(34, measured.Energy!.Value.Value, Exact);
        Assert.Equal(17, measured.Power!.Value.Value, Exact);
        Assert.Equal(("measured:rapl", EnergyQuality.Counter), (measured.Source, measured.Quality));
        Assert.Equal(TimeSpan.FromSeconds(2), measured.Elapsed);
    }

    [Fact]
    public void A_counter_that_restarts_reports_the_true_energy()
    {
        using var machine = Rapl(package: 262_143_328_850 - 3_000_000);
        var meters = machine.Meters();
        var window = meters.Begin();
        machine.Time.Pass(1);
        machine.Write($"{Package}/energy_uj", 2_000_000).Write($"{Package}/intel-rapl:0:2/energy_uj", 50_001);
        Assert.Equal(5 + 1e-6, meters.End(window).Energy!.Value.Value, Exact);
        Assert.Empty(machine.Diagnostics.Problems);
    }

    [Fact]
    public void Near_its_restart_a_counter_is_read_ten_times_a_second()
    {
        using var machine = Rapl(package: 262_143_328_850 - 200_000_000);
        var meter = new EnergyMeter(machine.Chosen()[0], machine.Time, machine.Diagnostics);
        meter.Read();
        Assert.Equal(TimeSpan.FromSeconds(1), meter.Interval);
        machine.Time.Pass(1);
        machine.Write($"{Package}/energy_uj", 262_143_328_850 - 100_000_000);
        meter.Read();
        // 100 W, 100 J left: one second.
        Assert.Equal(TimeSpan.FromSeconds(0.1), meter.Interval);
    }

    [Fact]
    public void Rapl_that_may_not_be_read_is_a_reason_with_the_file_and_no_joules()
    {
        using var machine = Rapl().Deny($"{Package}/energy_uj").Deny($"{Package}/intel-rapl:0:2/energy_uj");
        var meters = machine.Meters();
        var window = meters.End(meters.Begin());

        Assert.Null(window.Energy);
        Assert.Contains("no meter can be read", window.Reason, StringComparison.Ordinal);
        Assert.Contains(machine.Diagnostics.Problems, p => p.Path == machine.Files.Full($"{Package}/energy_uj") && p.Problem == "permission denied");
    }

    [Fact]
    public void A_container_that_shows_only_the_links_has_its_packages_too()
    {
        using var machine = new CapturedMachine().Write("sys/class/powercap/intel-rapl:0/name", "package-0").Write("sys/class/powercap/intel-rapl:0/energy_uj", 5)
            .Write("sys/class/powercap/intel-rapl:0:0/name", "core").Write("sys/class/powercap/intel-rapl:0:0/energy_uj", 4);
        Assert.Equal("package-0", Assert.Single(machine.Chosen()).Device);
    }

    [Fact]
    public void Orin_nano_draws_what_its_input_rail_says()
    {
        using var machine = OrinNano();
        // 4.96 V x 1.48 A
        Assert.Equal(7.3408, machine.Chosen().Single().Read().Power.Value, Exact);
        Assert.Equal(("ina3221", EnergyDomain.Board), (machine.Chosen().Single().Name, machine.Chosen().Single().Domain));
    }

    [Fact]
    public void Agx_orin_is_the_sum_of_three_rails_whatever_their_numbers()
    {
        using var machine = AgxOrin();
        // 19.8 V x 0.4 A + 19.8 V x 0.1 A + 5 V x 0.9 A; VDDQ lies inside the third.
        Assert.Equal(7.92 + 1.98 + 4.5, machine.Chosen().Single().Read().Power.Value, Exact);

        machine.Rail(Ina, 1, "VIN_SYS_5V0", 5000, 900).Rail(Ina, 3, "VDD_GPU_SOC", 19800, 400);
        Assert.Equal(14.4, machine.Chosen().Single().Read().Power.Value, Exact);
    }

    [Fact]
    public void Jetpack_4_tells_milliwatts()
    {
        const string iio = "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0";
        using var machine = new CapturedMachine().Write($"{iio}/rail_name_0", "POM_5V_IN").Write($"{iio}/in_power0_input", 2345).Write($"{iio}/rail_name_1", "POM_5V_GPU").Write($"{iio}/in_power1_input", 800);
        Assert.Equal(2.345, machine.Chosen().Single().Read().Power.Value, Exact);
    }

    [Fact]
    public void Rails_of_an_unknown_module_are_not_guessed_at()
    {
        using var machine = new CapturedMachine().Rail(Ina, 1, "VDD_MYSTERY", 5000, 100);
        Assert.Empty(machine.Chosen());
        Assert.Contains("VDD_MYSTERY", Assert.Single(machine.Diagnostics.Problems).Problem, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(false, "gpu-card0", EnergyDomain.Gpu)]
    [InlineData(true, "package-0", EnergyDomain.Package)]
    public void Amdgpu_tells_microwatts_of_the_card_or_of_the_whole_apu(bool apu, string device, EnergyDomain domain)
    {
        using var machine = Amd(apu);
        var sensor = machine.Chosen().Single();
        Assert.Equal(25, sensor.Read().Power.Value, Exact);
        Assert.Equal((device, domain), (sensor.Device, sensor.Domain));
    }

    [Fact]
    public void A_newer_amdgpu_has_only_the_momentary_power()
    {
        using var machine = Amd(apu: false);
        machine.Remove($"{Card}/power1_average");
        machine.Write($"{Card}/power1_input", 31_000_000);
        Assert.Equal(31, machine.Chosen().Single().Read().Power.Value, Exact);
    }

    [Fact]
    public void An_intel_card_counts_microjoules()
    {
        using var machine = IntelGpu();
        var meters = machine.Meters();
        var window = meters.Begin();
        machine.Time.Pass(0.5);
        machine.Write($"{Card}/energy1_input", 17_500_000);
        Assert.Equal(12.5, meters.End(window).Energy!.Value.Value, Exact);
        machine.Write($"{Card}/name", "nvme");
        Assert.Empty(machine.Chosen());
    }

    [Fact]
    public void A_raspberry_pi_5_is_the_sum_over_rails_with_volts_and_amperes_asked_ten_times_a_second_at_most()
    {
        using var machine = Pi5();
        var meter = machine.Meter();
        meter.Read();
        var before = machine.Asked;
        for (var i = 0; i < 100; i++)
        {
            machine.Time.Pass(0.01);
            machine.Vcgencmd["pmic_read_adc"] = Adc(1 + i % 2 * 0.1);
            meter.Read();
        }
        Assert.InRange(machine.Asked - before, 9, 10);
        // 1.65 W + 0.72 W and up to 0.072 W more, for a second.
        Assert.InRange(meter.Read().Measured.Value, 2.37 * 0.89, 2.442);
        machine.Vcgencmd["pmic_read_adc"] = Adc(1);
        Assert.Equal(2.37, machine.Chosen().Single().Read().Power.Value, Exact);
    }

    [Fact]
    public void A_battery_is_a_meter_only_while_it_discharges()
    {
        using var machine = Laptop("Discharging");
        // 1.5 A x 12 V
        Assert.Equal(18, machine.Chosen().Single().Read().Power.Value, Exact);
        machine.Write($"{Battery}/current_now", -1_500_000);
        Assert.Equal(18, machine.Chosen().Single().Read().Power.Value, Exact);
        machine.Write($"{Battery}/power_now", 20_000_000);
        Assert.Equal(20, machine.Chosen().Single().Read().Power.Value, Exact);
        foreach (var (status, reason) in new[] { ("Charging", "charging"), ("Full", "on mains"), ("Not charging", "on mains") })
        {
            machine.Write($"{Battery}/status", status);
            Assert.Empty(machine.Chosen());
            Assert.Contains(reason, machine.Survey().Single().Fault, StringComparison.Ordinal);
        }
    }

    [Fact]
    public void Plugging_in_ends_the_battery_s_measuring_aloud()
    {
        using var machine = Laptop("Discharging");
        var meters = machine.Meters();
        var window = meters.Begin();
        machine.Time.Pass(1);
        machine.Write($"{Battery}/status", "Charging");
        var measured = meters.End(window);
        Assert.Null(measured.Energy);
        Assert.Contains("charging", measured.Reason, StringComparison.Ordinal);
    }

    [Fact]
    public void A_phone_s_monitors_sum_their_rails()
    {
        using var machine = new CapturedMachine();
        machine.Write("sys/bus/iio/devices/iio:device0/energy_value", "t=349894\nCH5(T=349894)[S4M_VDD_CPUCL0], 46356942\nCH6(T=349894)[S5M_VDD_INT], 10771876");
        machine.Write("sys/bus/iio/devices/iio:device1/energy_value", "t=359458\nCH6(T=359458)[S2S_VDD_G3D], 5315420");
        var meter = machine.Meter();
        meter.Read();
        machine.Time.Pass(1);
        machine.Write("sys/bus/iio/devices/iio:device1/energy_value", "t=360458\nCH6(T=360458)[S2S_VDD_G3D], 7815420");
        Assert.Equal(2.5, meter.Read().Measured.Value, Exact);
    }

    [Fact]
    public void An_nvidia_gpu_counts_millijoules_and_only_without_counter_samples_milliwatts()
    {
        using var machine = new CapturedMachine();
        ulong millijoules = 5_000;
        var counter = NvidiaSensor.Of(0, () => new NvmlResult<ulong>(millijoules, null), () => new NvmlResult<uint>(999_000, null));
        var meter = new EnergyMeter(counter, machine.Time, machine.Diagnostics);
        meter.Read();
        machine.Time.Pass(0.1);
        millijoules += 70_000;
        Assert.Equal((70.0, EnergyQuality.Counter), (Math.Round(meter.Read().Measured.Value, 9), meter.Read().Quality));

        var sampled = new EnergyMeter(NvidiaSensor.Of(1, () => new NvmlResult<ulong>(null, "Not Supported"), () => new NvmlResult<uint>(150_000, null)), machine.Time, machine.Diagnostics);
        sampled.Read();
        machine.Time.Pass(2);
        Assert.Equal(300, sampled.Read().Measured.Value, Exact);
        Assert.Equal(EnergyQuality.Sampled, sampled.Read().Quality);
    }

    [Fact]
    public void A_machine_without_nvidia_s_driver_has_a_reason_and_no_exception()
    {
        var (library, fault) = Nvml.Open("libnvidia-ml-of-no-driver.so.1");
        Assert.Null(library);
        Assert.Contains("is not installed", fault, StringComparison.Ordinal);
        Assert.Contains("no NVML", Nvml.Open("libc.so.6").Fault ?? Nvml.Open("libSystem.dylib").Fault, StringComparison.Ordinal);
    }

    [Fact]
    public void A_board_s_meter_stands_alone_because_it_contains_the_rest()
    {
        using var machine = OrinNano();
        machine.Write($"{Package}/name", "package-0").Write($"{Package}/energy_uj", 5).Write($"{Card}/name", "amdgpu").Write($"{Card}/power1_average", 5_000_000);
        Assert.Equal(["ina3221"], machine.Chosen().Select(s => s.Name));
    }

    [Fact]
    public void Packages_and_discrete_gpus_add_and_an_apu_s_gpu_is_the_package_again()
    {
        using var machine = Rapl().Write($"{Card}/name", "amdgpu").Write($"{Card}/power1_average", 30_000_000).Write($"{Battery}/status", "Discharging").Write($"{Battery}/power_now", 9_000_000);
        Assert.Equal(["package-0", "dram-0", "gpu-card0"], machine.Chosen().Select(s => s.Device));
        machine.Write($"{Card}/in1_label", "vddnb");
        Assert.Equal(["rapl", "rapl"], machine.Chosen().Select(s => s.Name));
        machine.Deny($"{Package}/energy_uj");
        Assert.Equal(["amdgpu"], machine.Chosen().Select(s => s.Name));
        machine.Remove($"{Card}/power1_average");
        Assert.Equal(["battery"], machine.Chosen().Select(s => s.Name));
    }

    [Fact]
    public void A_modelled_meter_says_so()
    {
        using var machine = new CapturedMachine();
        var meter = new ModelledMeter("CPU", EnergyDomain.Package, "n150", new Watts(3), machine.Time);
        var meters = new MeterSet([meter], machine.Time);
        var window = meters.Begin();
        machine.Time.Pass(2);
        meter.Charge(new Joules(1.5));
        var measured = meters.End(window);
        Assert.Equal(7.5, measured.Energy!.Value.Value, Exact);
        Assert.Equal(("modelled:n150", EnergyQuality.Modelled), (measured.Source, measured.Quality));
        Assert.Throws<ErgonException>(() => meter.Charge(new Joules(double.NaN)));
    }
}
