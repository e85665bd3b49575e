using System.Collections.Concurrent;
using System.Diagnostics;
using Ergon.Cost;
using Ergon.Devices.Profiles;
using Ergon.Inference;
using Ergon.Native;

namespace Ergon.Runtime.Plans;

/// <summary>A device's time as seen over its time as predicted.</summary>
/// <param name="Few">For passes of a few rows, such as decoding; 1 where none was seen.</param>
/// <param name="Many">For passes of 32 rows or more, such as prompts.</param>
internal readonly record struct Residual(double Few, double Many);

/// <summary>
/// How much longer a model's devices take than their profiles say, learned from the passes that run: other programs, heat and
/// kernels that a calibration did not see. Recent passes count most. Thread-safe.
/// </summary>
/// <param name="outline">The model.</param>
/// <param name="cacheType">How keys and values are stored.</param>
internal sealed class Residuals(ModelOutline outline, GgmlType cacheType)
{
    // What was seen loses half of its weight with so many samples.
    private const double HalfLife = 32;
    private const int Most = 64;

    // Numbers beyond these are a machine that stood still, or a clock.
    private const double Least = 0.05, Largest = 20;

    private static readonly TimeSpan Interval = TimeSpan.FromMilliseconds(10);
    private static readonly double Decay = Math.Pow(0.5, 1 / HalfLife);

    private readonly ConcurrentQueue<(PassReport Pass, IReadOnlyList<LocalDevice> Devices)> _seen = new();
    private readonly Dictionary<(string Device, bool Many), (double Actual, double Predicted)> _sums = [];
    private long _last;

    /// <summary>Takes a pass into account; cheap, so that the engine's thread may call it.</summary>
    /// <param name="pass">The pass.</param>
    /// <param name="devices">By placement, with the profiles of their calibrations.</param>
    public void Note(PassReport pass, IReadOnlyList<LocalDevice> devices)
    {
        // A sample will do, and what nobody asks for is dropped.
        var now = Stopwatch.GetTimestamp();
        if (Stopwatch.GetElapsedTime(_last, now) < Interval)
            return;
        _last = now;
        _seen.Enqueue((pass, devices));
        if (_seen.Count > Most)
            _seen.TryDequeue(out _);
    }

    /// <summary>What is known of a device.</summary>
    public Residual Of(string device)
    {
        lock (_sums)
        {
            while (_seen.TryDequeue(out var seen))
                Add(seen.Pass, seen.Devices);
            return new(Ratio((device, false)), Ratio((device, true)));
        }
    }

    /// <summary>A device's profile with what was learned.</summary>
    public DeviceProfile Corrected(LocalDevice device)
    {
        var (few, many) = Of(device.Name);
        return few == 1 && many == 1 ? device.Profile : device.Profile.Slowed(few, many, "corrected by the time of passes here");
    }

    private double Ratio((string, bool) key) => _sums.TryGetValue(key, out var sums) && sums.Predicted > 0 ? Math.Clamp(sums.Actual / sums.Predicted, Least, Largest) : 1;

    private void Add(PassReport pass, IReadOnlyList<LocalDevice> devices)
    {
        // Where placements go by tiers a segment has some of the rows, and which sequences' the report does not say.
        var rows = pass.Parts.Sum(p => p.Rows);
        var segments = pass.Segments.Where(s => s.Rows == rows && s.Placement < devices.Count).ToList();
        if (segments.Count == 0)
            return;
        var costs = PassCost.Of(outline, [.. pass.Parts.Select(p => new SequencePass(p.Rows, p.Context, Outputs: 1))], cacheType);
        foreach (var segment in segments)
        {
            var device = devices[segment.Placement];
            var predicted = EnergyModel.PassTime(device.Profile, costs[segment.Stages.First..segment.Stages.End].Select(c => EnergyModel.Draw(device.Profile, c))).Value;
            var key = (device.Name, rows >= DeviceProfile.ManyRows);
            var (a, p) = _sums.GetValueOrDefault(key);
            _sums[key] = ((a * Decay) + segment.Elapsed.TotalSeconds, (p * Decay) + predicted);
        }
    }
}
