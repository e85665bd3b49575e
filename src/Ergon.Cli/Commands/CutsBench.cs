using System.CommandLine;
using System.Globalization;
using Ergon.Cli.Bench;
using Ergon.Inference;
using Ergon.Models.Store;
using Ergon.Planning;
using Ergon.Runtime.Plans;

namespace Ergon.Cli.Commands;

/// <summary>
/// <c>ergon dev cuts</c>: what the planner chooses for two devices of this machine, after its profiles were corrected by what ran,
/// against every contiguous cut of the model between them, in both orders, each of them run.
/// </summary>
internal static class CutsBench
{
    private const int MostCorrections = 6;

    public static Verb Create(Terminal terminal)
    {
        var model = new Argument<string>("MODEL") { Description = "A model file" };
        var devices = Settings.Text("--devices", "LIST", "Two devices here [default: CPU:0,CPU:1]");
        var sequences = Settings.Whole("--sequences", null, "Sequences at once, half of them in each pass in flight [default: 4]", 2, 256);
        var tokens = Settings.Whole("--tokens", "-n", "Tokens that each generates in a run [default: 32]", 8, 4096);
        var rounds = Settings.Whole("--rounds", null, "Runs of each cut, in turn [default: 5]", 1);
        return new Verb("cuts", "Compare the planner's choice with every contiguous cut between two devices", "ergon dev cuts model.gguf --devices CPU:0,CPU:1 --sequences 4")
        { model, devices, sequences, tokens, rounds }.Does((parsed, cancellation) => RunAsync(terminal, ModelStore.OfUser().Resolve(parsed.GetValue(model)!), parsed.GetValue(devices) ?? "CPU:0,CPU:1",
            parsed.GetValue(sequences) ?? 4, parsed.GetValue(tokens) ?? 32, parsed.GetValue(rounds) ?? 5, cancellation));
    }

    private static async Task<int> RunAsync(Terminal terminal, string path, string names, int sequences, int tokens, int rounds, CancellationToken cancellation)
    {
        var file = PlannedModel.Describe(path);
        var local = PlanDevices.Named(names, null, terminal).Local is { Count: 2 } two ? two : throw new ErgonException($"--devices is '{names}', but must name two devices here, such as CPU:0,CPU:1.");
        var fingerprint = file.File.Fingerprint();
        var options = new PlanOptions { Replans = false, Objective = PlanPolicy.Latency, Prompt = 0, Tokens = tokens };
        var load = new ModelOptions { ContextLength = PipelineBench.PromptTokens + tokens, MaxSequences = sequences };
        ExecutionPlan Cut(int layers, int front) => new(file.Name, Convert.ToHexStringLower(fingerprint), file.LayerCount, sequences / 2, 2, layers == 0
            ? [new("decode", "embedding", "head", local[front].Name)]
            : [new("decode", "embedding", $"{layers - 1}.feedforward", local[front].Name), new("decode", $"{layers}.attention", "head", local[1 - front].Name)]);
        List<(string Name, ExecutionPlan Plan)> cuts = [($"all on {local[0].Name}", Cut(0, 0)), ($"all on {local[1].Name}", Cut(0, 1))];
        for (var front = 0; front < 2; front++)
            cuts.AddRange(Enumerable.Range(1, file.LayerCount - 1).Select(layers => ($"{layers} on {local[front].Name}, {file.LayerCount - layers} on {local[1 - front].Name}", Cut(layers, front))));

        using var planned = new PlannedModel(file, local, load, options with { Plan = Cut(file.LayerCount / 2, 0) });
        planned.Run(path, load, monitor: null, cancellation);
        // Chooses, runs that, learns from it, until the choice stands.
        var seen = new List<ExecutionPlan>();
        while (true)
        {
            await PipelineBench.RateAsync(planned.Model, sequences, tokens, cancellation);
            var (problem, outcome) = planned.Search(local, PlanPolicy.Latency, sequences);
            var next = ExecutionPlan.Of(problem, outcome.Chosen ?? throw new ErgonException(outcome.Reason), fingerprint);
            var repeats = seen.Exists(s => s.Runs.SequenceEqual(next.Runs));
            seen.Add(next);
            await terminal.Out.WriteLineAsync(string.Create(CultureInfo.InvariantCulture, $"choice {seen.Count}: {PlannedModel.Describe(next)}, {next.InFlight} in flight; predicted {1 / outcome.Chosen!.Score.Seconds:F1} t/s; {string.Join(", ", local.Select(d => $"{d.Name} takes {planned.ResidualOf(d.Name).Few:F2} times its profile's time"))}"));
            if (repeats || seen.Count == MostCorrections)
                break;
            await planned.MoveAsync(next, problem);
        }
        cuts.Add(("the planner's choice", seen[^1]));

        var rates = cuts.Select(_ => new List<double>()).ToArray();
        for (var round = 0; round < rounds; round++)
        {
            for (var i = 0; i < cuts.Count; i++)
            {
                cancellation.ThrowIfCancellationRequested();
                // Another order in every round, so that what drifts falls on all.
                var at = (i + (round * cuts.Count / rounds)) % cuts.Count;
                await planned.Model.MoveAsync(new DeviceChange(cuts[at].Plan.Placements(file, name => local.First(d => d.Name == name)), cuts[at].Plan.HasPhases), cancellation: cancellation);
                await planned.Model.KeepInFlightAsync(cuts[at].Plan.InFlight);
                await PipelineBench.RateAsync(planned.Model, sequences, Math.Min(8, tokens), cancellation);
                rates[at].Add(await PipelineBench.RateAsync(planned.Model, sequences, tokens, cancellation));
                terminal.Status($"round {round + 1} of {rounds}, cut {i + 1} of {cuts.Count}", isLast: round == rounds - 1 && i == cuts.Count - 1);
            }
        }
        var medians = rates.Select(r => Median.Of(r)).ToArray();
        Columns.Write(terminal.Out, [["CUT", "MEDIAN t/s", "95 % interval"], .. cuts.Select((c, i) => new[] { c.Name, Text(medians[i].Value), medians[i].Low is { } low ? $"{Text(low)} to {Text(medians[i].High!.Value)}" : "" })]);
        var best = Enumerable.Range(0, cuts.Count - 1).MaxBy(i => medians[i].Value);
        await terminal.Out.WriteLineAsync(string.Create(CultureInfo.InvariantCulture,
            $"the planner's choice has {100 * medians[^1].Value / medians[best].Value:F1} % of the throughput of the best cut, '{cuts[best].Name}'"));
        return Exit.Ok;

        static string Text(double value) => value.ToString("F1", CultureInfo.InvariantCulture);
    }
}
