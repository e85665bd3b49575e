using System.Globalization;
using Ergon.Reasoning;
using Ergon.Reasoning.Stopping;

namespace Ergon.Cli.Commands;

/// <summary><c>ergon dev certificates</c>: how often stopping rules settle on the wrong answer when they look after every draw; fails where a certificate is wrong more often than it may be.</summary>
internal static class CertificatesCommand
{
    private const int OpenAnswers = 200;

    public static Verb Create(Terminal terminal)
    {
        var tasks = Settings.Whole("--tasks", null, "Simulated tasks in all [default: 100000]", 100);
        var budget = Settings.Whole("--budget", null, "Draws at most for a task [default: 100]", 1, 10_000);
        var delta = Settings.Number("--delta", "How often a certificate may be wrong [default: 0.05]", "above 0 and below 1", x => x is > 0 and < 1);
        var seed = Settings.Whole("--seed", "-s", "Seed of tasks and draws [default: 1]", 0);
        return new Verb("certificates", "Count the errors of stopping rules on simulated tasks", "ergon dev certificates --tasks 100000")
        { tasks, budget, delta, seed }.Does((parsed, cancellation) => Task.FromResult(Run(terminal.Out, parsed.GetValue(tasks) ?? 100_000, parsed.GetValue(budget) ?? 100,
            Math.Round((double)(parsed.GetValue(delta) ?? 0.05f), 6), parsed.GetValue(seed) ?? 1, cancellation)));
    }

    private static int Run(TextWriter output, int tasks, int budget, double delta, int seed, CancellationToken cancellation)
    {
        int?[] sets = [2, 3, 5, 10, null];
        var spreads = Enum.GetValues<ErrorControl.Spread>();
        var share = (tasks + (sets.Length * spreads.Length) - 1) / (sets.Length * spreads.Length);
        var held = true;
        List<string[]> rows = [["options", "spread", "tasks", "rule", "stopped", "wrong", "95 % interval", "draws"]];
        foreach (var options in sets)
        {
            // Rules that stop alike on what they count; prediction is not one: it foretells a vote, not the likeliest answer.
            IStoppingPolicy[] rules = [new Certificate(delta, options), new AdaptiveConsistency(1 - delta), new EarlyStoppingSelfConsistency()];
            foreach (var spread in spreads)
            {
                var counts = ErrorControl.Count(rules, spread, options ?? OpenAnswers, share, budget, seed++, cancellation);
                for (var i = 0; i < rules.Length; i++)
                {
                    var (low, high) = Proportion.Interval(counts[i].Wrong, counts[i].Tasks);
                    rows.Add([options?.ToString(CultureInfo.InvariantCulture) ?? "open", spread.ToString(), Text($"{share}"), rules[i].Name, Text($"{counts[i].Stopped / (double)share:P2}"),
                        Text($"{counts[i].WrongShare:P2}"), Text($"{low:P2} to {high:P2}"), Text($"{counts[i].MeanDraws:F1}")]);
                }
                // Wrong beyond doubt: the whole interval above delta.
                held &= Proportion.Interval(counts[0].Wrong, counts[0].Tasks).Low <= delta;
            }
        }
        Columns.Write(output, rows);
        output.WriteLine(Text($"simulated; certificates at delta {delta}, up to {budget} draws, looked at after each: {(held ? "held" : "NOT held")}"));
        return held ? Exit.Ok : Exit.Failure;
    }

    private static string Text(FormattableString text) => FormattableString.Invariant(text);
}
