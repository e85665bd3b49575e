using Ergon.Devices;
using Ergon.Models;
using Ergon.Native.Tensors;

namespace Ergon.Inference;

/// <summary>Which stages run on which device.</summary>
/// <param name="Device">The device.</param>
/// <param name="Stages">The run of stages; those of an engine follow each other and cover the model.</param>
/// <param name="Threads">CPU threads.</param>
/// <param name="Cpus">Logical CPUs to stay on, which makes a device of its own of them; <see langword="null"/> leaves the choice to the system.</param>
/// <param name="Tier">Of which sequences the rows run here, by <see cref="Engine.MoveTo"/>; <see langword="null"/>: of all. Placements of one run of stages and different tiers work at the same time.</param>
internal sealed record Placement(NativeDevice Device, StageRange Stages, int Threads, int[]? Cpus = null, int? Tier = null)
{
    // What ggml's mask of processors has room for.
    private const int MaxCpus = 512;

    /// <summary>A placement on a device of that name.</summary>
    /// <exception cref="ErgonException">There is none.</exception>
    public static Placement On(string device, StageRange stages, int threads = 1, int[]? cpus = null, int? tier = null) =>
        new(DeviceChoice.Choose(device, bytes: 0), stages, threads, cpus, tier);

    /// <summary>Whether two placements share a device: the same processors, where these are named.</summary>
    public bool IsOnSameDevice(Placement other) => Device.Name == other.Device.Name && (Cpus ?? []).SequenceEqual(other.Cpus ?? []);

    /// <summary>Why placements do not compute a model of so many layers; <see langword="null"/> when they do.</summary>
    public static string? WhyNoCover(IReadOnlyList<Placement> placements, int layers)
    {
        var next = 0;
        for (var i = 0; i < placements.Count; i++)
        {
            var (stages, tier) = (placements[i].Stages, placements[i].Tier);
            if (stages.LayerCount != layers)
                return $"the stages are those of a model of {stages.LayerCount} layers, and this one has {layers}";
            var parallel = i > 0 && tier is not null && placements[i - 1].Tier is not null && stages == placements[i - 1].Stages;
            if ((!parallel && stages.First != next) || stages.End <= stages.First || stages.End > Stage.Count(layers))
                return $"stage {stages.First} to {stages.End} does not continue the model at stage {next} of {Stage.Count(layers)}";
            // After the last layer a value has a row for each output, which the tiers would mix up with those before.
            if (tier is not null && stages.End >= Stage.OfLayer(layers))
                return $"{stages} is divided by tiers, but the last stages of a model run for all sequences together";
            next = stages.End;
        }
        if (next != Stage.Count(layers))
            return $"the stages end at {next} of {Stage.Count(layers)}";
        int[][] tiers = [.. placements.Where(p => p.Tier is not null).GroupBy(p => p.Stages).Select(g => g.Select(p => p.Tier!.Value).Order().ToArray())];
        return tiers.Any(t => t[0] != 0 || t.Distinct().Count() < t.Length || !t.SequenceEqual(tiers[0]))
            ? "stages that are placed by tiers must be placed for the same tiers everywhere, each once, from 0 on" : null;
    }

    /// <summary>Checks a plan that somebody gives for a model.</summary>
    /// <exception cref="ErgonException">It is none for this model, or asks for processors that it cannot have.</exception>
    public static void Require(IReadOnlyList<Placement> plan, ModelInfo model)
    {
        if (model is not ModelDescription)
            throw new ErgonException($"{model.File.Path}: libllama runs this model, on one device as a whole, so it takes no plan; load it with a device instead.");
        if (WhyNoCover(plan, model.LayerCount) is { } reason)
            throw new ErgonException($"The plan does not fit {model.File.Path}: {reason}; make a plan for this model.");
        for (var i = 0; i < plan.Count; i++)
        {
            var (device, stages, threads, cpus, _) = plan[i];
            ErgonModel.Ranged($"The plan's number of threads for {stages}", threads, 1, MaxCpus);
            if (cpus is not null && device.Kind != NativeDeviceKind.Cpu)
                throw new ErgonException($"The plan keeps {stages} to processors {string.Join(", ", cpus)}, but runs it on {device.Name}; name processors for the CPU only.");
            if (cpus is { Length: 0 } || cpus?.Distinct().Count() < cpus?.Length || Array.Exists(cpus ?? [], c => c is < 0 or >= MaxCpus))
                throw new ErgonException($"The plan keeps {stages} to the processors '{string.Join(", ", cpus!)}', but must name one or more of 0 to {MaxCpus - 1}, each once.");
            foreach (var other in plan.Take(i).Where(p => p.Device.Name == device.Name))
            {
                if (plan[i].IsOnSameDevice(other) ? other.Threads != threads : cpus is null || other.Cpus is null || cpus.Intersect(other.Cpus).Any())
                {
                    throw new ErgonException($"The plan runs {other.Stages} on {Name(other)} and {stages} on {Name(plan[i])}, which would wait for each other's processors; give both the same, or none in common.");
                }
            }
        }

        static string Name(Placement p) => $"{p.Threads} thread{(p.Threads == 1 ? "" : "s")} of {(p.Cpus is null ? $"all of {p.Device.Name}" : $"the processors {string.Join(", ", p.Cpus)}")}";
    }
}
