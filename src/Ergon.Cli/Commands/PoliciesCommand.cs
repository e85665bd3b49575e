using System.CommandLine;
using System.Diagnostics;
using Ergon.Inference;
using Ergon.Reasoning;
using Ergon.Reasoning.Cascades;
using Ergon.Reasoning.Scaling;
using Ergon.Reasoning.Selection;
using Ergon.Reasoning.Stopping;
using Ergon.Reasoning.Tasks;
using Ergon.Reasoning.Verifiers;

namespace Ergon.Cli.Commands;

/// <summary><c>ergon dev policies</c>: draws every answer once and asks each policy where it would have stopped, so that all are compared on the same draws; then the coverage laws on them.</summary>
internal static class PoliciesCommand
{
    private const int Rows = 16;
    private const int Context = 512;

    public static Verb Create(Terminal terminal)
    {
        var model = new Argument<string?>("MODEL") { Description = "A path or a pulled name [default: the embedded words-l]", Arity = ArgumentArity.ZeroOrOne };
        var items = Settings.Whole("--items", null, "Problems [default: 500]", 2, 1_000_000);
        var samples = Settings.Whole("--samples", null, "Draws of each [default: 16]", 4, 1000);
        var seed = Settings.Whole("--seed", "-s", "Seed of problems and draws [default: 99]", 0);
        var save = Settings.Text("--save", "FILE", "Fit the cascade's state on these draws and write it");
        var state = Settings.Text("--state", "FILE", "The cascade's state [default: what comes with Ergon]");
        var verifier = Settings.Text("--verifier-model", "MODEL", "Score the draws by this model's likelihood too");
        var uncheck = Settings.Unchecked();
        var engine = new EngineSettings();
        var verb = new Verb("policies", "Compare stopping policies on the same draws of generated problems",
            "ergon dev policies words-m --items 500 --samples 16", "ergon dev policies words-m --seed 7 --save words.json")
        { model, items, samples, seed, save, state, verifier, uncheck };
        engine.AddTo(verb);
        return verb.Does(async (parsed, cancellation) =>
        {
            var count = parsed.GetValue(items) ?? 500;
            using var loaded = engine.Load(parsed, terminal, parsed.GetValue(model), Math.Min(Rows, count), Context, cancellation);
            var drawSeed = (ulong?)parsed.GetValue(seed) ?? WordProblems.EvaluationSeed;
            using var scorer = parsed.GetValue(verifier) is { } other ? VerifierSettings.Load(parsed, terminal, engine, other, VerifyBy.Likelihood, null, Context, cancellation) : null;
            var log = await DrawAsync(terminal, loaded, new WordProblemTask(count, drawSeed, !parsed.GetValue(uncheck)), parsed.GetValue(samples) ?? 16, drawSeed, scorer, cancellation);
            if (parsed.GetValue(save) is { } file)
            {
                CascadeState.Fit(FormattableString.Invariant($"{count} {(parsed.GetValue(uncheck) ? "unchecked " : "")}word problems of seed {drawSeed}, {parsed.GetValue(samples) ?? 16} draws of {Path.GetFileNameWithoutExtension(loaded.Description.File.Path)} each{(scorer is null ? "" : $", scored by {scorer.Name}")}"), log, scorer?.Name).Save(file);
                return Exit.Ok;
            }
            Compare(terminal.Out, loaded, log, parsed.GetValue(samples) ?? 16, parsed.GetValue(state) is { } path ? CascadeState.Load(path) : CascadeState.OfWords());
            return Exit.Ok;
        });
    }

    private static async Task<List<LoggedProblem>> DrawAsync(Terminal terminal, ErgonModel model, WordProblemTask task, int samples, ulong seed, LocalVerifier? verifier, CancellationToken cancellation)
    {
        var began = Stopwatch.GetTimestamp();
        List<LoggedProblem> log = [];
        var items = task.Problems.Count;
        await foreach (var solved in new Solver(model, task, new FixedBudget(), new SolverOptions { Samples = samples, Seed = seed }).RunAsync(cancellation))
        {
            List<LoggedDraw> draws = [];
            foreach (var d in solved.Draws)
            {
                // As a cascade asks: what has an answer and no false step.
                var score = verifier is null || d.Draw.Answer is null || d.Draw.Evidence < 1 ? null : (await verifier.ScoreAsync(solved.Problem, d.Text, cancellation)).Score;
                draws.Add(new LoggedDraw(d.Draw with { Score = score }, d.Tokens, d.FalseAt));
            }
            log.Add(new LoggedProblem(solved.Problem.Gold!, draws));
            terminal.Status($"{log.Count} of {Amount.Count(items, "problem")}", log.Count == items);
        }
        var tokens = log.Sum(p => p.Draws.Sum(d => (long)d.Tokens));
        terminal.Out.WriteLine(Text($"{Amount.Count(items, "problem")} of seed {seed}, {samples} draws each at temperature 0.8: {Amount.Count(tokens, "token")} in {Stopwatch.GetElapsedTime(began).TotalSeconds:F0} s"));
        return log;
    }

