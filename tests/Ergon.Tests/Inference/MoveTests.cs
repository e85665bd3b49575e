using Ergon.Inference;
using Ergon.Models;
using Ergon.Models.Gguf;
using Ergon.Native;
using Ergon.Native.Tensors;

namespace Ergon.Tests.Inference;

/// <summary>Devices that change while generations are under way: each gives the tokens that it gives on one device.</summary>
[Collection("clusters")] // one test looks at the threads of all
public sealed class MoveTests : IDisposable
{
    private const int Live = 20, Tokens = 48;
    private readonly TemporaryFolder _folder = new();
    private readonly int[][] _prompts = [.. Enumerable.Range(0, Live).Select(i => new Random(i).GetItems(Enumerable.Range(3, 240).ToArray(), 3 + (7 * i)))];

    [Theory]
    [InlineData("llama", 256)]
    [InlineData("gemma3", 256)]
    [InlineData("gemma3", 2048)] // windows have regions of their own
    [InlineData("lfm2", 2048)]
    public async Task A_change_of_devices_in_the_middle_of_20_generations_loses_and_changes_no_token(string architecture, int context)
    {
        var path = new RandomModel(architecture, GgmlType.F32) { Context = context }.Write(_folder.Path);
        var described = ModelDescription.Read(GgufFile.Open(path));
        var expected = await AloneAsync(path);
        using var model = ErgonModel.Load(path, new ModelOptions { Placements = Clusters(described, 1), ContextLength = context, MaxSequences = Live + 3, CacheLength = Math.Max(context, (Live + 3) * 256) });
        // One session rests meanwhile, and a fork shares its cache.
        using var resting = model.CreateSession();
        var before = await RunAsync(resting, _prompts[5], Tokens / 2);
        using var fork = await resting.ForkAsync();
        Placement[][] plans = [Clusters(described, 2), [Whole(described)], [Whole(described) with { Cpus = [0] }], Clusters(described, 1)];
        using var passed = new SemaphoreSlim(0);
        model.PassCompleted += _ => passed.Release();
        var sessions = Enumerable.Range(0, Live).Select(_ => model.CreateSession()).ToArray();
        var running = sessions.Select((s, i) => RunAsync(s, _prompts[i], Tokens)).ToArray();
        foreach (var plan in plans)
        {
            // In the middle of prompts at first, of answers later.
            for (var i = 0; i < 9; i++)
                Assert.True(await passed.WaitAsync(TimeSpan.FromSeconds(20)));
            await model.MoveAsync(new DeviceChange(plan));
            Assert.Equal(plan, model.Placements);
        }
        Assert.Contains(running, task => !task.IsCompleted);
        await SameAsync(model, expected, await Task.WhenAll(running));
        var rest = await RunAsync(resting, [.. _prompts[5], .. before], Tokens / 2);
        Assert.Equal(expected[5], (int[])[.. before, .. rest]);
        Assert.Equal(rest, await RunAsync(fork, [.. _prompts[5], .. before], Tokens / 2));
        // They had it all, but for the last token, which no pass had seen.
        Assert.All([resting, fork], s => Assert.Equal(_prompts[5].Length + (Tokens / 2) - 1, s.Statistics!.ReusedTokens));
    }

    [Theory]
    [InlineData("llama", 4096)]
    [InlineData("gpt2", 4096)]
    [InlineData("gemma3", 4096)]
    [InlineData("gemma3", 8192)] // windows have regions of their own
    [InlineData("lfm2", 4096)]
    [InlineData("lfm2", 8192)]
    [InlineData("qwen3moe", 4096)]
    public void Passes_before_and_after_a_change_give_the_bits_of_one_device(string architecture, int cells)
    {
        var model = ModelDescription.Read(GgufFile.Open(new RandomModel(architecture, GgmlType.Q8_0) { Context = 1024 }.Write(_folder.Path)));
        using var alone = new Engine(model, [Whole(model)], cells, 6, GgmlType.F16);
        using var moved = new Engine(model, [Whole(model)], cells, 6, GgmlType.F16);
        var random = new Random(1);
        int[] sequences = [Open(), Open(), Open()];
        for (var round = 0; round < 12; round++)
        {
            if (round % 2 == 0)
                moved.Switch(moved.Prepare(round % 4 == 0 ? Clusters(model, 1 + (round / 4 % 2)) : [Whole(model)]));
            else if (round == 5)
                moved.Exchange(Clusters(model, 1));
            if (round == 4)
            {
                // What two share, and what one rolled back, is the same after it.
                Assert.Equal(alone.Cells.Fork(sequences[0], 100), moved.Cells.Fork(sequences[0], 100));
                Assert.Equal(alone.Cells.Truncate(sequences[1], alone.Cells.Length(sequences[1]) - 3), moved.Cells.Truncate(sequences[1], moved.Cells.Length(sequences[1]) - 3));
                sequences = [.. sequences, 3];
            }
            PassRow[] rows = [.. sequences.SelectMany(s => Enumerable.Range(0, round < 3 ? 120 + (11 * s) : 1 + (round % 3)).Select(i => new PassRow(s, random.Next(3, 300), i == 0)))];
            Assert.True(alone.TryRun(rows, out var expected));
            Assert.True(moved.TryRun(rows, out var logits));
            Assert.Equal(expected.ToArray(), logits.ToArray());
        }
        Assert.Equal(alone.Cells.Free, moved.Cells.Free);

        int Open()
        {
            var sequence = alone.Cells.Open()!.Value;
            Assert.Equal(sequence, moved.Cells.Open());
            return sequence;
        }
    }

