using System.Collections.Concurrent;
using System.Diagnostics;
using Ergon.Cost;
using Ergon.Devices.Profiles;
using Ergon.Inference;
using Ergon.Native;

namespace Ergon.Runtime.Plans;

/// <summary>What a device takes as a function of what is predicted: factor x predicted, and once for each graph a constant.</summary>
/// <param name="Few">The factor for passes of a few rows, such as decoding; 1 where none was seen.</param>
/// <param name="Many">Likewise for 32 rows or more, such as prompts.</param>
/// <param name="Dispatch">Seconds of a graph beside its kernels; <see langword="null"/>: as the profile says.</param>
internal readonly record struct Residual(double Few, double Many, double? Dispatch = null);

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
    private const double Least = 0.05, Largest = 1000;

    // What parts of the model a device had must differ by so much, of their mean, for a constant to show beside a factor.
    private const double Spread = 0.2;

    // Of predicted kernels x and what was seen y.
    private readonly record struct Sums(double N, double X, double Y, double XX, double XY)
    {
        public Sums Add(double x, double y, double decay) => new((N * decay) + 1, (X * decay) + x, (Y * decay) + y, (XX * decay) + (x * x), (XY * decay) + (x * y));

        // y = factor x + constant; without spread the constant is the one that is known.
        public (double Factor, double? Constant) Fit(double known)
        {
            var (x, y, variance) = (X / N, Y / N, (XX / N) - (X / N * (X / N)));
            if (variance < Spread * x * Spread * x)
                return (Math.Clamp(y > known ? (y - known) / x : y / (x + known), Least, Largest), null);
            var factor = ((XY / N) - (x * y)) / variance;
            if (factor < Least)
                return (Least, Math.Max(0, y - (Least * x)));
            return y > factor * x ? (Math.Min(factor, Largest), y - (factor * x)) : (Math.Clamp(XY / XX, Least, Largest), 0);
        }
    }

    private static readonly TimeSpan Interval = TimeSpan.FromMilliseconds(10);
    private static readonly double Decay = Math.Pow(0.5, 1 / HalfLife);

    private readonly ConcurrentQueue<(PassReport Pass, IReadOnlyList<LocalDevice> Devices)> _seen = new();
    private readonly Dictionary<(string Device, bool Many), Sums> _sums = [];
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
    public Residual Of(LocalDevice device)
    {
        lock (_sums)
        {
            while (_seen.TryDequeue(out var seen))
                Add(seen.Pass, seen.Devices);
            var known = device.Profile.Dispatch?.Value ?? 0;
            var (few, dispatch) = _sums.TryGetValue((device.Name, false), out var rows) ? rows.Fit(known) : (1, null);
            var (many, ofMany) = _sums.TryGetValue((device.Name, true), out rows) ? rows.Fit(known) : (1, null);
            return new(few, many, dispatch ?? ofMany);
        }
    }

    /// <summary>A device's profile with what was learned.</summary>
    public DeviceProfile Corrected(LocalDevice device)
    {
        const string Why = "corrected by the time of passes here";
        var (few, many, dispatch) = Of(device);
        if (few == 1 && many == 1 && dispatch is null)
            return device.Profile;
        var slowed = device.Profile.Slowed(few, many, Why);
        return slowed with { Dispatch = dispatch is { } seconds ? new Coefficient(seconds, Origin.Derived, Why) : device.Profile.Dispatch };
    }

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
            var kernels = costs[segment.Stages.First..segment.Stages.End].Sum(c => EnergyModel.Draw(device.Profile, c).Time.Value);
            var key = (device.Name, rows >= DeviceProfile.ManyRows);
            if (kernels > 0)
                _sums[key] = _sums.GetValueOrDefault(key).Add(kernels, segment.Elapsed.TotalSeconds, Decay);
        }
    }
}
