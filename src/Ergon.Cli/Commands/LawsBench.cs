using System.CommandLine;
using System.Diagnostics;
using Ergon.Cli.Bench;
using Ergon.Cost;
using Ergon.Inference;
using Ergon.Models;
using Ergon.Models.Gguf;
using Ergon.Models.Store;
using Ergon.Reasoning.Scaling;
using Ergon.Runtime;

namespace Ergon.Cli.Commands;

/// <summary>
/// <c>ergon dev laws</c>: time and joules of S draws of T tokens on a shared prompt, of models of several sizes; QEIL's power law in parameters, draws
/// and tokens, and the sum of what passes, bytes and arithmetic take, each with intervals and how far it is off where it was not shown.
/// </summary>
internal static class LawsBench
{
    private const int PromptTokens = 32, Replicates = 400, Worst = 4;

    private static readonly int[] Draws = [1, 2, 4, 8, 16], Tokens = [8, 16, 32];

    public static Verb Create(Terminal terminal)
    {
        var models = new Argument<string[]>("MODEL") { Description = "Models of several sizes; without them the measurements of --points are fitted again", Arity = ArgumentArity.ZeroOrMore };
        var kept = Settings.Text("--points", "FILE", "Keep the measurements there, a line each; those of the same models are replaced");
        var repeats = Settings.Whole("--rounds", null, "How often to measure each, of which the median counts [default: 1]", 1, 100);
        var engine = new EngineSettings();
        var verb = new Verb("laws", "Fit laws of time and joules over models, draws and tokens", "ergon dev laws 125m.gguf 350m.gguf 0.5b.gguf 1b.gguf 2.6b.gguf --points laws.jsonl", "ergon dev laws --points laws.jsonl")
        { models, kept, repeats };
        engine.AddTo(verb);
        return verb.Does(async (parsed, cancellation) =>
        {
            var (files, path) = (parsed.GetValue(models) ?? [], parsed.GetValue(kept));
            if (files.Length == 0 && !File.Exists(path))
                throw new ErgonException(path is null ? "There is nothing to measure or to fit; name MODEL files, or --points FILE with measurements." : $"--points is '{path}', which is not there; name MODEL files to measure.");
            List<LawPoint> points = File.Exists(path) ? LawPoint.Read(path) : [];
            foreach (var file in files)
            {
                var measured = await MeasureAsync(parsed, engine, terminal, ModelStore.OfUser().Resolve(file), parsed.GetValue(repeats) ?? 1, cancellation);
                points = [.. points.Where(p => p.Model != measured[0].Model), .. measured];
                if (path is not null)
                    LawPoint.Write(path, points);
            }
            terminal.Status("", isLast: true);
            Columns.Write(terminal.Out, [["MODEL", "PARAMETERS", "TOKENS", .. Draws.Select(d => $"s, {d} DRAWS")], .. points.GroupBy(p => (p.Model, p.Parameters, p.Tokens)).Select(g =>
                (string[])[g.Key.Model, Amount.Scaled(g.Key.Parameters), Text($"{g.Key.Tokens}"), .. g.OrderBy(p => p.Draws).Select(p => Text($"{p.Seconds:F3}"))])]);
            Write(terminal.Out, "seconds", points, p => p.Seconds, "");
            if (points.TrueForAll(p => p.Joules > 0))
                Write(terminal.Out, "joules", points, p => p.Joules!.Value, $", {string.Join('+', points.Select(p => p.Source).Distinct())}");
            return Exit.Ok;
        });
    }

    private static async Task<List<LawPoint>> MeasureAsync(ParseResult parsed, EngineSettings engine, Terminal terminal, string file, int rounds, CancellationToken cancellation)
    {
        using var monitor = EnergyMonitor.OfMachine();
        using var loaded = engine.Load(parsed, terminal, file, Draws[^1] + 1, PromptTokens + Tokens[^1] + 1, cancellation, monitor);
        var outline = ModelOutline.Of(ModelDescription.Read(GgufFile.Open(file)));
        await DrawAsync(loaded, 2, 8, cancellation);
        List<LawPoint> points = [];
        foreach (var tokens in Tokens)
        {
            foreach (var draws in Draws)
            {
                var (seconds, joules, source) = (new List<double>(), new List<double>(), (string?)null);
                for (var round = 0; round < rounds; round++)
                {
                    var request = monitor.Begin();
                    var began = Stopwatch.GetTimestamp();
                    await DrawAsync(loaded, draws, tokens, cancellation);
                    seconds.Add(Stopwatch.GetElapsedTime(began).TotalSeconds);
                    var receipt = await monitor.EndAsync(request, draws * tokens);
                    source = receipt.Source;
                    if (receipt.Energy is { } energy)
                        joules.Add(energy.Value);
                }
                points.Add(new(Path.GetFileNameWithoutExtension(file), loaded.Description.ParameterCount, draws, tokens, Work.Of(outline, loaded.CacheType, PromptTokens, draws, tokens),
                    Median.Of(seconds).Value, joules.Count < rounds ? null : Median.Of(joules).Value, source));
                terminal.Status($"{Path.GetFileNameWithoutExtension(file)}: {draws} draws of {tokens} tokens", isLast: false);
            }
        }
        return points;
    }

