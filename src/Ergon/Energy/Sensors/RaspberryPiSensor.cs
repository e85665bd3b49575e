using System.Globalization;
using System.Text.RegularExpressions;
using Ergon.Devices;
using Ergon.Units;

namespace Ergon.Energy.Sensors;

/// <summary>
/// The power management chip of a Raspberry Pi 5, through its firmware: volts and amperes of a dozen rails. What
/// hangs on the 5 V input directly (USB devices, a fan, hats) is not on any of them.
/// </summary>
internal static partial class RaspberryPiSensor
{
    public const string Program = "vcgencmd";

    // Asking at 50 Hz slowed decoding six-fold: the firmware answers one question at a time.
    private static readonly TimeSpan Floor = TimeSpan.FromMilliseconds(100);
    // Each question is a process of some milliseconds, which the reading would otherwise measure.
    private static readonly TimeSpan Interval = TimeSpan.FromMilliseconds(500);
    private static readonly Watts BoardLimit = new(60);

    public static bool IsPi5(SystemFiles files) =>
        files.BoardModel.StartsWith("Raspberry Pi 5", StringComparison.Ordinal);

    public static IEnumerable<EnergySensor> Find(SystemFiles files, CommandRunner run)
    {
        if (!IsPi5(files))
            yield break;
        yield return new DelegateSensor(() => run(Program, "pmic_read_adc") is var (output, fault) && output is not null ? Parse(output) : SensorSample.Failed(Program, fault!))
        {
            Name = "pmic", Device = "board", Domain = EnergyDomain.Board, Path = $"{Program} pmic_read_adc", Limit = BoardLimit, Floor = Floor, Interval = Interval, IncludesCpu = true,
        };
    }

    /// <summary>The sum of volts times amperes over the rails that tell both.</summary>
    public static SensorSample Parse(string output)
    {
        Dictionary<string, double> volts = [], amperes = [];
        foreach (Match line in Line().Matches(output))
        {
            if (!double.TryParse(line.Groups["value"].Value, NumberStyles.Float, CultureInfo.InvariantCulture, out var value))
                return SensorSample.Failed($"{Program} pmic_read_adc", $"'{line.Value.Trim()}' is no reading");
            (line.Groups["unit"].Value == "V" ? volts : amperes)[line.Groups["rail"].Value] = value;
        }
        var rails = amperes.Keys.Where(volts.ContainsKey).ToList();
        return rails.Count == 0 ? SensorSample.Failed($"{Program} pmic_read_adc", "it names no rail with both volts and amperes")
            : SensorSample.OfPower(new Watts(rails.Sum(rail => volts[rail] * amperes[rail])));
    }

    // " VDD_CORE_A current(7)=1.11625000A", " VDD_CORE_V volt(15)=0.72104800V"
    [GeneratedRegex(@"^\s*(?<rail>\w+)_[AV] (?:current|volt)\(\d+\)=(?<value>-?[0-9.]+)(?<unit>[AV])\s*$", RegexOptions.Multiline)]
    private static partial Regex Line();
}
