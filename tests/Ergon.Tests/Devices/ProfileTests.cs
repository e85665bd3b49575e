using Ergon.Cost;
using Ergon.Devices.Profiles;
using Ergon.Native;
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
}