    private static void Write(TextWriter output, string what, List<LawPoint> points, Func<LawPoint, double> y, string source)
    {
        Func<LawPoint, double> Powers(IEnumerable<LawPoint> of) => PowerLaw.Fit([.. of.Select(Sizes)], [.. of.Select(y)]) is var law ? p => law.At(Sizes(p)) : null!;
        Func<LawPoint, double> Sum(IEnumerable<LawPoint> of) => AdditiveLaw.Fit([.. of.Select(p => p.Work.Kinds)], [.. of.Select(y)]) is var law ? p => law.At(p.Work.Kinds) : null!;
        var power = PowerLaw.Fit([.. points.Select(Sizes)], [.. points.Select(y)]);
        var exponents = Bootstrap.Intervals(points.Count, drawn => [.. PowerLaw.Fit([.. drawn.Select(i => Sizes(points[i]))], [.. drawn.Select(i => y(points[i]))]).Exponents], Replicates);
        var sum = AdditiveLaw.Fit([.. points.Select(p => p.Work.Kinds)], [.. points.Select(y)]);
        var coefficients = Bootstrap.Intervals(points.Count, drawn => [.. AdditiveLaw.Fit([.. drawn.Select(i => points[i].Work.Kinds)], [.. drawn.Select(i => y(points[i]))]).Coefficients], Replicates);
        output.WriteLine(Text($"power law{source}: {what} = {power.Factor:G3} x ") + string.Join(" x ", LawPoint.Names.Select((name, i) => Text($"{name}^{power.Exponents[i]:F3} ({exponents[i].Low:F3} to {exponents[i].High:F3})"))));
        output.WriteLine(Text($"sum of work{source}: {what} = ") + string.Join(" + ", Work.Names.Select((name, i) => Text($"{sum.Coefficients[i]:G3} ({coefficients[i].Low:G3} to {coefficients[i].High:G3}) x {name}"))));
        // Each model, each number of draws and each length once left out: what a law says of what it was not shown.
        List<string[]> rows = [["LEFT OUT", "LAW", "MEDIAN ERROR", "WORST", "THE WORST ARE"]];
        for (var i = 0; i < LawPoint.Names.Count; i++)
        {
            foreach (var (name, fit) in new (string, Func<IEnumerable<LawPoint>, Func<LawPoint, double>>)[] { ("power law", Powers), ("sum of work", Sum) })
            {
                var errors = points.GroupBy(p => Sizes(p)[i]).SelectMany(left =>
                {
                    var other = fit(points.Where(p => Sizes(p)[i] != left.Key));
                    return left.Select(p => (Point: p, Error: (other(p) / y(p)) - 1));
                }).OrderByDescending(e => Math.Abs(e.Error)).ToList();
                rows.Add([$"one of the {LawPoint.Names[i]}", name, Text($"{Median.Of(errors.ConvertAll(e => Math.Abs(e.Error))).Value:P1}"), Text($"{Math.Abs(errors[0].Error):P1}"),
                    string.Join(", ", errors.Take(Worst).Select(e => Text($"{e.Point.Model} {e.Point.Draws}x{e.Point.Tokens} {Math.Round(100 * e.Error):+0;-0;0} %")))]);
            }
        }
        Columns.Write(output, rows);
    }

    private static double[] Sizes(LawPoint point) => [point.Parameters, point.Draws, point.Tokens];

    private static Task DrawAsync(ErgonModel model, int draws, int tokens, CancellationToken cancellation) =>
        new SharedDraws(model, [.. Enumerable.Range(0, PromptTokens).Select(i => i * 7919 % model.Description.VocabularySize)], logProbabilities: false).RunAsync(draws, tokens, cancellation);

    private static string Text(FormattableString text) => FormattableString.Invariant(text);
}