    [Fact]
    public void A_change_that_cannot_be_leaves_all_as_it_was()
    {
        var model = ModelDescription.Read(GgufFile.Open(new RandomModel("llama", GgmlType.F32).Write(_folder.Path)));
        var other = ModelDescription.Read(GgufFile.Open(new RandomModel("llama", GgmlType.F32) { Layers = 5 }.Write(_folder.Path)));
        using var engine = new Engine(model, Clusters(model, 1), 256, 1, GgmlType.F16);
        var sequence = engine.Cells.Open()!.Value;
        Assert.True(engine.TryRun([new PassRow(sequence, 5, true), new PassRow(sequence, 6, true)], out var logits));
        var expected = logits.ToArray();
        Assert.Throws<ArgumentException>(() => engine.Exchange([Whole(other)]));
        Assert.Throws<ArgumentException>(() => engine.Prepare([]));
        Assert.True(engine.TryBegin([new PassRow(sequence, 7, true)]));
        using (var next = engine.Prepare([Whole(model)]))
            Assert.Contains("in flight", Assert.Throws<InvalidOperationException>(() => engine.Switch(next)).Message, StringComparison.Ordinal);
        engine.Complete();
        engine.Cells.Truncate(sequence, 0);
        Assert.True(engine.TryRun([new PassRow(sequence, 5, true), new PassRow(sequence, 6, true)], out logits));
        Assert.Equal(expected, logits.ToArray());
        Assert.Equal(2, engine.Placements.Count);
    }

    [Theory]
    [InlineData("llama", false)]
    [InlineData("llama", true)]
    [InlineData("lfm2", false)]
    public async Task A_device_that_is_lost_costs_time_and_no_token(string architecture, bool inFlight)
    {
        var path = new RandomModel(architecture, GgmlType.F32).Write(_folder.Path);
        var described = ModelDescription.Read(GgufFile.Open(path));
        var expected = await AloneAsync(path);
        using var model = ErgonModel.Load(path, new ModelOptions { Placements = Clusters(described, 1), ContextLength = 256, MaxSequences = Live + 1 });
        await model.KeepInFlightAsync(inFlight ? 2 : 1);
        var lost = new List<Placement>();
        model.OnDeviceLost((placement, error) =>
        {
            Assert.Contains("gone", error.Message, StringComparison.Ordinal);
            lost.Add(placement);
            return new DeviceChange([Whole(described) with { Cpus = [0] }]);
        });
        var segments = 0;
        await model.InvokeAsync(engine => ((Engine)engine).SegmentBegins = stages =>
        {
            if (stages.EndsModel && ++segments == 30)
                throw new NativeException("The device is gone.");
        });
        var sessions = Enumerable.Range(0, Live).Select(_ => model.CreateSession()).ToArray();
        await SameAsync(model, expected, await Task.WhenAll(sessions.Select((s, i) => RunAsync(s, _prompts[i], Tokens))));
        Assert.Equal([1 % Environment.ProcessorCount], Assert.Single(lost).Cpus!);
        Assert.Equal(StageRange.Whole(described), Assert.Single(model.Placements).Stages);
        foreach (var session in sessions)
            session.Dispose();
        Assert.Equal(0, await model.InvokeAsync(e => e.Cells.Capacity - e.Cells.Free));
    }

