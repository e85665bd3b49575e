using System.CommandLine;
using System.Globalization;
using Ergon.Cli.Bench;
using Ergon.Cost;
using Ergon.Inference;
using Ergon.Models;
using Ergon.Models.Store;
using Ergon.Planning;
using Ergon.Runtime;
using Ergon.Runtime.Plans;
using Ergon.Units;

namespace Ergon.Cli.Commands;

/// <summary><c>ergon plan</c>: which device computes what, for the fewest joules, the least time, or between.</summary>
internal static class PlanCommand
{
    private const int ShownPlans = 10, MostRounds = 4;
    private const string DefaultMix = "q4_k_m";

    public static Verb Create(Terminal terminal)
    {
        var model = new Argument<string>("MODEL") { Description = "A path, a pulled or an embedded name, or a published shape such as llama-3.1-8b" };
        var devices = Settings.Text("--devices", "LIST", "Devices to plan for: real (all here), names of devices here such as CPU,Vulkan0 or clusters CPU:0-3,CPU:4-7, or catalog:NAME,NAME,... ('ergon devices --explain all' lists them) [default: real]");
        var objective = Settings.Choice<PlanPolicy>("--objective", "What the chosen plan is best in [default: energy]");
        var latency = Settings.Number("--max-latency", "Milliseconds a token, prompt included, that the plan may take", "a number above 0", x => x > 0);
        var power = Settings.Number("--power-cap", "Watts that all devices together may draw", "a number above 0", x => x > 0);
        var heat = Settings.Number("--max-temp", "Degrees Celsius that no device may pass", "a number above 0", x => x > 0);
        var ambient = Settings.Number("--ambient", "Degrees Celsius of the air [default: 25]", "a number, -40 to 80", x => x is >= -40 and <= 80);
        var reserve = Settings.Number("--reserve-memory", "Share of every memory that stays free [default: as the profiles say]", "a number, 0 to 0.95", x => x is >= 0 and <= 0.95f);
        var mix = Settings.Text("--type", "TYPE", $"Weights of a published shape: {string.Join(", ", QuantizationMix.All.Select(m => m.Name))} [default: {DefaultMix}]");
        var prompt = Settings.Whole("--prompt", null, "Tokens of a prompt; 0 plans decoding alone [default: 512]", 0, 1 << 20);
        var tokens = Settings.Whole("--tokens", null, "Tokens of an answer [default: 256]", 1, 1 << 20);
        var context = Settings.Whole("--ctx", null, "Cells of the cache for each sequence [default: prompt and answer]", 1, 1 << 24);
        var batch = Settings.Whole("--batch", null, "Sequences that decode together [default: 1]", 1, 4096);
        var inFlight = Settings.Whole("--in-flight", null, "Batches under way at a time, each at another device [default: 1]", 1, 64);
        var granularity = Settings.Choice<Granularity>("--granularity", "What moves as a whole [default: halflayer]");
        var seed = Settings.Whole("--seed", null, "Of the search [default: 0]", 0);
        var budget = Settings.Whole("--budget", null, "Milliseconds after which the search ends with what it has; results then depend on the machine [default: none]", 1);
        var svg = Settings.Text("--svg", "FILE", "Write a picture of the front and of the chosen plan");
        var run = new Option<bool>("--run") { Description = "Run the plan here, print predicted and actual side by side, correct the profiles by what was seen, and go on while that finds a better plan" };
        var json = Settings.Json();
        return new Verb("plan", "Choose which device computes which part of a model",
            "ergon plan model.gguf", "ergon plan model.gguf --devices CPU:0-3,CPU:4-7 --batch 2 --in-flight 2 --run", "ergon plan model.gguf --json > plan.json",
            "ergon plan llama-3.1-8b --devices \"catalog:Core Ultra 9 285HX CPU,Core Ultra 9 285HX NPU,NVIDIA RTX PRO 5000 Blackwell laptop\"",
            "ergon plan model.gguf --devices \"catalog:Raspberry Pi 5\" --objective balanced --svg plan.svg")
        { model, devices, objective, latency, power, heat, ambient, reserve, mix, prompt, tokens, context, batch, inFlight, granularity, seed, budget, svg, run, json }.Does(async (parsed, cancellation) =>
        {
            var name = parsed.GetValue(model)!;
            var (outline, file) = Outline(name, parsed.GetValue(mix));
            var chosen = PlanDevices.Named(parsed.GetValue(devices), file is null ? null : ErgonModel.DefaultThreads(file), terminal);
            var limits = new PlanLimits
            {
                MaxLatency = parsed.GetValue(latency) is { } ms ? new Seconds(ms / 1e3) : null,
                PowerCap = parsed.GetValue(power) is { } watts ? new Watts(watts) : null,
                MaxTemperature = parsed.GetValue(heat) is { } celsius ? new Celsius(celsius) : null,
                Reserve = parsed.GetValue(reserve),
                Ambient = new(parsed.GetValue(ambient) ?? 25),
            };
            var workload = new Workload { Batch = parsed.GetValue(batch) ?? 1, InFlight = parsed.GetValue(inFlight) ?? 1, Context = parsed.GetValue(context) };
            workload = workload with { Prompt = parsed.GetValue(prompt) ?? workload.Prompt, Tokens = parsed.GetValue(tokens) ?? workload.Tokens };
            var problem = new PlanProblem(outline, chosen.Profiles, workload, limits, parsed.GetValue(granularity) ?? Granularity.HalfLayer);
            var policy = parsed.GetValue(objective) ?? PlanPolicy.Energy;
            var search = new SearchOptions { Seed = parsed.GetValue(seed) ?? 0, Budget = parsed.GetValue(budget) is { } most ? TimeSpan.FromMilliseconds(most) : null };
            var runs = parsed.GetValue(run);
            if (runs && (chosen.Local is null || file is null))
                throw new ErgonException($"--run needs a model file and devices of this machine, but {(file is null ? $"'{name}' is a published shape" : $"--devices is '{parsed.GetValue(devices)}'")}; leave --run out, or use --devices real.");
            PlanOutcome outcome;
            if (chosen.Local is null)
                outcome = Planner.Plan(problem, policy, search);
            else
                (problem, outcome) = Planner.PlanTogetherOrApart(problem, policy, ExecutionPlan.Runnable, search);
            if (outcome.Chosen is null)
                throw new ErgonException($"{outcome.Reason.TrimEnd('.')}; raise that limit, name more devices, or take a smaller model.");
            var (isJson, actual) = (parsed.GetValue(json), (PlanActual?)null);
            if (!isJson)
                Print(terminal.Out, problem, outcome, policy, chosen.Simulated);
            if (runs)
                (problem, outcome, actual) = await RunAsync(terminal, file!, chosen.Local!, workload, problem, outcome, policy, search, isJson, cancellation);
            if (parsed.GetValue(svg) is { } picture)
                WritePicture(picture, PlanPicture.Draw(problem, outcome, chosen.Simulated));
            if (isJson)
                CliJson.Write(terminal.Out, Report(problem, outcome, policy, chosen.Simulated, actual, file));
            return Exit.Ok;
        });
    }

