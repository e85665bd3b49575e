using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using Ergon.Cli.Bench;
using Ergon.Inference;
using Ergon.Models;
using Ergon.Models.Gguf;
using Ergon.Models.Store;
using Ergon.Native.Tensors;

namespace Ergon.Cli.Commands;

/// <summary>
/// <c>ergon dev pipeline</c>: a model cut between two clusters of processors, at each layer in turn: tokens a second of
/// several sequences while the clusters take turns, while each has a pass of a part of the sequences, and while the
/// batcher chooses.
/// </summary>
internal static class PipelineBench
{
    /// <summary>Tokens of the prompts.</summary>
    public const int PromptTokens = 8;

    private sealed record Work(string Path, int[][] Clusters, int Sequences, int Tokens, int Pairs, int Step);

    public static Verb Create(Terminal terminal)
    {
        var model = new Argument<string?>("MODEL") { Description = "A model", Arity = ArgumentArity.ZeroOrOne };
        var clusters = Settings.Text("--clusters", "LIST", "Two lists of processors, such as 0-3/4-7 [default: 0/1]");
        var sequences = Settings.Whole("--sequences", null, "Sequences at once [default: 4]", 1, 256);
        var tokens = Settings.Whole("--tokens", "-n", "Tokens that each generates in a run [default: 32]", 2, 4096);
        var pairs = Settings.Whole("--pairs", null, "Runs of each kind in turn, for each cut [default: 6]", 1);
        var step = Settings.Whole("--step", null, "Cut at every such layer [default: 1]", 1);
        return new Verb("pipeline", "Measure passes in flight on two clusters of processors against turns", "ergon dev pipeline model.gguf --clusters 0/1 --sequences 4")
        {
            model, clusters, sequences, tokens, pairs, step,
        }.Does((parsed, cancellation) => RunAsync(terminal, new Work(ModelStore.OfUser().Resolve(parsed.GetValue(model) ?? ModelStore.DefaultModel), Clusters(parsed.GetValue(clusters) ?? "0/1"),
            parsed.GetValue(sequences) ?? 4, parsed.GetValue(tokens) ?? 32, parsed.GetValue(pairs) ?? 6, parsed.GetValue(step) ?? 1), cancellation));
    }

    private static int[][] Clusters(string text)
    {
        try
        {
            int[][] clusters = [.. text.Split('/').Select(list => list.Split(',').SelectMany(Range).ToArray())];
            if (clusters.Length == 2 && clusters.SelectMany(c => c).Distinct().Count() == clusters.Sum(c => c.Length))
                return clusters;
        }
        catch (FormatException)
        {
        }
        throw new ErgonException($"--clusters is '{text}', but must be two lists of processors with none in common, such as 0-3/4-7.");

        static IEnumerable<int> Range(string part)
        {
            int[] ends = [.. part.Split('-').Select(n => int.Parse(n, NumberStyles.None, CultureInfo.InvariantCulture))];
            return ends.Length <= 2 && ends[^1] is < 512 && ends[0] <= ends[^1] ? Enumerable.Range(ends[0], ends[^1] - ends[0] + 1) : throw new FormatException();
        }
    }

