using System.Globalization;
using Ergon.Inference;
using Ergon.Models;
using Ergon.Models.Gguf;
using Ergon.Native;
using Ergon.Native.Tensors;
using Xunit.Abstractions;

namespace Ergon.Tests.Inference;

/// <summary>
/// Up to 64 sequences that join, leave, fork and are cancelled as a seed says: each gives the tokens that it gives
/// alone, or parts where the two likeliest are as close as sums in another order round, and nothing of the cache is
/// lost. ERGON_SCHEDULES sets how many schedules (bench/schedules.sh).
/// </summary>
[Collection("clusters")] // one test looks at the threads of all
public sealed class ScheduleTests(ITestOutputHelper output) : IDisposable
{
    private const int Sequences = 64, Prompts = 64, MaxTokens = 24;
    // Products of one row and of several are summed in another order, which F16 keys and values round apart.
    private const float Rounding = 1e-3f;
    private static readonly int Schedules = int.Parse(Environment.GetEnvironmentVariable("ERGON_SCHEDULES") ?? "200", CultureInfo.InvariantCulture);
    private readonly TemporaryFolder _folder = new();

    [Fact]
    public Task A_small_random_model() =>
        RunAsync(new RandomModel("llama", GgmlType.F32) { Layers = 1, Embedding = 64, FeedForward = 128, Heads = 2, HeadsKv = 1 }.Write(_folder.Path), Schedules);

    [Fact]
    public Task The_demonstration_model() =>
        RunAsync(Path.Combine(AppContext.BaseDirectory, "models", "words-s-f16.gguf"), Math.Max(5, Schedules / 50));

    [Theory]
    [InlineData(2)]
    [InlineData(null)]
    public Task A_small_model_on_two_clusters_of_processors(int? inFlight) =>
        RunAsync(new RandomModel("llama", GgmlType.F32) { Layers = 2, Embedding = 64, FeedForward = 128, Heads = 2, HeadsKv = 1 }.Write(_folder.Path), Math.Max(5, Schedules / 5), clusters: true, inFlight);

    private async Task RunAsync(string path, int schedules, bool clusters = false, int? inFlight = null)
    {
        var options = new ModelOptions { ContextLength = 128, MaxSequences = Sequences, CacheLength = Sequences * 100 };
        using var model = ErgonModel.Load(path, clusters ? options with { Placements = Clusters(path) } : options with { Threads = 1 });
        await model.KeepInFlightAsync(inFlight);
        var random = new Random(1);
        int[][] prompts = [.. Enumerable.Range(0, Prompts).Select(_ => Enumerable.Range(0, random.Next(1, 60)).Select(_ => random.Next(3, model.Description.VocabularySize)).ToArray())];
        var alone = new int[Prompts][];
        for (var i = 0; i < Prompts; i++)
        {
            using var session = model.CreateSession();
            alone[i] = await GenerateAsync(session, prompts[i], MaxTokens, int.MaxValue);
        }

        long tokens = 0, generations = 0, parted = 0;
        var widest = 0f;
        for (var seed = 0; seed < schedules; seed++)
        {
            var schedule = new Random(seed);
            var running = Enumerable.Range(0, schedule.Next(2, Sequences / 2 + 1))
                .Select(_ => RunOneAsync(schedule.Next(Prompts), schedule.Next(1, MaxTokens + 1), schedule.Next(4) == 0 ? schedule.Next(MaxTokens) : int.MaxValue, schedule.Next(3) == 0, schedule.Next(4)))
                .ToArray();
            foreach (var (prompt, generated) in (await Task.WhenAll(running)).SelectMany(r => r))
            {
                tokens += generated.Length;
                generations++;
                var same = generated.AsSpan().CommonPrefixLength(alone[prompt]);
                if (same == generated.Length)
                    continue;
                parted++;
                var gap = await GapAsync(model, [.. prompts[prompt], .. generated[..same]]);
                widest = Math.Max(widest, gap);
                Assert.True(gap < Rounding, $"seed {seed}, prompt {prompt}: token {same} differs, though the two likeliest are {gap} apart");
            }
            Assert.Equal(0, await model.InvokeAsync(e => e.Cells.Capacity - e.Cells.Free));
        }
        output.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{Path.GetFileName(path)}: {schedules} schedules, {generations} generations, {tokens} tokens; {parted} parted from their solo run, at most {widest:F4} between the two likeliest"));

        // A sequence, and perhaps a fork of it that takes the rest over.
        async Task<List<(int Prompt, int[] Tokens)>> RunOneAsync(int prompt, int count, int cancelAfter, bool fork, int delay)
        {
            for (; delay > 0; delay--)
                await Task.Yield();
            using var session = model.CreateSession();
            var first = await GenerateAsync(session, prompts[prompt], fork ? Math.Max(1, count / 2) : count, cancelAfter);
            List<(int, int[])> results = [(prompt, first)];
            if (fork && first.Length < MaxTokens)
            {
                using var other = await session.ForkAsync();
                var rest = await GenerateAsync(other, [.. prompts[prompt], .. first], Math.Min(count, MaxTokens - first.Length), int.MaxValue);
                results.Add((prompt, [.. first, .. rest]));
            }
            return results;
        }
    }

    private static Placement[] Clusters(string path)
    {
        var model = ModelDescription.Read(GgufFile.Open(path));
        var cpu = NativeDevice.All().First(d => d.Kind == NativeDeviceKind.Cpu);
        return [.. Enumerable.Range(0, 2).Select(i => new Placement(cpu, StageRange.OfLayers(model, i, i + 1), 1, [i % Environment.ProcessorCount]))];
    }

    private static async Task<int[]> GenerateAsync(Session session, int[] prompt, int count, int cancelAfter)
    {
        var tokens = new List<int>();
        using var stop = new CancellationTokenSource();
        try
        {
            await foreach (var token in session.GenerateAsync(prompt, new GenerationOptions { MaxTokens = count, IgnoreEndOfGeneration = true }, stop.Token))
            {
                if (token.Id >= 0)
                    tokens.Add(token.Id);
                if (tokens.Count > cancelAfter)
                    await stop.CancelAsync();
            }
        }
        catch (OperationCanceledException)
        {
        }
        return [.. tokens];
    }

    private static Task<float> GapAsync(ErgonModel model, int[] tokens) => model.InvokeAsync(engine =>
    {
        var sequence = engine.Cells.Open()!.Value;
        engine.TryRun([.. tokens.Select((t, i) => new PassRow(sequence, t, i == tokens.Length - 1))], out var logits);
        var top = logits.ToArray().OrderDescending().Take(2).ToArray();
        engine.Cells.Close(sequence);
        return top[0] - top[1];
    });

    public void Dispose() => _folder.Dispose();
}
