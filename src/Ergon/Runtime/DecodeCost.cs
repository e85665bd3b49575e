using System.Collections.Concurrent;
using System.Diagnostics;
using Ergon.Cost;
using Ergon.Devices;
using Ergon.Devices.Profiles;
using Ergon.Inference;
using Ergon.Models;
using Ergon.Native;
using Ergon.Reasoning;
using Ergon.Units;
using Stage = Ergon.Models.Stage;

namespace Ergon.Runtime;

/// <summary>
/// What passes of a model that decode take, by the profiles of its devices and by those that were seen: of a width that was seen, the mean time; of another, what the
/// profile says of it against the nearest width that was seen. Weights that fit the processor's last cache are not read again. Joules are those that a receipt without
/// meters would have: <see cref="EnergyModel.Observed"/> and idle power over that time. Thread-safe. Ergon's own definition.
/// </summary>
internal sealed class DecodeCost
{
    // So many passes of a width weigh as the mean; older ones fade.
    private const int Memory = 16;

    private readonly Part[] _parts;
    private readonly Func<IReadOnlyList<SequencePass>, StageCost[]> _costs;
    private readonly GgmlType _type;
    private readonly ConcurrentDictionary<(int Rows, int Context), (double Seconds, double Flops, double Bytes)[]> _expected = [];
    private readonly Dictionary<int, (int Count, double Seconds)> _seen = [];
    private readonly Lock _gate = new();

    // A run of stages on a device; a cached one finds its weights in the processor.
    private readonly record struct Part(DeviceProfile Profile, int First, int End, bool IsCached);

    private DecodeCost(Part[] parts, Func<IReadOnlyList<SequencePass>, StageCost[]> costs, GgmlType type) => (_parts, _costs, _type) = (parts, costs, type);

    /// <summary>Of a model that was loaded; it watches the model's passes from now on.</summary>
    /// <param name="model">On devices whose calibrations are used where there are any.</param>
    /// <param name="store">Knows them.</param>
    /// <param name="files">Tell what the machine is.</param>
    public static Decoding Of(ErgonModel model, CalibrationStore store, SystemFiles files)
    {
        var (cores, cache) = (CpuTopology.PhysicalCores(), CpuTopology.LastCache(files));
        // Of placements for phases the later ones decode.
        Part[] parts = [.. model.Placements.GroupBy(p => p.Stages).Select(g => g.MaxBy(p => p.Tier ?? 0)!).Select(p =>
        {
            var profile = store.ProfileOf(DeviceInfo.Of(p.Device), files).Profile;
            var (isCpu, used) = (p.Device.Kind == Native.Tensors.NativeDeviceKind.Cpu, p.Cpus?.Length ?? p.Threads);
            return new Part(isCpu && used < cores ? profile.WithCores(used, cores) : profile, p.Stages.First, p.Stages.End, isCpu && model.Description.WeightBytes <= cache);
        })];
        var cost = Of(parts, model.Description, model.CacheType);
        model.PassCompleted += cost.Note;
        return cost.At;
    }

    /// <summary>Of a model on one device, of which no pass is seen.</summary>
    internal static DecodeCost Of(DeviceProfile profile, ModelOutline outline, bool isCached = false) =>
        new([new Part(profile, 0, Stage.Count(outline.Layers), isCached)], passes => PassCost.Of(outline, passes), outline.Weights.GroupBy(w => w.Type).MaxBy(g => g.Sum(w => w.Bytes))!.Key);

    private static DecodeCost Of(Part[] parts, ModelInfo info, GgmlType cacheType)
    {
        if (info is not ModelDescription described)
            return new([.. parts.Select(p => p with { First = 0, End = 1 })], passes => [Whole(info, passes.Count)], info.MainType);
        var outline = ModelOutline.Of(described);
        return new(parts, passes => PassCost.Of(outline, passes, cacheType), info.MainType);
    }

    // Of a model that libllama runs only the weights are known: each takes part in a product for each row, if it has no experts.
    private static StageCost Whole(ModelInfo info, int rows) =>
        new(Stage.At(0, info.LayerCount), info.MainType, rows, 2.0 * info.ParameterCount * rows, info.WeightBytes, 0, 0, 0, Stage.Count(info.LayerCount));

    /// <summary>What a pass takes.</summary>
    /// <param name="rows">Sequences, each of which gets a token.</param>
    /// <param name="context">Positions that each has; rounded up to a multiple of 64.</param>
    public (Joules Energy, Seconds Time) At(int rows, int context)
    {
        var expected = Expect(rows, context);
        var (all, joules) = (expected.Sum(e => e.Seconds), 0.0);
        var time = all * Correction(rows, context);
        foreach (var (part, own) in _parts.Zip(expected))
        {
            var (arithmetic, memory) = EnergyModel.Observed(part.Profile, part.Profile.PeakAt(_type, rows), own.Flops, own.Bytes, new Seconds(time * own.Seconds / all));
            joules += arithmetic.Value + memory.Value;
        }
        // Every device idles while another computes; parts of one device do so once.
        joules += time * _parts.Select(p => p.Profile).DistinctBy(p => p.Name).Sum(p => p.IdlePower.Value);
        return (new Joules(joules), new Seconds(time));
    }

    // By the profiles alone; for each part.
    private (double Seconds, double Flops, double Bytes)[] Expect(int rows, int context) => _expected.GetOrAdd((rows, (context + 63) / 64), key =>
    {
        var costs = _costs([.. Enumerable.Repeat(SequencePass.Decode(64 * key.Context), key.Rows)]);
        return [.. _parts.Select(p =>
        {
            var own = costs[p.First..p.End];
            var draws = own.Select(c => EnergyModel.Draw(p.Profile, p.IsCached ? c with { WeightBytes = 0 } : c));
            return (EnergyModel.PassTime(p.Profile, draws).Value, own.Sum(c => c.Flops), own.Sum(c => c.Traffic));
        })];
    });

    // What was seen of the nearest width, in what the profiles say of that.
    private double Correction(int rows, int context)
    {
        (int Rows, double Seconds)? nearest = null;
        lock (_gate)
        {
            foreach (var (seen, (count, seconds)) in _seen)
            {
                if (count > 0 && (nearest is not { } best || Distance(seen) < Distance(best.Rows)))
                    nearest = (seen, seconds);
            }
        }
        return nearest is { } at ? at.Seconds / Expect(at.Rows, context).Sum(e => e.Seconds) : 1;

        double Distance(int width) => Math.Abs(Math.Log((double)width / rows));
    }

    // On the engine's thread.
    private void Note(PassReport pass)
    {
        long began = long.MaxValue, ended = 0;
        foreach (var part in pass.Parts)
        {
            if (part.IsPrompt)
                return;
        }
        foreach (var segment in pass.Segments)
            (began, ended) = (Math.Min(began, segment.Began), Math.Max(ended, segment.Ended));
        if (ended > began)
            Note(pass.Parts.Count, Stopwatch.GetElapsedTime(began, ended).TotalSeconds);
    }

    /// <summary>Notes what a pass took; the first of a width prepares its graph and does not count.</summary>
    internal void Note(int rows, double seconds)
    {
        lock (_gate)
        {
            var (count, mean) = _seen.TryGetValue(rows, out var known) ? known : (-1, 0);
            _seen[rows] = count < 0 ? (0, 0) : (Math.Min(count + 1, Memory), mean + ((seconds - mean) / Math.Min(count + 1, Memory)));
        }
    }
}
