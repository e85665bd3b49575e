using System.CommandLine;
using System.Diagnostics;
using Ergon.Cli.Bench;
using Ergon.Inference;
using Ergon.Runtime;

namespace Ergon.Cli.Commands;

/// <summary>
/// <c>ergon dev draws</c>: what draws 2 to S of one prompt take beside the first, on its cache and in the same passes, against as many requests of
/// their own: one after another, and at once.
/// </summary>
internal static class DrawsBench
{
    private const double Bar = 0.6;

    private sealed record Work(int Prompt, int Tokens, int Draws, int Alone, int Rounds);

    public static Verb Create(Terminal terminal)
    {
        var model = new Argument<string?>("MODEL") { Description = "A path or a pulled name [default: the embedded words-l]", Arity = ArgumentArity.ZeroOrOne };
        var prompt = Settings.Whole("--prompt", "-p", "Tokens of the prompt [default: 300]", 1, 1 << 20);
        var tokens = Settings.Whole("--tokens", "-n", "Tokens of each draw [default: 64]", 2, 1 << 20);
        var draws = Settings.Whole("--draws", null, "Draws [default: 16]", 2, 128);
        var alone = Settings.Whole("--alone", null, "How many of the requests to make one after another; the time of all is scaled from them [default: all]", 1, 128);
        var rounds = Settings.Whole("--rounds", null, "Rounds of all measurements, of which the median counts [default: 3]", 1);
        var engine = new EngineSettings();
        var verb = new Verb("draws", "Measure draws on a shared prompt against requests of their own", "ergon dev draws 1b.gguf -p 300 -n 32 --draws 16")
        { model, prompt, tokens, draws, alone, rounds };
        engine.AddTo(verb);
        return verb.Does(async (parsed, cancellation) =>
        {
            var count = parsed.GetValue(draws) ?? 16;
            var work = new Work(parsed.GetValue(prompt) ?? 300, parsed.GetValue(tokens) ?? 64, count, Math.Min(count, parsed.GetValue(alone) ?? count), parsed.GetValue(rounds) ?? 3);
            using var monitor = EnergyMonitor.OfMachine();
            using var loaded = engine.Load(parsed, terminal, parsed.GetValue(model), count + 1, work.Prompt + work.Tokens + 1, cancellation, monitor);
            return await RunAsync(terminal, loaded, monitor, work, cancellation);
        });
    }

    private static async Task<int> RunAsync(Terminal terminal, ErgonModel model, EnergyMonitor monitor, Work work, CancellationToken cancellation)
    {
        var random = new Random(1);
        int[] prompt = [.. Enumerable.Range(0, work.Prompt).Select(_ => random.Next(model.Description.VocabularySize))];
        var drawn = new SharedDraws(model, prompt, logProbabilities: true);
        List<(string Name, Func<Task> Run, double Scale)> kinds =
        [
            ("1 draw", () => SharedAsync(1), 1),
            ($"{work.Draws} draws, shared prompt", () => SharedAsync(work.Draws), 1),
            ($"{work.Draws} requests, one after another", AloneAsync, work.Draws / (double)work.Alone),
            ($"{work.Draws} requests at once", AtOnceAsync, 1),
        ];
        await SharedAsync(1);
        var (seconds, joules) = (kinds.ConvertAll(_ => new List<double>()), kinds.ConvertAll(_ => new List<double>()));
        string? source = null;
        for (var round = 0; round < work.Rounds; round++)
        {
            for (var i = 0; i < kinds.Count; i++)
            {
                terminal.Status($"round {round + 1}: {kinds[i].Name}", isLast: false);
                var request = monitor.Begin();
                var began = Stopwatch.GetTimestamp();
                await kinds[i].Run();
                seconds[i].Add(Stopwatch.GetElapsedTime(began).TotalSeconds * kinds[i].Scale);
                var receipt = await monitor.EndAsync(request, tokens: 0);
                joules[i].Add(receipt.Energy is { } energy ? energy.Value * kinds[i].Scale : double.NaN);
                source = receipt.Source;
            }
        }
        terminal.Status("", isLast: true);
        var (time, energyOf) = (seconds.ConvertAll(s => Median.Of(s).Value), joules.ConvertAll(j => Median.Of(j).Value));
        List<string[]> rows = [["", "seconds", "joules", "draws 2 to all against the rest of them: time", "joules"]];
        for (var i = 0; i < kinds.Count; i++)
        {
            var part = (work.Draws - 1.0) / work.Draws;
            rows.Add([kinds[i].Name, Text($"{time[i]:F2}"), Text($"{energyOf[i]:F2}"), i < 2 ? "" : Text($"{(time[1] - time[0]) / (part * time[i]):P1}"), i < 2 ? "" : Text($"{(energyOf[1] - energyOf[0]) / (part * energyOf[i]):P1}")]);
        }
        Columns.Write(terminal.Out, rows);
        var worst = (time[1] - time[0]) / ((work.Draws - 1.0) / work.Draws * Math.Min(time[2], time[3]));
        terminal.Out.WriteLine(Text($"prompt {work.Prompt}, {work.Tokens} tokens a draw; {source}; marginal time {worst:P1} of the faster kind of requests: {(worst <= Bar ? "within" : "over")} the bar of {Bar:P0}"));
        return Exit.Ok;

        Task SharedAsync(int draws) => drawn.RunAsync(draws, work.Tokens, cancellation);

        async Task AloneAsync()
        {
            for (var i = 0; i < work.Alone; i++)
            {
                using var session = model.CreateSession();
                await drawn.GenerateAsync(session, i, work.Tokens, cancellation);
            }
        }

        async Task AtOnceAsync()
        {
            Session[] sessions = [.. Enumerable.Range(0, work.Draws).Select(_ => model.CreateSession())];
            try
            {
                await Task.WhenAll(sessions.Select((session, i) => Task.Run(() => drawn.GenerateAsync(session, i, work.Tokens, cancellation), cancellation)));
            }
            finally
            {
                Array.ForEach(sessions, s => s.Dispose());
            }
        }
    }

    private static string Text(FormattableString text) => FormattableString.Invariant(text);
}