    private static void Compare(TextWriter output, ErgonModel model, List<LoggedProblem> log, int samples, CascadeState state)
    {
        var tokens = log.Sum(p => p.Draws.Sum(d => (long)d.Tokens));
        IStoppingPolicy[] policies =
        [
            new FixedBudget(), new Settled(), new EarlyStoppingSelfConsistency(), new AdaptiveConsistency(), new AdaptiveConsistency(0.9), new Prediction(0.02), new Prediction(), new Certificate(),
            new WorthOfDraws(1, 1, 0.005), new BestOfN(), new FirstVerified(acceptEvidence: true), CleanOrGiveUp(0.1), new Cascade(state),
        ];
        List<string[]> rows = [["policy", "accuracy", "95 % interval", "as the full vote", "draws", "tokens"]];
        foreach (var policy in policies)
            rows.Add(Row(policy.Name, ReplayResult.Of(log, policy), tokens));
        var isScored = log.Any(p => p.Draws.Any(d => d.Draw.Score is not null));
        LoggedProblem[] scored = [.. log.Select(p => p.Abandoned)], abandoned = [.. scored.Select(p => p.Unscored)];
        // Their own full vote is another, without the draws that were abandoned.
        foreach (var policy in new IStoppingPolicy[] { new FirstVerified(acceptEvidence: true), CleanOrGiveUp(0.1), new Cascade(state, 1), new Cascade(state) })
            rows.Add(Row($"{policy.Name}, abandoning", ReplayResult.Of(abandoned, policy) with { Agreeing = null }, tokens));
        var (selected, confidences) = Cross(log);
        rows.Add(Row("arde, all draws", selected, tokens));
        if (isScored)
        {
            rows.Add(Row("arde, all draws, without scores", Cross([.. log.Select(p => p.Unscored)]).Result, tokens));
            rows.Add(Row("arde, all draws, one score an answer", Cross([.. log.Select(FirstScores)]).Result, tokens));
            // Each asked about every survivor as it comes.
            rows.Add(Row("cascade, abandoning, scored", ReplayResult.Of(scored, new Cascade(state)) with { Agreeing = null }, tokens));
            output.WriteLine(Text($"the cascade's confidence when it stopped, abandoning, scored: calibration error {Calibration(scored, new Cascade(state), state)}"));
        }
        rows.Add(Row("gold-answer oracle", Oracle(log), tokens));
        Columns.Write(output, rows);
        output.WriteLine(Text($"the cascade's confidence when it stopped, abandoning: calibration error {Calibration(abandoned, new Cascade(state), state)}; its state: {state.Origin}"));
        output.WriteLine(Text($"that state's confidence in full tallies, not abandoning: calibration error {Calibration(log, new FixedBudget(), state)}"));
        output.WriteLine(Text($"arde: fitted on one half, applied to the other and the reverse; calibration error there {confidences}"));
        WriteLaws(output, model, log, samples);
    }

    // Only the first score of each answer.
    private static LoggedProblem FirstScores(LoggedProblem problem)
    {
        HashSet<string> seen = [];
        return problem with { Draws = [.. problem.Draws.Select(d => d.Draw.Score is null || seen.Add(d.Draw.Answer!) ? d : d with { Draw = d.Draw with { Score = null } })] };
    }

    private static FirstOf CleanOrGiveUp(double least) => new(new FirstVerified(acceptEvidence: true), new GiveUp(least));

    private static string Calibration(IEnumerable<LoggedProblem> log, IStoppingPolicy policy, CascadeState state)
    {
        var (predictions, outcomes) = (new List<double>(), new List<bool>());
        foreach (var problem in log)
        {
            var tally = problem.After(Enumerable.Range(1, problem.Draws.Count).First(n => n == problem.Draws.Count || policy.Stop(problem.After(n)) is not null));
            predictions.Add(state.Selector.Confidence(tally));
            outcomes.Add(state.Selector.Choose(tally)?.Answer == problem.Gold);
        }
        return Error(predictions, outcomes);
    }

