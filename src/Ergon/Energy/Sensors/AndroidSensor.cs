using System.Globalization;
using System.Text.RegularExpressions;
using Ergon.Devices;
using Ergon.Units;

namespace Ergon.Energy.Sensors;

/// <summary>
/// The on-device power monitors of Pixel phones: microwatt-seconds of each rail that is enabled. The sum covers
/// those rails only.
/// </summary>
internal static partial class AndroidSensor
{
    private static readonly Watts BoardLimit = new(50);

    public static IEnumerable<EnergySensor> Find(SystemFiles files)
    {
        var paths = files.Glob("sys/bus/iio/devices/iio:device*/energy_value");
        if (paths.Count == 0)
            yield break;
        yield return new DelegateSensor(() =>
        {
            long sum = 0;
            foreach (var path in paths)
            {
                var (text, fault) = files.Read(path);
                if (text is null)
                    return SensorSample.Failed(files.Full(path), fault!);
                var channels = Channel().Matches(text);
                if (channels.Count == 0)
                    return SensorSample.Failed(files.Full(path), "it names no rail");
                foreach (Match channel in channels)
                {
                    if (!long.TryParse(channel.Groups["energy"].Value, NumberStyles.None, CultureInfo.InvariantCulture, out var energy))
                        return SensorSample.Failed(files.Full(path), $"'{channel.Value}' is no energy");
                    sum += energy;
                }
            }
            return SensorSample.OfCount(sum);
        })
        {
            Name = "odpm", Device = "board", Domain = EnergyDomain.Board, Path = files.Full(paths[0]), Limit = BoardLimit,
            FrozenAfter = TimeSpan.FromSeconds(10), JoulesPerCount = 1e-6, IncludesCpu = true,
        };
    }

    // "CH6(T=359458)[S2S_VDD_G3D], 5315420"
    [GeneratedRegex(@"^CH\d+\(T=\d+\)\[[^\]]*\], (?<energy>\d+)\s*$", RegexOptions.Multiline)]
    private static partial Regex Channel();
}
