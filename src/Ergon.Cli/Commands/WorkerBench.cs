using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using Ergon.Inference;
using Ergon.Models.Store;
using Ergon.Runtime.Workers;

namespace Ergon.Cli.Commands;

/// <summary>
/// <c>ergon dev worker-bench</c>: generations in a worker that is killed and made to fail an assertion in the midst of
/// each, compared token by token with the same generations undisturbed in this process.
/// </summary>
internal static class WorkerBench
{
    private const int PromptTokens = 64, AnswerTokens = 128, Seed = 1;

    // The bar of the worker host: from a worker's death to the next token of its generation.
    private static readonly TimeSpan RestartBar = TimeSpan.FromSeconds(2);

    public static Verb Create(Terminal terminal)
    {
        var model = new Argument<string?>("MODEL") { Description = "A model", Arity = ArgumentArity.ZeroOrOne };
        var count = Settings.Whole("--generations", null, "How many [default: 100]", 1);
        var threads = Settings.Whole("--threads", "-t", "CPU threads [default: one per physical core]", 1, 512);
        return new Verb("worker-bench", "Kill a worker in the midst of generations and compare the answers", "ergon dev worker-bench words-l --generations 100")
        {
            model, count, threads,
        }.Does((parsed, cancellation) => RunAsync(terminal, ModelStore.OfUser().Resolve(parsed.GetValue(model) ?? ModelStore.DefaultModel), parsed.GetValue(count) ?? 100, parsed.GetValue(threads), cancellation));
    }

    private static async Task<int> RunAsync(Terminal terminal, string path, int count, int? threads, CancellationToken cancellation)
    {
        var options = new ModelOptions { Threads = threads, ContextLength = PromptTokens + AnswerTokens };
        using var undisturbed = ErgonModel.Load(path, options, cancellation);
        await using var host = await WorkerHost.StartAsync(path, options, new WorkerOptions { Command = [.. Self.Command(), "dev", "worker", "--faults"], MaxRestarts = 5 }, cancellation);
        using var there = host.CreateSession();
        using var here = undisturbed.CreateSession();
        var random = new Random(Seed);
        int complete = 0, identical = 0, kills = 0, asserts = 0;
        TimeSpan worst = default, total = default, worstLoad = default;
        for (var i = 0; i < count; i++)
        {
            int[] prompt = [.. Enumerable.Range(0, PromptTokens).Select(_ => random.Next(undisturbed.Description.VocabularySize))];
            var generation = new GenerationOptions
            {
                MaxTokens = AnswerTokens,
                IgnoreEndOfGeneration = true,
                // Every other one draws.
                Sampling = i % 2 == 0 ? new() : SamplingOptions.Whole(1, (uint)i),
            };
            var expected = new List<int>();
            await foreach (var token in here.GenerateAsync(prompt, generation, cancellation))
                Add(expected, token);
            var failsAt = random.Next(1, AnswerTokens / 2);
            var given = new List<int>();
            await foreach (var token in there.GenerateAsync(prompt, generation, cancellation))
            {
                Add(given, token);
                if (given.Count != failsAt)
                    continue;
                if (random.Next(2) == 0)
                {
                    host.Inject(WorkerFault.Assert);
                    asserts++;
                }
                else if (host.ProcessId is { } id)
                {
                    Process.GetProcessById(id).Kill();
                    kills++;
                }
            }
            var statistics = there.Statistics!;
            complete += statistics.Generation.CompletionTokens == AnswerTokens ? 1 : 0;
            identical += given.SequenceEqual(expected) ? 1 : 0;
            total += statistics.TimeLost;
            worst = Max(worst, statistics.TimeLost);
            worstLoad = Max(worstLoad, host.LastRestart);
        }
        await terminal.Out.WriteLineAsync(string.Create(CultureInfo.InvariantCulture,
            $"""
            model          {Path.GetFileName(path)}, {host.Threads} threads on {host.Device}
            generations    {count} of {AnswerTokens} tokens, {complete} complete, {identical} identical
            faults         {kills} SIGKILL, {asserts} GGML_ASSERT, {host.Restarts} restarts
            death to token {(host.Restarts > 0 ? total.TotalMilliseconds / host.Restarts : 0):F0} ms mean, {worst.TotalMilliseconds:F0} ms worst (bar {RestartBar.TotalMilliseconds:F0})
            death to model {worstLoad.TotalMilliseconds:F0} ms worst
            """));
        return complete == count && identical == count && worst <= RestartBar ? Exit.Ok : Exit.Failure;
    }

    private static void Add(List<int> tokens, GeneratedToken token)
    {
        if (token.Id >= 0)
            tokens.Add(token.Id);
    }

    private static TimeSpan Max(TimeSpan a, TimeSpan b) => a > b ? a : b;
}
