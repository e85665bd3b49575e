using Ergon.Devices;
using Ergon.Native.Nvidia;
using Ergon.Tests.Energy;

namespace Ergon.Tests.Devices;

/// <summary>Temperatures and throttling as the kernel, the Raspberry Pi's firmware and NVML tell them.</summary>
public sealed class ThermalTests
{
    private const string Policy = "sys/devices/system/cpu/cpufreq/policy0";

    [Fact]
    public void Zones_and_chips_tell_thousandths_of_a_degree()
    {
        using var machine = new CapturedMachine().Write("sys/class/thermal/thermal_zone0/type", "cpu-thermal").Write("sys/class/thermal/thermal_zone0/temp", 48312)
            .Write("sys/class/thermal/thermal_zone1/type", "cv0-thermal").Write("sys/class/thermal/thermal_zone1/temp", -256000)
            .Write("sys/class/thermal/thermal_zone2/type", "gpu-thermal")
            .Write("sys/class/hwmon/hwmon1/name", "k10temp").Write("sys/class/hwmon/hwmon1/temp1_label", "Tctl").Write("sys/class/hwmon/hwmon1/temp1_input", 61500);
        var read = Temperatures.Read(machine.Files, null).ToDictionary(t => t.Name);
        Assert.Equal(48.312, read["cpu-thermal"].Value!.Value.Value, 1e-9);
        Assert.Equal(61.5, read["k10temp/Tctl"].Value!.Value.Value, 1e-9);
        Assert.Null(read["cv0-thermal"].Value);
        Assert.Contains("-256", read["cv0-thermal"].Reason, StringComparison.Ordinal);
        Assert.Contains("thermal_zone2/temp: no such file", read["gpu-thermal"].Reason, StringComparison.Ordinal);
    }

    [Fact]
    public void A_low_clock_is_throttling_only_under_load()
    {
        using var machine = new CapturedMachine().Write($"{Policy}/scaling_cur_freq", 1_200_000).Write($"{Policy}/cpuinfo_max_freq", 2_400_000).Write($"{Policy}/scaling_max_freq", 2_400_000);
        var idle = Assert.Single(Throttling.Read(machine.Files, null, null, isBusy: false));
        Assert.Null(idle.IsThrottled);
        Assert.Equal((1.2e9, 2.4e9), (idle.Clock!.Value.Value, idle.Max!.Value.Value));
        Assert.True(Throttling.Read(machine.Files, null, null, isBusy: true).Single().IsThrottled);
        machine.Write($"{Policy}/scaling_cur_freq", 2_300_000);
        Assert.False(Throttling.Read(machine.Files, null, null, isBusy: true).Single().IsThrottled);
        machine.Write($"{Policy}/scaling_max_freq", 1_000_000);
        Assert.True(Throttling.Read(machine.Files, null, null, isBusy: false).Single().IsThrottled);
        machine.Remove($"{Policy}/scaling_cur_freq");
        Assert.Contains("scaling_cur_freq: no such file", Throttling.Read(machine.Files, null, null, isBusy: true).Single().Reason, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("throttled=0x0\n", false, null)]
    [InlineData("throttled=0x50005\n", true, "under-voltage, throttled")]
    [InlineData("throttled=0x80008\n", true, "soft temperature limit")]
    [InlineData("throttled=0x50000\n", false, null)]
    [InlineData("nonsense", null, "nonsense")]
    public void The_firmware_of_a_pi_tells_what_holds_now_and_not_what_once_did(string output, bool? throttled, string? reason)
    {
        using var machine = CapturedMachine.Pi5();
        machine.Vcgencmd["get_throttled"] = output;
        var firmware = Assert.Single(Throttling.Read(machine.Files, machine.Run, null, isBusy: true));
        Assert.Equal(throttled, firmware.IsThrottled);
        Assert.Contains(reason ?? "", firmware.Reason ?? "", StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(0x1, false, null)]
    [InlineData(0x2, false, null)]
    [InlineData(0x44, true, "power limit, hardware thermal slowdown")]
    public void A_gpu_is_throttled_by_heat_and_power_and_not_by_idling_or_its_user(ulong bits, bool throttled, string? reason)
    {
        var gpu = Throttling.OfGpu("gpu-0", 1200, 1980, new NvmlResult<ulong>(bits, null));
        Assert.Equal((throttled, reason), (gpu.IsThrottled, gpu.Reason));
        Assert.Equal(1.98e9, gpu.Max!.Value.Value);
        Assert.Null(Throttling.OfGpu("gpu-0", null, null, new NvmlResult<ulong>(null, "Not Supported")).IsThrottled);
    }
}