    private static void WritePicture(string path, string svg)
    {
        try
        {
            File.WriteAllText(path, svg);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new ErgonException($"--svg is '{path}', which cannot be written ({e.Message.TrimEnd('.')}); name another file.", e);
        }
    }

    // Runs the plan, corrects the profiles by what devices took, and runs the next plan where that is a better one. The plan
    // that was fastest, or took least energy, when it ran is the one that is kept.
    private static async Task<(PlanProblem, PlanOutcome, PlanActual)> RunAsync(
        Terminal terminal, ModelDescription file, IReadOnlyList<LocalDevice> devices, Workload workload, PlanProblem problem, PlanOutcome outcome, PlanPolicy policy, SearchOptions search, bool isJson, CancellationToken cancellation)
    {
        var w = workload;
        using var monitor = EnergyMonitor.OfMachine();
        var first = ExecutionPlan.Of(problem, outcome.Chosen!, file.File.Fingerprint());
        var options = new ModelOptions { ContextLength = Math.Max(w.Cells, w.Prompt + w.Tokens + 1), MaxSequences = w.Batch * w.InFlight };
        using var planned = new PlannedModel(file, devices, options, new PlanOptions { Plan = first, Replans = false, Objective = policy, Limits = problem.Limits, Prompt = w.Prompt, Tokens = w.Tokens });
        planned.Run(file.File.Path, options, monitor, cancellation);
        var trial = new PlanTrial(planned, monitor);
        (PlanProblem Problem, PlanOutcome Outcome, PlanActual Actual)? best = null;
        var tried = new List<ExecutionPlan>();
        while (true)
        {
            var round = tried.Count;
            tried.Add(planned.Current);
            terminal.Status($"running plan {round + 1}: {PlannedModel.Describe(planned.Current)}", isLast: false);
            // Graphs, pages and clocks warm up first.
            await trial.RunAsync(problem.Workload, Math.Min(w.Tokens, 16), cancellation);
            var actual = await trial.RunAsync(problem.Workload, w.Tokens, cancellation);
            terminal.Status("", isLast: true);
            if (!isJson)
            {
                terminal.Out.WriteLine();
                terminal.Out.WriteLine(Text($"run {round + 1}: {PlannedModel.Describe(planned.Current)}"));
                PlanTrial.Write(terminal.Out, outcome.Chosen!, actual);
            }
            if (best is not { } b || Value(actual) < Value(b.Actual))
                best = (problem, outcome, actual);
            problem = new PlanProblem(problem.Model, [.. devices.Select(planned.Residuals.Corrected)], w, problem.Limits, problem.Granularity);
            (problem, outcome) = Planner.PlanTogetherOrApart(problem, policy, ExecutionPlan.Runnable, search);
            if (outcome.Chosen is null)
                break;
            var next = ExecutionPlan.Of(problem, outcome.Chosen!, file.File.Fingerprint());
            if (tried.Count == MostRounds || tried.Exists(t => t.Runs.SequenceEqual(next.Runs)))
                break;
            await planned.MoveAsync(next, problem);
        }
        if (!isJson && tried.Count > 1)
            terminal.Out.WriteLine(Text($"of {tried.Count} plans that ran this one was best: {PlannedModel.Describe(ExecutionPlan.Of(best!.Value.Problem, best.Value.Outcome.Chosen!, []))}"));
        return best!.Value;

        // By the meters where they tell, else by time.
        double Value(PlanActual a) => policy == PlanPolicy.Latency || a.JoulesPerToken is not { } joules ? a.SecondsPerToken : policy == PlanPolicy.Energy ? joules : joules * a.SecondsPerToken;
    }

