using System.CommandLine;
using Ergon.Inference;
using Ergon.Reasoning;
using Ergon.Reasoning.Stopping;
using Ergon.Reasoning.Tasks;

namespace Ergon.Cli.Commands;

/// <summary>
/// <c>ergon dev certified</c>: how often stopping rules settle on an answer that is not the model's likeliest, on a model's own draws. Which is the likeliest, other
/// draws show, up to many more: it is known where they certify it at <see cref="Certain"/>. Fails where a certificate is wrong more often than it may be.
/// </summary>
internal static class CertifiedCommand
{
    private const int Rows = 16, Context = 512;
    private const double Certain = 0.001;
    private const ulong OtherDraws = 1_000_003; // added to the seed: of draws, not of problems

    public static Verb Create(Terminal terminal)
    {
        var model = new Argument<string?>("MODEL") { Description = "A path or a pulled name [default: the embedded words-l]", Arity = ArgumentArity.ZeroOrOne };
        var items = Settings.Whole("--items", null, "Problems [default: 150]", 2, 1_000_000);
        var samples = Settings.Whole("--samples", null, "Draws of each that the rules see [default: 64]", 5, 10_000);
        var reference = Settings.Whole("--reference", null, "Other draws of each at most, to know its likeliest answer [default: 256]", 20, 100_000);
        var delta = Settings.Number("--delta", "How often a certificate may be wrong [default: 0.05]", "above 0 and below 1", x => x is > 0 and < 1);
        var seed = Settings.Whole("--seed", "-s", "Seed of problems and draws [default: 99]", 0);
        var engine = new EngineSettings();
        var verb = new Verb("certified", "Count the errors of stopping rules on a model's draws", "ergon dev certified words-m --items 150")
        { model, items, samples, reference, delta, seed };
        engine.AddTo(verb);
        return verb.Does(async (parsed, cancellation) =>
        {
            var task = new WordProblemTask(parsed.GetValue(items) ?? 150, (ulong?)parsed.GetValue(seed) ?? WordProblems.EvaluationSeed);
            var drawSeed = (ulong?)parsed.GetValue(seed) ?? WordProblems.EvaluationSeed;
            var error = Math.Round((double)(parsed.GetValue(delta) ?? 0.05f), 6);
            using var loaded = engine.Load(parsed, terminal, parsed.GetValue(model), Math.Min(Rows, task.Problems.Count), Context, cancellation);
            var certain = new Certificate(Certain);
            var seen = await DrawAsync(terminal, loaded, task, new FixedBudget(), new SolverOptions { Samples = parsed.GetValue(samples) ?? 64, Seed = drawSeed }, cancellation);
            var known = await DrawAsync(terminal, loaded, task, certain, new SolverOptions { Samples = parsed.GetValue(reference) ?? 256, Seed = drawSeed + OtherDraws }, cancellation);
            (LoggedProblem Problem, string? Leader, bool Known)[] problems = [.. task.Problems.Select(p => (
                new LoggedProblem(p.Gold!, [.. seen[p.Id].Draws.Select(d => new LoggedDraw(d.Draw, d.Tokens))]), known[p.Id].Tally.Winner, certain.Stop(known[p.Id].Tally) is not null))];
            return Write(terminal.Out, problems, [new Certificate(error), new AdaptiveConsistency(1 - error), new EarlyStoppingSelfConsistency()], error, known.Values.Average(s => s.Tally.Draws.Count)) ? Exit.Ok : Exit.Failure;
        });
    }

    private static async Task<Dictionary<string, SolvedProblem>> DrawAsync(Terminal terminal, ErgonModel model, WordProblemTask task, IStoppingPolicy policy, SolverOptions options, CancellationToken cancellation)
    {
        Dictionary<string, SolvedProblem> all = [];
        await foreach (var solved in new Solver(model, task, policy, options).RunAsync(cancellation))
        {
            all.Add(solved.Problem.Id, solved);
            terminal.Status($"up to {options.Samples} draws: {all.Count} of {Amount.Count(task.Problems.Count, "problem")}", all.Count == task.Problems.Count);
        }
        return all;
    }

    private static bool Write(TextWriter output, (LoggedProblem Problem, string? Leader, bool Known)[] problems, IStoppingPolicy[] rules, double delta, double reference)
    {
        var known = problems.Count(p => p.Known);
        output.WriteLine(Text($"{Amount.Count(problems.Length, "problem")}, {problems[0].Problem.Draws.Count} draws each; the likeliest answer of {known} is certain at {Certain} after {reference:F0} other draws on average, of {problems.Length - known} it is not"));
        List<string[]> rows = [["rule", "stopped", "wrong", "of all where it is certain", "95 % interval", "not the others' leader, where it is not", "draws"]];
        var held = true;
        foreach (var rule in rules)
        {
            var all = ErrorControl.Count(rule, problems.Select(p => (p.Problem, p.Leader)));
            var sure = ErrorControl.Count(rule, problems.Where(p => p.Known).Select(p => (p.Problem, p.Leader)));
            var (low, high) = known > 0 ? Proportion.Interval(sure.Wrong, known) : (0, 1);
            rows.Add([rule.Name, Text($"{all.Stopped / (double)all.Tasks:P1}"), Text($"{sure.Wrong}"), known > 0 ? Text($"{sure.Wrong / (double)known:P2}") : "-", Text($"{low:P2} to {high:P2}"), Text($"{all.Wrong - sure.Wrong} of {problems.Length - known}"), Text($"{all.MeanDraws:F1}")]);
            held &= rule is not Certificate || low <= delta;
        }
        Columns.Write(output, rows);
        output.WriteLine(Text($"certificates at delta {delta}: {(known == 0 ? "nothing was tested; use more problems" : held ? "held" : "NOT held")}"));
        return held;
    }

    private static string Text(FormattableString text) => FormattableString.Invariant(text);
}