    private static string Error(List<double> predictions, List<bool> outcomes) => predictions.Count == 0 ? "unknown, there is no answer"
        : Text($"{LogisticModel.CalibrationError(predictions, outcomes):F3} (chance alone gives a perfect one {LogisticModel.ChanceError(predictions):F3})");

    // Each half is judged by a selector that never saw it.
    private static (ReplayResult Result, string CalibrationError) Cross(List<LoggedProblem> log)
    {
        var result = new ReplayResult(0, 0, 0, 0, 0);
        var (predictions, outcomes) = (new List<double>(), new List<bool>());
        for (var half = 0; half < 2; half++)
        {
            var selector = Arde.Fit(log.Where((_, i) => i % 2 != half).Select(p => (p.After(p.Draws.Count), p.Gold))).Selector;
            foreach (var p in log.Where((_, i) => i % 2 == half))
            {
                var tally = p.After(p.Draws.Count);
                var chosen = selector.Choose(tally);
                if (chosen is { } c)
                {
                    predictions.Add(c.Probability);
                    outcomes.Add(c.Answer == p.Gold);
                }
                result = new ReplayResult(result.Problems + 1, result.Right + (chosen?.Answer == p.Gold ? 1 : 0), result.Agreeing + (chosen?.Answer == tally.Winner ? 1 : 0),
                    result.Draws + p.Draws.Count, result.Tokens + p.Draws.Sum(d => (long)d.Tokens));
            }
        }
        return (result, Error(predictions, outcomes));
    }

    private static ReplayResult Oracle(List<LoggedProblem> log) => ReplayResult.Of(
        log.Select(p => p with { Draws = [.. p.Draws.Select(d => d with { Draw = d.Draw with { Verified = d.Draw.Answer == p.Gold } })] }), new FirstVerified());

    private static void WriteLaws(TextWriter output, ErgonModel model, List<LoggedProblem> log, int samples)
    {
        var run = new SampledRun(model.Description.ParameterCount, log.Average(p => p.Draws.Average(d => d.Tokens)), [.. log.Select(p => (bool[])[.. p.Draws.Select(d => d.Draw.Answer == p.Gold)])]);
        List<string[]> rows = [["coverage law", "from", $"of {samples}", "95 % interval", "measured", "error", "parameters"]];
        foreach (var (law, seen) in new[] { samples / 4, samples / 2 }.Where(s => s >= 2).SelectMany(s => Enum.GetValues<CoverageLaw>().Select(law => (law, s))))
        {
            var report = CoverageReport.Of(law, [run], seen, samples);
            var held = report.HeldOut[0];
            rows.Add([law.ToString(), $"first {Amount.Count(seen, "draw")}", Text($"{held.Predicted:P1}"), Text($"{held.Low:P1} to {held.High:P1}"), Text($"{held.Measured:P1}"), Text($"{100 * (held.Predicted - held.Measured):F1} points"), report.Fit.Description]);
        }
        // The same curve without its upper part: what the law gets wrong, apart from what few draws leave to chance.
        foreach (var (law, most) in new[] { samples / 4, samples / 2 }.Where(s => s >= 4).SelectMany(s => Enum.GetValues<CoverageLaw>().Select(law => (law, s))))
        {
            var fit = CoverageFit.OfCurve(law, run, most);
            var (predicted, measured) = (fit.At(run.Parameters, samples, run.Tokens), run.Coverage(samples, samples));
            rows.Add([law.ToString(), $"k <= {most}", Text($"{predicted:P1}"), "", Text($"{measured:P1}"), Text($"{100 * (predicted - measured):F1} points"), fit.Description]);
        }
        Columns.Write(output, rows);
    }

    private static string[] Row(string name, ReplayResult result, long all)
    {
        var (low, high) = Proportion.Interval(result.Right, result.Problems);
        return [name, Text($"{result.Accuracy:P1}"), Text($"{low:P1} to {high:P1}"), result.Agreeing is { } agreeing ? Text($"{agreeing / (double)result.Problems:P1}") : "-", Text($"{result.Draws / (double)result.Problems:F2}"), Text($"{result.Tokens / (double)all:P1}")];
    }

    private static string Text(FormattableString text) => FormattableString.Invariant(text);
}
