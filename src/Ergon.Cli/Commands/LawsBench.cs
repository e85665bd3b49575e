using System.CommandLine;
using System.Diagnostics;
using Ergon.Cli.Bench;
using Ergon.Inference;
using Ergon.Models.Store;
using Ergon.Reasoning.Scaling;
using Ergon.Runtime;

namespace Ergon.Cli.Commands;

/// <summary>
/// <c>ergon dev laws</c>: time and joules of S draws of T tokens on a shared prompt, of models of several sizes; a power law in
/// parameters, draws and tokens with the exponents' intervals, and how far it is off where it was not shown.
/// </summary>
internal static class LawsBench
{
    private const int PromptTokens = 32, Replicates = 400;

    private static readonly string[] Names = ["parameters", "draws", "tokens"];
    private static readonly int[] Draws = [1, 2, 4, 8, 16], Tokens = [8, 16, 32];

    private sealed record Point(string Model, double[] At, double Seconds, double? Joules);

    public static Verb Create(Terminal terminal)
    {
        var models = new Argument<string[]>("MODEL") { Description = "Models of several sizes", Arity = ArgumentArity.OneOrMore };
        var engine = new EngineSettings();
        var verb = new Verb("laws", "Fit power laws of time and joules over models, draws and tokens", "ergon dev laws 125m.gguf 350m.gguf 0.5b.gguf 1b.gguf 2.6b.gguf")
        { models };
        engine.AddTo(verb);
        return verb.Does(async (parsed, cancellation) =>
        {
            var points = new List<Point>();
            var source = "";
            foreach (var model in parsed.GetValue(models)!)
            {
                using var monitor = EnergyMonitor.OfMachine();
                using var loaded = engine.Load(parsed, terminal, ModelStore.OfUser().Resolve(model), Draws[^1] + 1, PromptTokens + Tokens[^1] + 1, cancellation, monitor);
                await DrawAsync(loaded, 2, 8, cancellation);
                foreach (var tokens in Tokens)
                {
                    foreach (var draws in Draws)
                    {
                        var request = monitor.Begin();
                        var began = Stopwatch.GetTimestamp();
                        await DrawAsync(loaded, draws, tokens, cancellation);
                        var seconds = Stopwatch.GetElapsedTime(began).TotalSeconds;
                        var receipt = await monitor.EndAsync(request, draws * tokens);
                        (source, var joules) = (receipt.Source, receipt.Energy?.Value);
                        points.Add(new(loaded.Description.Name, [loaded.Description.ParameterCount, draws, tokens], seconds, joules));
                        terminal.Status($"{Path.GetFileNameWithoutExtension(model)}: {draws} draws of {tokens} tokens", isLast: false);
                    }
                }
            }
            terminal.Status("", isLast: true);
            Columns.Write(terminal.Out, [["MODEL", "PARAMETERS", "TOKENS", .. Draws.Select(d => $"s, {d} DRAWS")], .. points.GroupBy(p => (p.Model, N: p.At[0], T: p.At[2])).Select(g =>
                (string[])[g.Key.Model, Amount.Scaled(g.Key.N), Text($"{g.Key.T:F0}"), .. g.OrderBy(p => p.At[1]).Select(p => Text($"{p.Seconds:F3}"))])]);
            Write(terminal.Out, "seconds", points, p => p.Seconds);
            if (points.TrueForAll(p => p.Joules > 0))
                Write(terminal.Out, $"joules ({source})", points, p => p.Joules!.Value);
            return Exit.Ok;
        });
    }

    private static void Write(TextWriter output, string what, List<Point> points, Func<Point, double> y)
    {
        PowerLaw Fit(IEnumerable<Point> of) => PowerLaw.Fit([.. of.Select(p => p.At)], [.. of.Select(y)]);
        var law = Fit(points);
        var intervals = Bootstrap.Intervals(points.Count, drawn => [.. Fit(drawn.Select(i => points[i])).Exponents], Replicates);
        output.WriteLine(Text($"{what} = {law.Factor:G3} x ") + string.Join(" x ", Names.Select((name, i) => Text($"{name}^{law.Exponents[i]:F3} ({intervals[i].Low:F3} to {intervals[i].High:F3})"))));
        // Each model, each number of draws and each length once left out: what the law says of what it was not shown.
        List<string[]> rows = [["LEFT OUT", "MEDIAN ERROR", "WORST"]];
        for (var i = 0; i < Names.Length; i++)
        {
            var errors = points.GroupBy(p => p.At[i]).SelectMany(left =>
            {
                var other = Fit(points.Where(p => p.At[i] != left.Key));
                return left.Select(p => Math.Abs((other.At(p.At) / y(p)) - 1));
            }).ToList();
            rows.Add([$"one of the {Names[i]}", Text($"{Median.Of(errors).Value:P1}"), Text($"{errors.Max():P1}")]);
        }
        Columns.Write(output, rows);
    }

    private static Task DrawAsync(ErgonModel model, int draws, int tokens, CancellationToken cancellation) =>
        new SharedDraws(model, [.. Enumerable.Range(0, PromptTokens).Select(i => i * 7919 % model.Description.VocabularySize)], logProbabilities: false).RunAsync(draws, tokens, cancellation);

    private static string Text(FormattableString text) => FormattableString.Invariant(text);
}
