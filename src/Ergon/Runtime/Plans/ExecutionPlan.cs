using System.Globalization;
using System.Text.Json;
using System.Text.Json.Serialization;
using Ergon.Inference;
using Ergon.Models;
using Ergon.Planning;

namespace Ergon.Runtime.Plans;

/// <summary>Units of a model that lie together on a device.</summary>
/// <param name="Phase"><c>prefill</c> or <c>decode</c>.</param>
/// <param name="From">The first unit: <c>embedding</c>, <c>3.attention</c>, <c>3.feedforward</c>, <c>3</c> (all of a layer), <c>head</c>.</param>
/// <param name="To">The last unit.</param>
/// <param name="Device">A name that <see cref="LocalDevice"/> knows.</param>
internal sealed record PlannedRun(string Phase, string From, string To, string Device);

/// <summary>Which device of this machine computes which part of a model: what a plan's file says, and what the engine runs.</summary>
/// <param name="Model">The model's name.</param>
/// <param name="Fingerprint">Of its file, in hexadecimal digits.</param>
/// <param name="Layers">Of the model.</param>
/// <param name="Batch">Sequences that decode in a pass.</param>
/// <param name="InFlight">Passes under way at a time.</param>
/// <param name="Runs">In order; each phase covers the model.</param>
internal sealed record ExecutionPlan(string Model, string Fingerprint, int Layers, int Batch, int InFlight, IReadOnlyList<PlannedRun> Runs)
{
    private const string Prefill = "prefill", Decode = "decode";

    /// <summary>The devices that compute anything.</summary>
    [JsonIgnore]
    public IEnumerable<string> Devices => Runs.Select(r => r.Device).Distinct();

    /// <summary>Whether prompts run elsewhere than decoding.</summary>
    [JsonIgnore]
    public bool HasPhases => Of(Prefill).Any() && !Of(Prefill).SequenceEqual(Of(Decode));

    /// <summary>A plan that was searched, as a plan of this machine.</summary>
    /// <param name="problem">What was planned.</param>
    /// <param name="plan">A plan of it.</param>
    /// <param name="fingerprint">Of the model's file.</param>
    public static ExecutionPlan Of(PlanProblem problem, PlanEvaluation plan, ReadOnlySpan<byte> fingerprint) => new(
        problem.Model.Name, Convert.ToHexStringLower(fingerprint), problem.Model.Layers, problem.Workload.Batch, problem.Workload.InFlight,
        [.. Enumerable.Range(0, problem.Phases).SelectMany(phase => Segments(problem, plan, phase).Select(s =>
            new PlannedRun(phase < problem.Phases - 1 ? Prefill : Decode, problem.NameOf(s.From), problem.NameOf(s.End - 1), problem.Profiles[s.Device].Name)))]);

    /// <summary>Units that lie together on a device, in order.</summary>
    public static IEnumerable<(int From, int End, int Device)> Segments(PlanProblem problem, PlanEvaluation plan, int phase)
    {
        var genes = plan.Genes.AsMemory(phase * problem.Units, problem.Units);
        for (int from = 0, end; from < problem.Units; from = end)
        {
            for (end = from + 1; end < problem.Units && genes.Span[end] == genes.Span[from];)
                end++;
            yield return (from, end, genes.Span[from]);
        }
    }

    /// <summary>
    /// Plans as the engine can run them: what comes after the last attention has one device in both phases, that of decoding, because
    /// there rows of both phases are in one pass. The prompt's share of it is the row of its last token. Of those that keep the
    /// limits in this form one is chosen anew.
    /// </summary>
    public static PlanOutcome Runnable(PlanProblem problem, PlanOutcome outcome, PlanPolicy policy)
    {
        if (problem.Phases == 1 || outcome.Chosen is null)
            return outcome;
        var state = new PlanState(problem);
        var plans = outcome.Front.Select(plan =>
        {
            var genes = plan.Genes.ToArray();
            for (var unit = problem.UnitOf(new Stage(StageKind.FeedForward, problem.Model.Layers - 1)); unit < problem.Units; unit++)
                genes[unit] = genes[problem.Units + unit];
            state.Load(genes);
            return state.Evaluate();
        }).ToList();
        var kept = plans.Where(p => p.Binding is null).DistinctBy(p => Convert.ToHexString(p.Genes)).OrderBy(p => p.Score.Joules).ToArray();
        return kept.Length == 0 ? outcome with { Front = [], Chosen = null, Reason = $"No plan was found that keeps the limits when it runs; the nearest one passes {plans[0].Binding}" }
            : Planner.Of(kept, policy, outcome.Evaluations);
    }

    /// <summary>The plan as one of a problem, at the highest clocks; <see langword="null"/> where the problem lacks one of its devices.</summary>
    public byte[]? GenesIn(PlanProblem problem)
    {
        var genes = new byte[problem.Genes];
        for (var d = 0; d < problem.Devices; d++)
            genes[problem.Places + d] = (byte)(problem.Levels[d] - 1);
        for (var phase = 0; phase < problem.Phases; phase++)
        {
            var name = phase < problem.Phases - 1 && Of(Prefill).Any() ? Prefill : Decode;
            foreach (var (from, to, device) in Of(name))
            {
                var index = problem.Profiles.ToList().FindIndex(p => p.Name == device);
                if (index < 0)
                    return null;
                // A unit goes where its first stage is.
                for (var stage = First(from); stage < End(to); stage++)
                    genes[(phase * problem.Units) + problem.UnitOf(Stage.At(stage, Layers))] = (byte)index;
            }
        }
        return genes;
    }