    /// <summary>A run of units on one device, such as <c>0.attention-11.feedforward</c>.</summary>
    public static string Runs(PlanProblem problem, PlanEvaluation plan, int phase, int device) =>
        string.Join(", ", ExecutionPlan.Segments(problem, plan, phase).Where(s => s.Device == device).Select(s => s.From == s.End - 1 ? problem.NameOf(s.From) : $"{problem.NameOf(s.From)}-{problem.NameOf(s.End - 1)}"));

    private static (ModelOutline Outline, ModelDescription? File) Outline(string name, string? mix)
    {
        var published = PublishedModel.All.FirstOrDefault(m => m.Shape.Name.Equals(name, StringComparison.OrdinalIgnoreCase));
        if (published is null)
        {
            if (mix is not null)
                throw new ErgonException($"--type is '{mix}', but '{name}' is a file with types of its own; leave --type out.");
            var file = PlannedModel.Describe(ModelStore.OfUser().Resolve(name));
            return (ModelOutline.Of(file), file);
        }
        var types = QuantizationMix.All.FirstOrDefault(m => m.Name.Equals(mix ?? DefaultMix, StringComparison.OrdinalIgnoreCase))
            ?? throw new ErgonException($"--type is '{mix}', but must be one of {string.Join(", ", QuantizationMix.All.Select(m => m.Name))}.");
        return (published.Outline(types), null);
    }