    [Fact]
    public async Task Without_another_device_a_lost_one_fails_its_generations()
    {
        var path = new RandomModel("llama", GgmlType.F32).Write(_folder.Path);
        var described = ModelDescription.Read(GgufFile.Open(path));
        using var model = ErgonModel.Load(path, new ModelOptions { Placements = Clusters(described, 1), ContextLength = 256 });
        model.OnDeviceLost((_, _) => null);
        await model.InvokeAsync(engine => ((Engine)engine).SegmentBegins = _ => throw new NativeException("The device is gone."));
        using var session = model.CreateSession();
        Assert.Contains("gone", (await Assert.ThrowsAsync<NativeException>(() => RunAsync(session, [5], 3))).Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("llama")]
    [InlineData("gemma3")]
    [InlineData("lfm2")]
    public async Task Prompts_on_one_device_and_decoding_on_another_give_the_tokens_of_one(string architecture)
    {
        var path = new RandomModel(architecture, GgmlType.F32).Write(_folder.Path);
        var described = ModelDescription.Read(GgufFile.Open(path));
        var expected = await AloneAsync(path);
        // All but what runs for all sequences together: the last layer's feed-forward block and the head.
        var shared = Stage.OfLayer(described.LayerCount) - 1;
        Placement[] phases =
        [
            new(Cpu, new StageRange(0, shared, described.LayerCount), 1, [0], Tier: 0), new(Cpu, new StageRange(0, shared, described.LayerCount), 1, [1 % Environment.ProcessorCount], Tier: 1),
            new(Cpu, new StageRange(shared, Stage.Count(described.LayerCount), described.LayerCount), 1, [1 % Environment.ProcessorCount]),
        ];
        using var model = ErgonModel.Load(path, new ModelOptions { Placements = phases, TiersArePhases = true, ContextLength = 256, MaxSequences = Live + 1 });
        var wrong = 0;
        model.PassCompleted += pass =>
        {
            // Each device has the rows of its phase alone.
            var (prompts, tokens) = (pass.Parts.Where(p => p.IsPrompt).Sum(p => p.Rows), pass.Parts.Where(p => !p.IsPrompt).Sum(p => p.Rows));
            wrong += pass.Segments.Any(s => s.Placement < 2 && s.Rows != (s.Placement == 0 ? prompts : tokens)) ? 1 : 0;
        };
        var sessions = Enumerable.Range(0, Live).Select(_ => model.CreateSession()).ToArray();
        await SameAsync(model, expected, await Task.WhenAll(sessions.Select((s, i) => RunAsync(s, _prompts[i], Tokens))));
        Assert.Equal(0, wrong);
        // A long continuation goes back to the device of prompts, a short one does not.
        Assert.Equal(0, await AfterAsync(100));
        Assert.Equal(1, await AfterAsync(103));
        // Without phases all goes on where it is.
        await model.MoveAsync(new DeviceChange([Whole(described)]));
        Assert.Equal(expected[7], await RunAsync(sessions[7], _prompts[7], Tokens));

        async Task<int> AfterAsync(int more)
        {
            var tiers = new List<int>();
            void Note(PassReport pass) => tiers.Add(pass.Segments[0].Placement);
            model.PassCompleted += Note;
            await RunAsync(sessions[3], [.. _prompts[3], .. expected[3], .. Enumerable.Repeat(9, more)], 2);
            model.PassCompleted -= Note;
            return tiers[0];
        }
    }

    // As far as products of one row and of several, whose sums F16 keys and values round apart, choose the same of two near-equal tokens.
    private async Task SameAsync(ErgonModel model, int[][] expected, int[][] actual)
    {
        for (var i = 0; i < Live; i++)
        {
            Assert.Equal(Tokens, actual[i].Length);
            var same = actual[i].AsSpan().CommonPrefixLength(expected[i]);
            if (same == Tokens)
                continue;
            int[] tokens = [.. _prompts[i], .. expected[i][..same]];
            var gap = await model.InvokeAsync(engine =>
            {
                var sequence = engine.Cells.Open()!.Value;
                Assert.True(engine.TryRun([.. tokens.Select((t, j) => new PassRow(sequence, t, j == tokens.Length - 1))], out var logits));
                var top = logits.ToArray().OrderDescending().Take(2).ToArray();
                engine.Cells.Close(sequence);
                return top[0] - top[1];
            });
            Assert.True(gap < 1e-3f, $"generation {i}: token {same} differs, though the two likeliest are {gap} apart");
        }
    }

    private async Task<int[][]> AloneAsync(string path)
    {
        using var model = ErgonModel.Load(path, new ModelOptions { Threads = 1, ContextLength = 256 });
        using var session = model.CreateSession();
        var all = new List<int[]>();
        foreach (var prompt in _prompts)
            all.Add(await RunAsync(session, prompt, Tokens));
        return [.. all];
    }

    private static NativeDevice Cpu => NativeDevice.All().First(d => d.Kind == NativeDeviceKind.Cpu);

    private static Placement Whole(ModelDescription model) => new(Cpu, StageRange.Whole(model), 1);

    private static Placement[] Clusters(ModelDescription model, int cut) =>
    [
        new(Cpu, StageRange.OfLayers(model, 0, cut), 1, [0]), new(Cpu, StageRange.OfLayers(model, cut, model.LayerCount), 1, [1 % Environment.ProcessorCount]),
    ];

    private static async Task<int[]> RunAsync(Session session, int[] prompt, int count)
    {
        var tokens = new List<int>();
        await foreach (var token in session.GenerateAsync(prompt, new GenerationOptions { MaxTokens = count, IgnoreEndOfGeneration = true }))
        {
            if (token.Id >= 0)
                tokens.Add(token.Id);
        }
        return [.. tokens];
    }

    public void Dispose() => _folder.Dispose();
}