    /// <summary>Reads a plan from a file: of <c>ergon plan --json</c>, or the plan alone.</summary>
    /// <exception cref="ErgonException">There is none, or it is none, or it is for hardware of the catalogue.</exception>
    public static ExecutionPlan Read(string path)
    {
        byte[] bytes;
        try
        {
            bytes = File.ReadAllBytes(path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new ErgonException($"The plan '{path}' cannot be read ({e.Message.TrimEnd('.')}); make one with 'ergon plan MODEL --devices real --json > {path}', or use --plan auto.", e);
        }
        try
        {
            using var json = JsonDocument.Parse(bytes);
            var root = json.RootElement;
            if (root.TryGetProperty("simulated", out var simulated) && simulated.ValueKind == JsonValueKind.True)
                throw new ErgonException($"The plan '{path}' is for devices of the catalogue, which are not here; make one with 'ergon plan MODEL --devices real --json'.");
            var plan = root.TryGetProperty("plan", out var inner) ? inner : root;
            var read = plan.Deserialize(PlanJson.Default.ExecutionPlan);
            return read is not null && !read.Runs.Contains(null!) ? read : throw new JsonException("it is empty");
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            throw new ErgonException($"The plan '{path}' is no plan ({e.Message.TrimEnd('.')}); make one with 'ergon plan MODEL --devices real --json > {path}'.", e);
        }
    }

    /// <summary>What the engine runs.</summary>
    /// <param name="model">The model that it must be for.</param>
    /// <param name="device">Finds a device by its name.</param>
    /// <param name="fingerprint">Of the model's file; <see langword="null"/> reads it.</param>
    /// <exception cref="ErgonException">It is for another model, or says what cannot be.</exception>
    public IReadOnlyList<Placement> Placements(ModelDescription model, Func<string, LocalDevice> device, byte[]? fingerprint = null)
    {
        if (model.LayerCount != Layers || !Convert.ToHexStringLower(fingerprint ?? model.File.Fingerprint()).Equals(Fingerprint, StringComparison.Ordinal))
            throw new ErgonException($"The plan is for '{Model}' of {Layers} layers, and {model.File.Path} is another file, '{model.Name}' of {model.LayerCount}; make a plan for this model with 'ergon plan'.");
        var (decode, prefill) = (Chain(Decode, device), Of(Prefill).Any() ? Chain(Prefill, device) : null);
        var placements = new List<Placement>();
        // Pieces that no run of either phase cuts.
        for (int from = 0, end, count = Stage.Count(Layers); from < count; from = end)
        {
            for (end = from + 1; end < count && decode[end].Name == decode[from].Name && prefill?[end].Name == prefill?[from].Name;)
                end++;
            if (prefill is null || prefill[from].Name == decode[from].Name)
            {
                placements.Add(decode[from].Place(new StageRange(from, end, Layers), null));
                continue;
            }
            placements.Add(prefill[from].Place(new StageRange(from, end, Layers), 0));
            placements.Add(decode[from].Place(new StageRange(from, end, Layers), 1));
        }
        return placements;
    }

    private IEnumerable<(string From, string To, string Device)> Of(string phase) => Runs.Where(r => r.Phase == phase).Select(r => (r.From, r.To, r.Device));

    // The device of every stage.
    private LocalDevice[] Chain(string phase, Func<string, LocalDevice> device)
    {
        var chain = new List<LocalDevice>();
        foreach (var (from, to, name) in Of(phase))
        {
            var (first, end) = (First(from), End(to));
            if (first != chain.Count || end <= first)
                throw new ErgonException($"The plan's run {from} to {to} of {phase} does not follow on what comes before; every unit must stand there once, in order.");
            chain.AddRange(Enumerable.Repeat(device(name), end - first));
        }
        return chain.Count == Stage.Count(Layers) ? [.. chain]
            : throw new ErgonException($"The plan's {phase} covers {chain.Count} of {Stage.Count(Layers)} stages; it must go from the embedding to the head.");
    }

    private int First(string unit) => unit switch
    {
        "embedding" => 0,
        "head" => Stage.Count(Layers) - 1,
        _ => Layer(unit) is var (layer, part) && part == "feedforward" ? Stage.PlaceOf(new(StageKind.FeedForward, layer), Layers) : Stage.OfLayer(layer),
    };

    private int End(string unit) => unit switch
    {
        "embedding" => 1,
        "head" => Stage.Count(Layers),
        _ => Layer(unit) is var (layer, part) && part == "attention" ? Stage.PlaceOf(new(StageKind.FeedForward, layer), Layers) : Stage.OfLayer(layer + 1),
    };

    private (int Layer, string Part) Layer(string unit)
    {
        var parts = unit.Split('.', 2);
        return int.TryParse(parts[0], NumberStyles.None, CultureInfo.InvariantCulture, out var layer) && layer < Layers && (parts.Length == 1 || parts[1] is "attention" or "feedforward")
            ? (layer, parts.Length == 1 ? "" : parts[1])
            : throw new ErgonException($"The plan names '{unit}', but a model of {Layers} layers has embedding, 0 to {Layers - 1} (or 0.attention, 0.feedforward and so on), and head.");
    }
}

/// <summary>Plans as files.</summary>
[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower, RespectNullableAnnotations = true, RespectRequiredConstructorParameters = true)]
[JsonSerializable(typeof(ExecutionPlan))]
internal sealed partial class PlanJson : JsonSerializerContext;