    private static void Print(TextWriter output, PlanProblem problem, PlanOutcome outcome, PlanPolicy policy, bool simulated)
    {
        var (plan, w) = (outcome.Chosen!, problem.Workload);
        var origin = simulated ? "simulated from catalogue profiles" : "modelled from measured profiles";
        output.WriteLine(Text($"{problem.Model.Name}, {Amount.Bytes(problem.Model.WeightBytes)}: {w.Prompt} tokens of prompt, {w.Tokens} of answer, batch {w.Batch}, {w.InFlight} in flight; {origin}"));
        output.WriteLine();
        Columns.Write(output, [["", "J/TOKEN", "MS/TOKEN", "UNUSED", "WATTS", "SEAMS"], .. Shown(outcome).Select(p => new[]
        {
            p == plan ? "*" : "", Text($"{p.Score.Joules:G4}"), Text($"{1e3 * p.Score.Seconds:G4}"), Text($"{100 * p.Score.Underutilisation:F1} %"), Text($"{p.Power.Value:F1}"), Text($"{p.Seams}"),
        })]);
        output.WriteLine(Text($"{outcome.Front.Count} plans of which none is better than another in everything; {outcome.Evaluations} looked at"));
        output.WriteLine();
        output.WriteLine($"chosen for {policy.ToString().ToLowerInvariant()} (*): {outcome.Reason}");
        Columns.Write(output, [["DEVICE", .. problem.Phases > 1 ? ["PREFILL", "DECODE"] : (string[])["DECODE"], "BUSY", "DYNAMIC J/TOKEN", "MEMORY", "CPQ", "TEMP"], .. plan.Loads.Select((l, d) => (string[])
        [
            l.Device, .. Enumerable.Range(0, problem.Phases).Select(p => Runs(problem, plan, p, d) is { Length: > 0 } runs ? runs : "-"),
            Text($"{100 * l.Busy:F0} %"), Text($"{l.Dynamic.Value:G3}"), Amount.Bytes(l.Resident.Value), Text($"{100 * l.Cpq:F0} %"), l.Temperature is { } t ? Text($"{t.Value:F0} °C") : "off",
        ])]);
    }

    // The chosen one among those in equal steps along the front.
    private static IEnumerable<PlanEvaluation> Shown(PlanOutcome outcome)
    {
        var count = outcome.Front.Count;
        var steps = Enumerable.Range(0, Math.Min(ShownPlans, count)).Select(i => outcome.Front[count <= ShownPlans ? i : i * (count - 1) / (ShownPlans - 1)]);
        return steps.Append(outcome.Chosen!).Distinct().OrderBy(p => p.Score.Joules);
    }

    private static PlanReport Report(PlanProblem problem, PlanOutcome outcome, PlanPolicy policy, bool simulated, PlanActual? actual, ModelDescription? file)
    {
        var plan = outcome.Chosen!;
        var predicted = new PlanPrediction(plan.Score.Joules, plan.Score.Seconds, plan.Latency.Value, plan.Power.Value, [.. plan.Loads.Select(l =>
            new PlannedDevice(l.Device, l.Busy, l.Dynamic.Value, l.Resident.Value, l.Cpq, l.Temperature?.Value, l.Clock?.Value))]);
        return new([.. outcome.Front.Select(Of)], Of(plan), policy.ToString().ToLowerInvariant(), outcome.Reason, simulated, predicted, actual,
            simulated || file is null ? null : ExecutionPlan.Of(problem, plan, file.File.Fingerprint()));

        PlannedPoint Of(PlanEvaluation p) => new(p.Score.Joules, p.Score.Seconds, p.Score.Underutilisation,
            [.. Enumerable.Range(0, problem.Phases).SelectMany(phase => ExecutionPlan.Segments(problem, p, phase).Select(s =>
                new PlannedRun(phase < problem.Phases - 1 ? "prefill" : "decode", problem.NameOf(s.From), problem.NameOf(s.End - 1), problem.Profiles[s.Device].Name)))]);
    }

    private static string Text(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}
