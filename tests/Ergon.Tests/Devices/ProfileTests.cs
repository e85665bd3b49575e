using Ergon.Cost;
using Ergon.Devices;
using Ergon.Devices.Profiles;
using Ergon.Native;
using Ergon.Tests.Energy;
using Ergon.Units;

namespace Ergon.Tests.Devices;

public sealed class ProfileTests
{
    private static DeviceProfile Pi => ProfileCatalogue.Named("Raspberry Pi 5");

    public static TheoryData<string, string> Contradictions() => new()
    {
        { "efficiency", "at most 1" }, { "bandwidth", "above 0" }, { "idlePower", "less than maxPower" }, { "leakagePower", "at most idlePower" },
        { "maxPower", "within 2 %" }, { "referenceTemperature", "below limitTemperature" }, { "clocks[1].frequency", "rise" }, { "peaks", "no peaks" }, { "launch", "from 0 on" },
    };

    [Theory]
    [MemberData(nameof(Contradictions))]
    public void A_profile_that_contradicts_itself_is_refused_with_field_value_and_remedy(string field, string rule)
    {
        Coefficient C(double v) => new(v, Origin.Estimate, "test");
        var wrong = field switch
        {
            "efficiency" => Pi with { Efficiency = C(1.2) },
            "bandwidth" => Pi with { Bandwidth = C(double.NaN) },
            "idlePower" => Pi with { IdlePower = C(9) },
            "leakagePower" => Pi with { LeakagePower = C(2.5) },
            "maxPower" => Pi with { MaxPower = C(12) },
            "referenceTemperature" => Pi with { ReferenceTemperature = C(90) },
            "launch" => Pi with { Launch = C(-1) },
            "peaks" => Pi with { Peaks = [] },
            _ => Pi with { Clocks = [new ClockLevel(2e9, 1, "test"), new ClockLevel(1e9, 1, "test")] },
        };
        var message = Assert.Throws<ErgonException>(() => wrong.Validated()).Message;
        Assert.Contains(field, message, StringComparison.Ordinal);
        Assert.Contains(rule, message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_number_without_a_source_is_refused() =>
        Assert.Contains("no source for launch", Assert.Throws<ErgonException>(() => (Pi with { Launch = new Coefficient(1e-6, Origin.Estimate, "") }).Validated()).Message, StringComparison.Ordinal);

    [Fact]
    public void Profiles_survive_their_file_and_a_missing_field_is_named()
    {
        var json = ProfileCatalogue.Write([Pi]);
        Assert.Equal(json, ProfileCatalogue.Write(ProfileCatalogue.Read(json, "a test")));
        Assert.Contains("launch", Assert.Throws<ErgonException>(() => ProfileCatalogue.Read(json.Replace("\"launch\"", "\"lunch\"", StringComparison.Ordinal), "a test")).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Every_device_of_the_catalogue_can_idle_and_decode_within_its_limits()
    {
        Assert.True(ProfileCatalogue.All.Count >= 20);
        foreach (var device in ProfileCatalogue.All)
        {
            Assert.Null(EnergyModel.Steady(device, new Watts(device.StaticPower), new Celsius(25)).Limit);
            Assert.Null(EnergyModel.Steady(device, new Watts(device.StaticPower + device.MemoryPower.Value), new Celsius(25)).Limit);
        }
    }

    [Fact]
    public void Peak_lies_between_its_measured_ends()
    {
        double one = Pi.PeakAt(GgmlType.Q4_0, 1), many = Pi.PeakAt(GgmlType.Q4_0, 512);
        Assert.True(one < many);
        Assert.Equal(many, Pi.PeakAt(GgmlType.Q4_0, 4096));
        Assert.InRange(Pi.PeakAt(GgmlType.Q4_0, 16), one, many);
        Assert.Equal(one / 2, Pi.WithCores(2, 4).PeakAt(GgmlType.Q4_0, 1), 1);
        Assert.Equal(one, Pi.PeakAt(GgmlType.Q6_K, 1));
    }

    [Fact]
    public void Some_cores_of_a_processor_make_a_valid_profile() => Pi.WithCores(1, 4).Validated();

    [Fact]
    public void Rates_at_more_rows_than_two_are_taken_from_their_neighbours()
    {
        Coefficient C(double v) => new(v, Origin.Measured, "test");
        var device = Pi with
        {
            Peaks = [new(GgmlType.Q4_0, 512, C(500)), new(GgmlType.Q4_0, 1, C(100)), new(GgmlType.Q4_0, 4, C(300)), new(GgmlType.F16, 1, C(7))],
            Attention = [new(GgmlType.F16, 64, 1, C(40)), new(GgmlType.F16, 64, 512, C(80)), new(GgmlType.F16, 32, 1, C(4)), new(GgmlType.Q8_0, 128, 1, C(20))],
        };
        Assert.Equal([100, 200, 300, 500, 500], new[] { 1, 2, 4, 512, 2048 }.Select(rows => device.PeakAt(GgmlType.Q4_0, rows)));
        Assert.Equal([40, 80, 4, 40, 20], new[] { device.AttentionAt(GgmlType.F16, 64, 1), device.AttentionAt(GgmlType.F16, 96, 600), device.AttentionAt(GgmlType.F16, 32, 1), device.AttentionAt(GgmlType.F16, 256, 1), device.AttentionAt(GgmlType.Q8_0, 64, 1) });
        Assert.Equal(100, (device with { Attention = [] }).AttentionAt(GgmlType.Q4_0, 64, 1));
    }

    [Theory]
    [InlineData("Raspberry Pi 5 Model B Rev 1.0", "", "Cortex-A76", DeviceKind.Cpu, "Raspberry Pi 5")]
    [InlineData("", "Intel(R) N150", "Intel(R) N150", DeviceKind.Cpu, "Intel N150")]
    [InlineData("", "AMD EPYC", "NVIDIA H200", DeviceKind.Gpu, "NVIDIA H200")]
    [InlineData("", "AMD EPYC", "NVIDIA A100-SXM4-80GB", DeviceKind.Gpu, "NVIDIA A100 80GB")]
    [InlineData("", "", "NVIDIA A10", DeviceKind.Gpu, "NVIDIA A10")]
    [InlineData("", "", "NVIDIA A10G", DeviceKind.Gpu, "nvidia-a10g")]
    [InlineData("", "", "NVIDIA GeForce RTX 4090 Laptop GPU", DeviceKind.Gpu, "nvidia-geforce-rtx-4090-laptop-gpu")]
    [InlineData("", "", "Apple M4 Pro", DeviceKind.IntegratedGpu, "apple-m4-pro")]
    [InlineData("NVIDIA Jetson AGX Orin Developer Kit", "", "Orin", DeviceKind.IntegratedGpu, "Jetson AGX Orin 64GB")]
    [InlineData("", "AMD RYZEN AI MAX+ 395 w/ Radeon 8060S", "Radeon 8060S Graphics", DeviceKind.IntegratedGpu, "Ryzen AI Max+ 395 GPU")]
    [InlineData("", "AMD EPYC 9755", "AMD EPYC 9755", DeviceKind.Cpu, "amd-epyc-9755-2core")]
    [InlineData("", "", "llvmpipe (LLVM 19, 256 bits)", DeviceKind.IntegratedGpu, "llvmpipe")]
    public void A_device_that_was_not_calibrated_is_known_by_its_name_or_estimated(string board, string processor, string description, DeviceKind kind, string expected)
    {
        using var machine = new CapturedMachine();
        machine.Write("proc/device-tree/model", board).Write("proc/cpuinfo", $"processor\t: 0\nmodel name\t: {processor}");
        var profile = EstimatedProfile.Of(new DeviceInfo("X", kind, description, "X", null, 8L << 30), 2, machine.Files).Validated();
        Assert.Equal(expected, profile.Name);
        if (ProfileCatalogue.All.All(p => p.Name != expected))
            Assert.All(profile.Fields().Where(f => f.Field.EndsWith("Power", StringComparison.Ordinal)), f => Assert.Equal(Origin.Estimate, f.Value.Origin));
    }
}