    private static async Task<int> RunAsync(Terminal terminal, Work work, CancellationToken cancellation)
    {
        var model = ModelDescription.Read(GgufFile.Open(work.Path));
        var together = work.Clusters.SelectMany(c => c).ToArray();
        await terminal.Out.WriteLineAsync(string.Create(CultureInfo.InvariantCulture,
            $"{Path.GetFileName(work.Path)}, {model.LayerCount} layers, {work.Sequences} sequences of {work.Tokens} tokens, {Amount.Count(work.Pairs, "pair")} a cut"));
        using (var whole = Load(work, [new Placement(Cpu, StageRange.Whole(model), together.Length, together)]))
        {
            await RateAsync(whole, work, cancellation);
            var rates = new List<double>();
            for (var i = 0; i < work.Pairs; i++)
                rates.Add(await RateAsync(whole, work, cancellation));
            await terminal.Out.WriteLineAsync(string.Create(CultureInfo.InvariantCulture, $"one device of all processors: {Median.Of(rates).Value:F1} t/s"));
        }
        List<string[]> rows = [["layers", "turns t/s", "in flight t/s", "ratio", "95 % interval", "chosen t/s", "ratio", "95 % interval"]];
        int?[] kinds = [1, work.Clusters.Length, null];
        for (var cut = work.Step; cut < model.LayerCount; cut += work.Step)
        {
            using var loaded = Load(work, [On(0, 0, cut), On(1, cut, model.LayerCount)]);
            var rates = new double[kinds.Length, work.Pairs];
            for (var pair = -1; pair < work.Pairs; pair++)
            {
                // The first warms up and lets the choice be made; then another kind goes first each time.
                for (var i = 0; i < kinds.Length; i++)
                {
                    var kind = (pair + 1 + i) % kinds.Length;
                    await loaded.KeepInFlightAsync(kinds[kind]);
                    var rate = await RateAsync(loaded, work, cancellation);
                    if (pair >= 0)
                        rates[kind, pair] = rate;
                }
            }
            rows.Add([$"{cut}+{model.LayerCount - cut}", Text(Of(0).Value, "F1"), .. Against(1), .. Against(2)]);
            terminal.Status($"{cut} of {model.LayerCount - 1}", isLast: cut + work.Step >= model.LayerCount);

            Median Of(int kind) => Median.Of(Enumerable.Range(0, work.Pairs).Select(pair => rates[kind, pair]));

            string[] Against(int kind)
            {
                var ratio = Median.Of(Enumerable.Range(0, work.Pairs).Select(pair => rates[kind, pair] / rates[0, pair]));
                return [Text(Of(kind).Value, "F1"), Text(ratio.Value, "F3"), ratio.Low is { } low ? $"{Text(low, "F3")} to {Text(ratio.High!.Value, "F3")}" : ""];
            }
        }
        Columns.Write(terminal.Out, [.. rows]);
        return Exit.Ok;

        Placement On(int cluster, int first, int end) => new(Cpu, StageRange.OfLayers(model, first, end), work.Clusters[cluster].Length, work.Clusters[cluster]);
        static string Text(double value, string format) => value.ToString(format, CultureInfo.InvariantCulture);
    }

    private static NativeDevice Cpu => NativeDevice.All().First(d => d.Kind == NativeDeviceKind.Cpu);

    private static ErgonModel Load(Work work, IReadOnlyList<Placement> placements) =>
        ErgonModel.Load(work.Path, new ModelOptions { Engine = EngineChoice.Ergon, Placements = placements, ContextLength = PromptTokens + work.Tokens, MaxSequences = work.Sequences });

    private static Task<double> RateAsync(ErgonModel model, Work work, CancellationToken cancellation) => RateAsync(model, work.Sequences, work.Tokens, cancellation);

    /// <summary>Tokens a second of several sequences together, their short prompts included.</summary>
    public static async Task<double> RateAsync(ErgonModel model, int sequences, int tokens, CancellationToken cancellation)
    {
        var sessions = Enumerable.Range(0, sequences).Select(_ => model.CreateSession()).ToArray();
        var began = Stopwatch.GetTimestamp();
        await Task.WhenAll(sessions.Select(async (session, i) =>
        {
            await foreach (var _ in session.GenerateAsync([.. Enumerable.Range(10 + i, PromptTokens)], new GenerationOptions { MaxTokens = tokens, IgnoreEndOfGeneration = true }, cancellation))
            {
            }
        }));
        var elapsed = Stopwatch.GetElapsedTime(began);
        foreach (var session in sessions)
            session.Dispose();
        return sequences * tokens / elapsed.TotalSeconds;
    }
}
