using Ergon.Inference;
using Ergon.Models;
using Ergon.Models.Gguf;
using Ergon.Native;
using Ergon.Native.Tensors;

namespace Ergon.Tests.Inference;

/// <summary>Passes in flight on two devices at once, against the same passes one after another on one.</summary>
[Collection("clusters")] // one test looks at the threads of all
public sealed class PipelineTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    [Theory]
    [InlineData("llama", 4096)]
    [InlineData("gpt2", 4096)]
    [InlineData("gemma3", 4096)]
    [InlineData("gemma3", 8192)]
    [InlineData("lfm2", 4096)]
    [InlineData("lfm2", 8192)]
    [InlineData("qwen3moe", 4096)]
    public void Passes_in_flight_give_the_bits_that_they_give_one_after_another(string architecture, int cells)
    {
        // With 8192 cells windows and convolutions have regions of 768, which are full and begin anew within these.
        var model = Model(architecture, context: 1024);
        using var alone = new Engine(model, [Whole(model)], cells, 6, GgmlType.F16);
        using var clusters = new Engine(model, Clusters(model, 1), cells, 6, GgmlType.F16);
        Assert.Equal((1, 2), (alone.Depth, clusters.Depth));
        var random = new Random(1);
        int[] sequences = [.. Enumerable.Range(0, 4).Select(_ => Open())];
        int[][] groups = [[sequences[0], sequences[1]], [sequences[2], sequences[3]]];
        var waiting = new Queue<float[]>();
        for (var round = 0; round < 9; round++)
        {
            foreach (var group in groups)
            {
                // Prompts of several lengths beside tokens, all with some logits.
                PassRow[] rows = [.. group.SelectMany((s, i) => Rows(s, round < 3 ? 200 + (20 * i) + s : round == 5 ? 1 + (40 * i) : 1))];
                Assert.True(alone.TryRun(rows, out var expected));
                if (waiting.Count == clusters.Depth)
                    Land();
                Assert.True(clusters.TryBegin(rows));
                waiting.Enqueue(expected.ToArray());
                // What is in flight is the other group's: a sequence of this one's earlier pass is forked or rolled back beside it.
                if (round == 4)
                    Beside(groups.First(g => g != group), group);
            }
        }
        while (waiting.Count > 0)
            Land();
        Assert.Equal(alone.Cells.Free, clusters.Cells.Free);

        PassRow[] Rows(int sequence, int count) => [.. Enumerable.Range(0, count).Select(i => new PassRow(sequence, random.Next(3, 300), i % 50 == 0 || i == count - 1))];

        void Land() => Assert.Equal(waiting.Dequeue(), clusters.Complete().ToArray());

        int Open()
        {
            var sequence = alone.Cells.Open()!.Value;
            Assert.Equal(sequence, clusters.Cells.Open());
            return sequence;
        }

        void Beside(int[] landing, int[] flying)
        {
            while (waiting.Count > 1)
                Land();
            foreach (var engine in (Engine[])[alone, clusters])
            {
                var fork = engine.Cells.Fork(landing[0], engine.Cells.Length(landing[0]))!.Value;
                engine.Cells.Truncate(landing[1], engine.Cells.Length(landing[1]) - 1);
                engine.Cells.Close(fork);
            }
            Assert.DoesNotContain(landing[0], flying);
        }
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Passes_that_come_back_to_a_device_and_part_by_tiers_give_the_same_bits(bool tiers)
    {
        var model = Model("llama");
        int attention = Stage.OfLayer(1) + 1, all = Stage.Count(model.LayerCount);
        int[] near = [0], far = [1 % Environment.ProcessorCount];
        Placement[] placements =
        [
            Part(0, attention, near),
            .. tiers ? [Part(attention, attention + 1, near, 0), Part(attention, attention + 1, far, 1)] : (Placement[])[Part(attention, attention + 1, far)],
            Part(attention + 1, all, near),
        ];
        using var alone = new Engine(model, [Whole(model)], 1024, 5, GgmlType.F16);
        using var parted = new Engine(model, placements, 1024, 5, GgmlType.F16);
        int[] sequences = [.. Enumerable.Range(0, 5).Select(_ => alone.Cells.Open()!.Value)];
        Assert.All(sequences, s => Assert.Equal(s, parted.Cells.Open()));
        // The first group is of both tiers, the second of the far one alone, so its passes skip the near one's lane.
        foreach (var far1 in tiers ? [1, 3, 4] : Array.Empty<int>())
            parted.MoveTo(sequences[far1], 1);
        int[][] groups = [sequences[..3], sequences[3..]];
        var waiting = new Queue<float[]>();
        for (var i = 0; i < 40; i++)
        {
            PassRow[] rows = [.. groups[i % 2].SelectMany(s => Enumerable.Range(0, i < 2 ? 30 + s : 1).Select(r => new PassRow(s, 3 + i + r, WantsLogits: i % 7 != 6)))];
            Assert.True(alone.TryRun(rows, out var expected));
            if (waiting.Count == 2)
                Assert.Equal(waiting.Dequeue(), parted.Complete().ToArray());
            Assert.True(parted.TryBegin(rows));
            waiting.Enqueue(expected.ToArray());
        }
        while (waiting.TryDequeue(out var expected))
            Assert.Equal(expected, parted.Complete().ToArray());

        Placement Part(int first, int end, int[] cpus, int? tier = null) => new(Cpu, new StageRange(first, end, model.LayerCount), 1, cpus, tier);
    }

    [Fact]
    public void One_device_computes_a_pass_while_the_other_computes_the_pass_before()
    {
        var model = Model("llama");
        using var engine = new Engine(model, Clusters(model, 1), 1024, 2, GgmlType.F16);
        using var met = new Barrier(2);
        var meetings = 0;
        var firstOnFront = true;
        engine.SegmentBegins = stages =>
        {
            // The first pass passes the front alone; then its rear and the second pass's front wait for each other.
            var waits = stages.EndsModel ? meetings == 0 : !firstOnFront;
            firstOnFront &= stages.EndsModel;
            if (waits && met.SignalAndWait(TimeSpan.FromSeconds(20)))
                Interlocked.Increment(ref meetings);
        };
        int first = engine.Cells.Open()!.Value, second = engine.Cells.Open()!.Value;
        Assert.True(engine.TryBegin([new PassRow(first, 5, true)]));
        Assert.True(engine.TryBegin([new PassRow(second, 6, true)]));
        Assert.Equal(model.VocabularySize, engine.Complete().Length);
        Assert.Equal(model.VocabularySize, engine.Complete().Length);
        Assert.Equal(2, meetings);
    }

    [Fact]
    public void A_device_that_fails_fails_the_passes_in_flight_and_the_engine_goes_on()
    {
        var model = Model("llama");
        using var engine = new Engine(model, Clusters(model, 1), 1024, 3, GgmlType.F16);
        int first = engine.Cells.Open()!.Value, second = engine.Cells.Open()!.Value, third = engine.Cells.Open()!.Value;
        Assert.True(engine.TryRun([new PassRow(third, 3, false), new PassRow(third, 4, true)], out var before));
        var expected = before.ToArray();
        Assert.True(engine.TryRun([new PassRow(first, 3, true), new PassRow(second, 4, false)], out _));
        var free = engine.Cells.Free;
        using var begun = new ManualResetEventSlim();
        var failures = 0;
        engine.SegmentBegins = stages =>
        {
            begun.Wait();
            if (stages.EndsModel && failures++ == 0)
                throw new NativeException("The device is gone.");
        };
        Assert.True(engine.TryBegin([.. Enumerable.Range(1, 30).Select(t => new PassRow(first, t, t == 30))]));
        Assert.True(engine.TryBegin([.. Enumerable.Range(1, 20).Select(t => new PassRow(second, t, t == 20))]));
        begun.Set();
        Assert.Contains("gone", Assert.Throws<NativeException>(() => { engine.Complete(); }).Message, StringComparison.Ordinal);
        Assert.Contains("gone", Assert.Throws<NativeException>(() => { engine.Complete(); }).Message, StringComparison.Ordinal);
        Assert.Equal((1, 1, free), (engine.Cells.Length(first), engine.Cells.Length(second), engine.Cells.Free));

        engine.Cells.Truncate(third, 0);
        Assert.True(engine.TryRun([new PassRow(third, 3, false), new PassRow(third, 4, true)], out var after));
        Assert.Equal(expected, after.ToArray());
    }

    [Fact]
    public void Rows_that_are_refused_leave_the_pass_in_flight_alone()
    {
        var model = Model("llama");
        using var engine = new Engine(model, Clusters(model, 1), 64, 3, GgmlType.F16);
        int first = engine.Cells.Open()!.Value, second = engine.Cells.Open()!.Value, third = engine.Cells.Open()!.Value;
        Assert.True(engine.TryRun([new PassRow(first, 5, true)], out var alone));
        var expected = alone.ToArray();
        engine.Cells.Truncate(first, 0);
        Assert.True(engine.TryBegin([new PassRow(first, 5, true)]));
        Assert.Contains("in flight", Assert.Throws<ArgumentException>(() => engine.TryBegin([new PassRow(second, 1, true), new PassRow(first, 6, true)])).Message, StringComparison.Ordinal);
        Assert.Throws<ErgonException>(() => engine.TryBegin([new PassRow(second, -1, true)]));
        Assert.False(engine.TryBegin([.. Enumerable.Repeat(new PassRow(second, 1, false), 64)]));
        Assert.Throws<InvalidOperationException>(() => engine.TryRun([new PassRow(second, 1, true)], out _));
        Assert.Equal((1, 0, 63), (engine.Cells.Length(first), engine.Cells.Length(second), engine.Cells.Free));
        Assert.True(engine.TryBegin([new PassRow(second, 1, true)]));
        Assert.Contains("2 passes are in flight", Assert.Throws<InvalidOperationException>(() => engine.TryBegin([new PassRow(third, 1, true)])).Message, StringComparison.Ordinal);
        Assert.Equal(expected, engine.Complete().ToArray());
        engine.Complete();
    }

    [Theory]
    [InlineData("llama")]
    [InlineData("gemma3")]
    [InlineData("lfm2")]
    [InlineData("qwen3moe")]
    public async Task Generations_in_flight_give_the_texts_of_one_device(string architecture)
    {
        var path = new RandomModel(architecture, GgmlType.F32).Write(_folder.Path);
        var random = new Random(2);
        int[][] prompts = [.. Enumerable.Range(0, 7).Select(i => Enumerable.Range(0, 3 + (17 * i)).Select(_ => random.Next(3, 250)).ToArray())];
        var alone = new List<int[]>();
        using (var one = ErgonModel.Load(path, new ModelOptions { Threads = 1, ContextLength = 256 }))
        {
            using var session = one.CreateSession();
            foreach (var prompt in prompts)
                alone.Add(await RunAsync(session, prompt, 40));
        }
        using var model = Load(path, 256, 7);
        await model.KeepInFlightAsync(2);
        var passes = 0;
        var together = 0;
        var allBefore = 0L;
        model.PassCompleted += pass =>
        {
            passes++;
            together += pass.Parts.Count > 4 ? 1 : 0;
            // Nobody who was promised that all was told finds more.
            Assert.True(pass.Segments[0].Began >= allBefore);
            allBefore = pass.AllBefore;
        };
        var sessions = prompts.Select(_ => model.CreateSession()).ToArray();
        Assert.Equal(alone, await Task.WhenAll(sessions.Select((s, i) => RunAsync(s, prompts[i], 40))));
        // Each pass is of half of them.
        Assert.True(passes >= 2 * 40);
        Assert.Equal(0, together);
        foreach (var session in sessions)
            session.Dispose();
        Assert.Equal(0, await model.InvokeAsync(e => e.Cells.Capacity - e.Cells.Free));
    }

    [Fact]
    public async Task Groups_level_out_when_somebody_leaves()
    {
        using var model = Load(Llama(), 512, 6);
        await model.KeepInFlightAsync(2);
        var sizes = new List<int>();
        var sessions = Enumerable.Range(0, 6).Select(_ => model.CreateSession()).ToArray();
        model.PassCompleted += pass => sizes.Add(pass.Parts.Count);
        await Task.WhenAll(sessions.Select((s, i) => RunAsync(s, [i + 3], i % 2 == 0 ? 20 : 60)));
        // Three of six that began together are left: two and one, to the end.
        Assert.All(sizes[^30..^2].Chunk(2), pair => Assert.Equal([1, 2], pair.Order()));
        foreach (var session in sessions)
            session.Dispose();
    }

    [Fact]
    public async Task A_generation_that_is_cancelled_in_flight_ends_with_its_pass()
    {
        using var model = Load(Llama(), 512, 4);
        await model.KeepInFlightAsync(2);
        using var stop = new CancellationTokenSource();
        var sessions = Enumerable.Range(0, 4).Select(_ => model.CreateSession()).ToArray();
        var after = 0;
        model.PassCompleted += pass =>
        {
            var has = pass.Parts.Any(p => p.Sequence == sessions[1].Sequence);
            if (stop.IsCancellationRequested)
                after += has ? 1 : 0;
            else if (!has && pass.Parts.All(p => !p.IsPrompt))
                stop.Cancel();
        };
        var others = sessions.Where((_, i) => i != 1).Select((s, i) => RunAsync(s, [i + 3], 100)).ToArray();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => RunAsync(sessions[1], [9], 400, stop.Token));
        Assert.Equal(100, (await Task.WhenAll(others)).Min(t => t.Length));
        Assert.InRange(after, 0, 1);
        Assert.Equal(3, (await RunAsync(sessions[1], [9, 8, 7], 3)).Length);
        foreach (var session in sessions)
            session.Dispose();
        Assert.Equal(0, await model.InvokeAsync(e => e.Cells.Capacity - e.Cells.Free));
    }

    [Fact]
    public async Task A_device_that_fails_fails_those_in_flight_and_later_generations_are_as_before()
    {
        using var model = Load(Llama(), 256, 4);
        await model.KeepInFlightAsync(2);
        var sessions = Enumerable.Range(0, 4).Select(_ => model.CreateSession()).ToArray();
        var expected = await Task.WhenAll(sessions.Select((s, i) => RunAsync(s, [i + 3, 7], 20)));
        var segments = 0;
        await model.InvokeAsync(engine => ((Engine)engine).SegmentBegins = stages =>
        {
            if (stages.EndsModel && ++segments == 11)
                throw new NativeException("The device is gone.");
        });
        var running = sessions.Select((s, i) => RunAsync(s, [i + 50, 7], 200)).ToArray();
        // Some may still be waiting when it happens, but two are in its pass.
        var failed = 0;
        foreach (var task in running)
        {
            try
            {
                Assert.Equal(200, (await task).Length);
            }
            catch (NativeException e)
            {
                Assert.Contains("gone", e.Message, StringComparison.Ordinal);
                failed++;
            }
        }
        Assert.InRange(failed, 2, 4);
        Assert.Equal(expected, await Task.WhenAll(sessions.Select((s, i) => RunAsync(s, [i + 3, 7], 20))));
        foreach (var session in sessions)
            session.Dispose();
        Assert.Equal(0, await model.InvokeAsync(e => e.Cells.Capacity - e.Cells.Free));
    }

    [Fact]
    public async Task Numbers_that_are_not_finite_fail_their_generation_and_nobody_in_flight_beside_it()
    {
        var clean = Llama();
        var file = File.ReadAllBytes(clean);
        var embedding = GgufFile.Open(clean).FindTensor("token_embd.weight")!;
        System.Runtime.InteropServices.MemoryMarshal.Cast<byte, float>(file.AsSpan((int)(embedding.FileOffset + (7 * 256 * sizeof(float))), 256 * sizeof(float))).Fill(float.NaN);
        using var model = Load(_folder.File("nan.gguf", file), 256, 2, cache: 256);
        await model.KeepInFlightAsync(2);
        using var broken = model.CreateSession();
        using var healthy = model.CreateSession();
        // As many rows as attention computes by tiles, in which a masked NaN stays one; both share 256 cells.
        int[] prompt = [.. Enumerable.Range(0, 150).Select(i => 30 + (i % 60))];
        var expected = await RunAsync(healthy, prompt, 20);
        await RunAsync(healthy, [3], 1);

        // Both wait, so the first pass is of the broken one, and the second is in flight when that lands.
        using var go = new ManualResetEventSlim();
        var held = model.InvokeAsync(_ => go.Wait(TimeSpan.FromSeconds(20)));
        var passes = new List<int>();
        model.PassCompleted += pass => passes.Add(pass.Parts.Sum(p => p.Rows));
        var fails = RunAsync(broken, [1, 7, 3], 5);
        var goesOn = RunAsync(healthy, prompt, 20);
        await Task.Delay(50);
        go.Set();
        Assert.True(await held);
        Assert.Contains("not finite", (await Assert.ThrowsAsync<ErgonException>(() => fails)).Message, StringComparison.Ordinal);
        Assert.Equal(expected, await goesOn);
        Assert.Equal([3, 150, 150], passes[..3]);
    }

    [Fact]
    public void A_plan_that_does_not_fit_is_refused_in_a_sentence()
    {
        var path = Llama();
        var model = ModelDescription.Read(GgufFile.Open(path));
        var other = ModelDescription.Read(GgufFile.Open(new RandomModel("llama", GgmlType.F32) { Layers = 5 }.Write(_folder.Path)));
        var layers = model.LayerCount;
        Says("model of 5 layers, and this one has 3", [Whole(other)]);
        Says("stages end at 4 of 11", [On(0, 1, [0])]);
        Says("does not continue the model at stage 4", [On(0, 1, [0]), On(2, layers, [1])]);
        Says("stages end at 0", []);
        Says("threads for embedding-head is 0", [Whole(model) with { Threads = 0 }]);
        Says("processors '0, 0'", [Whole(model) with { Cpus = [0, 0] }]);
        Says("processors '-1'", [Whole(model) with { Cpus = [-1] }]);
        Says("wait for each other's processors", [On(0, 1, [0, 1]), On(1, layers, [1])]);
        Says("wait for each other's processors", [On(0, 1, null), On(1, layers, [1])]);
        Says("1 thread of all of CPU and 1.feedforward-head on 2 threads", [On(0, 1, null) with { Stages = new(0, 6, layers) }, On(1, layers, null) with { Stages = new(6, 11, layers), Threads = 2 }]);
        Says("device is 'CPU', but the plan", [Whole(model)], new ModelOptions { Device = "CPU" });
        Says("threads is 3, but the plan", [Whole(model)], new ModelOptions { Threads = 3 });
        Says("takes no plan", [Whole(model)], new ModelOptions { Engine = EngineChoice.Libllama });
        Assert.Contains("no device 'TPU9' here; there is CPU", Assert.Throws<ErgonException>(() => Placement.On("TPU9", StageRange.Whole(model))).Message, StringComparison.Ordinal);

        void Says(string part, Placement[] plan, ModelOptions? options = null) =>
            Assert.Contains(part, Assert.Throws<ErgonException>(() => ErgonModel.Load(path, (options ?? new ModelOptions()) with { Placements = plan })).Message, StringComparison.Ordinal);

        Placement On(int first, int end, int[]? cpus) => new(Cpu, StageRange.OfLayers(model, first, end), 1, cpus);
    }

    [Fact]
    public void A_model_that_runs_by_a_plan_tells_its_devices_and_threads()
    {
        using var model = Load(Llama(), 256, 1);
        Assert.Equal(["CPU"], model.Devices);
        Assert.Equal(2, model.Threads);
    }

    private static NativeDevice Cpu => NativeDevice.All().First(d => d.Kind == NativeDeviceKind.Cpu);

    private string Llama() => new RandomModel("llama", GgmlType.F32) { TiedOutput = false }.Write(_folder.Path);

    private ModelDescription Model(string architecture, int context = 1024) =>
        ModelDescription.Read(GgufFile.Open(new RandomModel(architecture, GgmlType.Q8_0) { Context = context }.Write(_folder.Path)));

    private static Placement Whole(ModelDescription model) => new(Cpu, StageRange.Whole(model), 1);

    private static Placement[] Clusters(ModelDescription model, int cut) =>
    [
        new(Cpu, StageRange.OfLayers(model, 0, cut), 1, [0]), new(Cpu, StageRange.OfLayers(model, cut, model.LayerCount), 1, [1 % Environment.ProcessorCount]),
    ];

    private static ErgonModel Load(string path, int context, int sequences, int? cache = null) => ErgonModel.Load(path, new ModelOptions
    {
        Placements = Clusters(ModelDescription.Read(GgufFile.Open(path)), 1), ContextLength = context, MaxSequences = sequences, CacheLength = cache,
    });

    private static async Task<int[]> RunAsync(Session session, int[] prompt, int count, CancellationToken cancellation = default)
    {
        var tokens = new List<int>();
        await foreach (var token in session.GenerateAsync(prompt, new GenerationOptions { MaxTokens = count, IgnoreEndOfGeneration = true }, cancellation))
        {
            if (token.Id >= 0)
                tokens.Add(token.Id);
        }
        return [.. tokens];
    }

    public void Dispose() => _folder.Dispose();
}
