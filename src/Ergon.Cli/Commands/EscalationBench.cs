using System.CommandLine;
using System.Diagnostics;
using Ergon.Models.Store;
using Ergon.Reasoning;
using Ergon.Reasoning.Cascades;
using Ergon.Reasoning.Selection;
using Ergon.Reasoning.Stopping;
using Ergon.Reasoning.Tasks;
using Ergon.Reasoning.Verifiers;
using Ergon.Runtime;

namespace Ergon.Cli.Commands;

/// <summary><c>ergon dev escalation</c>: held-out word problems by each of several models alone, by one whose draws the largest scores, and by a cascade that escalates from the smallest to the largest: accuracy, tokens and joules.</summary>
internal static class EscalationBench
{
    private const int Rows = 8, Context = 512;

    public static Verb Create(Terminal terminal)
    {
        var models = new Argument<string[]>("MODELS") { Description = "Paths or pulled names, the smallest first [default: words-s words-m words-l]", Arity = ArgumentArity.ZeroOrMore };
        var items = Settings.Whole("--items", null, "Problems [default: 200]", 2, 1_000_000);
        var samples = Settings.Whole("--samples", null, "Draws of each at most [default: 16]", 2, 1000);
        var seed = Settings.Whole("--seed", "-s", "Seed of problems and draws [default: 99]", 0);
        var by = Settings.Choice<VerifyBy>("--verify-by", "How the largest is asked what it thinks of the others' draws [default: likelihood]");
        var begin = Settings.Text("--state", "FILE", "What each cascade begins with; of 'ergon dev policies --save' [default: what comes with Ergon]");
        var uncheck = Settings.Unchecked();
        var engine = new EngineSettings();
        var verb = new Verb("escalation", "Compare models alone with a cascade over them, and with the largest as a verifier", "ergon dev escalation words-s words-m words-l --items 200")
        { models, items, samples, seed, by, begin, uncheck };
        engine.AddTo(verb);
        return verb.Does(async (parsed, cancellation) =>
        {
            string[] names = parsed.GetValue(models) is { Length: > 0 } given ? given : ["words-s", "words-m", "words-l"];
            var problems = new WordProblemTask(parsed.GetValue(items) ?? 200, (ulong?)parsed.GetValue(seed) ?? WordProblems.EvaluationSeed, !parsed.GetValue(uncheck));
            var options = new SolverOptions { Samples = parsed.GetValue(samples) ?? 16, Seed = (ulong?)parsed.GetValue(seed) ?? WordProblems.EvaluationSeed };
            Rung[] rungs = [.. names.Select(name => Rung(terminal, parsed, engine, name, cancellation))];
            List<string[]> rows = [["models", "policy", "accuracy", "95 % interval", "tokens", "joules", "J a problem", "checks", "J of those", "seconds", "calibration error"]];
            foreach (var rung in rungs)
            {
                rows.Add(await RowAsync([rung], "majority", _ => new FixedBudget(), options));
                rows.Add(await RowAsync([rung], "cascade", null, options with { AbandonFalse = true }));
            }
            // The largest only reads what others wrote.
            foreach (var rung in rungs.SkipLast(1))
                rows.Add(await VerifiedAsync([rung]));
            rows.Add(await RowAsync(rungs, "cascade", null, options with { AbandonFalse = true }));
            if (rungs.Length > 1)
                rows.Add(await VerifiedAsync(rungs));
            Columns.Write(terminal.Out, rows);
            return Exit.Ok;

            async Task<string[]> VerifiedAsync(Rung[] ladder)
            {
                using var verifier = VerifierSettings.Load(parsed, terminal, engine, names[^1], parsed.GetValue(by) ?? VerifyBy.Likelihood, EnergyMonitor.OfMachine(), Context, cancellation);
                return await RowAsync(ladder, $"cascade, {verifier.Name}", null, options with { AbandonFalse = true, Verifier = verifier });
            }

            async Task<string[]> RowAsync(Rung[] ladder, string policy, Func<Cascade, IStoppingPolicy>? make, SolverOptions how)
            {
                // Each begins alike, and learns on its way.
                var state = parsed.GetValue(begin) is { } file ? CascadeState.Load(file) : CascadeState.OfWords();
                var (began, done, right, tokens, joules) = (Stopwatch.GetTimestamp(), 0, 0, 0L, (double?)0);
                var (checks, checking) = (0, (double?)0);
                var (predictions, outcomes, asked) = (new List<double>(), new List<bool>(), new int[ladder.Length]);
                await foreach (var solved in new Escalation(ladder, problems, make ?? (cascade => cascade), state, how).RunAsync(cancellation))
                {
                    right += solved.Final.Right ? 1 : 0;
                    tokens += solved.Rungs.Sum(r => r.Tokens);
                    asked[solved.Rungs.Count - 1]++;
                    foreach (var rung in solved.Rungs)
                    {
                        joules += rung.Energy?.Value;
                        var check = rung.Stages.Single(s => s.Stage == Stage.Verification);
                        checks += check.Count;
                        checking += check.Energy?.Value;
                    }
                    predictions.Add(solved.Confidence);
                    outcomes.Add(solved.Final.Right);
                    terminal.Status($"{string.Join('+', ladder.Select(r => r.Name))}, {policy}: {++done} of {problems.Problems.Count}", done == problems.Problems.Count);
                }
                var (low, high) = Proportion.Interval(right, outcomes.Count);
                var where = ladder.Length == 1 ? ladder[0].Name : string.Join(" > ", ladder.Select((r, i) => $"{r.Name} ({asked[i]})"));
                return [where, policy, Text($"{right / (double)outcomes.Count:P1}"), Text($"{low:P1} to {high:P1}"), Text($"{tokens}"), Text($"{joules:F1}"), Text($"{joules / outcomes.Count:F3}"), Text($"{checks}"), Text($"{checking:F2}"),
                    Text($"{Stopwatch.GetElapsedTime(began).TotalSeconds:F1}"), Text($"{LogisticModel.CalibrationError(predictions, outcomes):F3}")];
            }
        });
    }

    private static Rung Rung(Terminal terminal, ParseResult parsed, EngineSettings engine, string name, CancellationToken cancellation)
    {
        var path = ModelStore.OfUser().Resolve(name);
        return new Rung(Path.GetFileNameWithoutExtension(path), new FileInfo(path).Length, () =>
        {
            var monitor = EnergyMonitor.OfMachine();
            var model = engine.Load(parsed, terminal, name, Rows, Context, cancellation, monitor);
            return new OpenRung(model, monitor.Open, [model, monitor]);
        });
    }

    private static string Text(FormattableString text) => FormattableString.Invariant(text);
}
