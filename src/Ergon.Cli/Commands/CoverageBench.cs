using System.CommandLine;
using Ergon.Reasoning.Evaluation;
using Ergon.Reasoning.Scaling;

namespace Ergon.Cli.Commands;

/// <summary><c>ergon dev coverage</c>: what each law of coverage, shown few of the draws of an evaluation's journal, says of two and four times as many.</summary>
internal static class CoverageBench
{
    private const int Fewest = 4;

    public static Verb Create(Terminal terminal)
    {
        var journals = new Argument<string[]>("JOURNAL") { Description = "Files of 'ergon eval --out', with 8 samples or more", Arity = ArgumentArity.OneOrMore };
        return new Verb("coverage", "Compare laws of coverage on the draws of evaluations", "ergon dev coverage words-s.jsonl words-m.jsonl") { journals }.Does((parsed, cancellation) =>
        {
            var laws = Enum.GetValues<CoverageLaw>();
            List<string[]> rows = [["JOURNAL", "SHOWN", "OF", "MEASURED", .. laws.Select(l => l.ToString())]];
            foreach (var path in parsed.GetValue(journals)!)
            {
                var run = Read(path);
                var all = run.Tasks[0].Length;
                for (var shown = Fewest; 2 * shown <= all; shown *= 2)
                {
                    foreach (var asked in new[] { 2 * shown, 4 * shown }.Where(a => a <= all))
                    {
                        cancellation.ThrowIfCancellationRequested();
                        var curve = run.Coverage(asked, all);
                        rows.Add(Row(path, $"curve to {shown}", asked, curve, law => CoverageFit.OfCurve(law, run, shown)));
                        rows.Add(Row(path, $"first {shown}", asked, run.Coverage(asked, asked), law => CoverageFit.Fit(law, [run], shown)));
                    }
                }
            }
            Columns.Write(terminal.Out, rows);
            return Task.FromResult(Exit.Ok);

            string[] Row(string path, string shown, int asked, double measured, Func<CoverageLaw, CoverageFit> fit) =>
                [Path.GetFileNameWithoutExtension(path), shown, $"{asked}", Text($"{measured:P1}"), .. laws.Select(l => Text($"{Math.Round(100 * (fit(l).At(1, asked, 1) - measured), 1):+0.0;-0.0;0.0}"))];
        });
    }

    // Problems that have all draws; of one model, so that its size tells a law nothing.
    private static SampledRun Read(string path)
    {
        var (settings, draws) = EvaluationJournal.Load(path);
        if (settings.Policy is { } policy)
            throw new ErgonException($"'{path}' has the draws that the policy {policy} left; use 'ergon eval' with a policy that makes all draws.");
        if (settings.Samples < 2 * Fewest)
            throw new ErgonException($"'{path}' has {settings.Samples} draws a problem, but {2 * Fewest} are needed; use 'ergon eval --samples 16' or more.");
        bool[][] tasks = [.. draws.GroupBy(d => d.Item).Where(g => g.Count() == settings.Samples).Select(g => (bool[])[.. g.Select(d => d.Right)])];
        return tasks.Length > 0 ? new SampledRun(1, 1, tasks) : throw new ErgonException($"'{path}' has no problem with all its draws; let 'ergon eval' go on.");
    }

    private static string Text(FormattableString text) => FormattableString.Invariant(text);
}
