using Ergon.Inference;
using Ergon.Models;
using Ergon.Models.Gguf;
using Ergon.Native;
using Ergon.Native.Tensors;

namespace Ergon.Tests.Inference;

/// <summary>A model in parts: on several devices, by tiers of sequences, and what each part reports.</summary>
[Collection("clusters")] // one test looks at the threads of all
public sealed class SegmentTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    [Fact]
    public void Two_clusters_of_processors_share_a_pass_each_on_a_thread_of_its_own()
    {
        var model = Model("llama");
        var alone = Generate(model, _ => { }, Whole(model));
        var clusters = Generate(model, engine =>
        {
            Assert.Equal(2, engine.Backends.Count());
            if (OperatingSystem.IsLinux())
                Assert.Equal(["0", "1"], Directory.GetDirectories("/proc/self/task").Select(Status).Where(l => l.Contains("Name:\tergon CPU")).Select(l => Array.Find(l, x => x.StartsWith("Cpus_allowed_list"))![19..]).Order());
        }, Cluster(0, 0, 1), Cluster(1, 1, model.LayerCount));
        Assert.Equal(alone, clusters);

        // Threads of other tests come and go.
        static string[] Status(string task)
        {
            try
            {
                return File.ReadAllLines(Path.Combine(task, "status"));
            }
            catch (IOException)
            {
                return [];
            }
        }

        Placement Cluster(int cpu, int first, int end) => new(Cpu, StageRange.OfLayers(model, first, end), 1, [cpu % Environment.ProcessorCount]);
    }

    [Theory]
    [InlineData("llama")]
    [InlineData("gemma3")]
    [InlineData("lfm2")]
    public void The_attention_of_some_sequences_runs_elsewhere_and_takes_their_cache_along(string architecture)
    {
        var model = Model(architecture);
        var alone = Generate(model, _ => { }, Whole(model));
        List<Placement> placements = [];
        var begin = 0;
        for (var layer = 0; layer < model.LayerCount; layer++)
        {
            var attention = Stage.OfLayer(layer) + 1;
            placements.Add(new Placement(Cpu, new StageRange(begin, attention, model.LayerCount), 1));
            for (var tier = 0; tier < 2; tier++)
                placements.Add(new Placement(Cpu, new StageRange(attention, attention + 1, model.LayerCount), 1, tier == 0 ? null : [1 % Environment.ProcessorCount], tier));
            begin = attention + 1;
        }
        placements.Add(new Placement(Cpu, new StageRange(begin, Stage.Count(model.LayerCount), model.LayerCount), 1));
        var moves = 0;
        var tiers = Generate(model, engine =>
        {
            // One sequence moves to and fro between passes, the other stays.
            engine.MoveTo(0, moves++ % 2);
            engine.MoveTo(1, 1);
        }, [.. placements]);
        Assert.Equal(alone, tiers);
    }

    [Theory]
    [InlineData("llama")]
    [InlineData("qwen3moe")]
    public void A_tier_of_whole_layers_gives_nearly_the_same(string architecture)
    {
        var model = Model(architecture);
        var alone = Generate(model, _ => { }, Whole(model));
        int first = Stage.OfLayer(0), end = Stage.OfLayer(model.LayerCount - 1), all = Stage.Count(model.LayerCount);
        var tiers = Generate(model, engine => engine.MoveTo(1, 1), Part(0, first), Part(first, end, 0), Part(first, end, 1), Part(end, all));
        var largest = alone.Max(MathF.Abs);
        Assert.Equal(alone.Length, tiers.Length);
        // Products of fewer rows are summed in another order, which F16 keys and values round apart.
        Assert.All(alone.Zip(tiers), pair => Assert.InRange(MathF.Abs(pair.First - pair.Second), 0, 2e-3f * largest));

        Placement Part(int from, int to, int? tier = null) => new(Cpu, new StageRange(from, to, model.LayerCount), 1, null, tier);
    }

    public static TheoryData<string, GgmlType> GenerativeByCache()
    {
        var data = new TheoryData<string, GgmlType>();
        foreach (var architecture in Architecture.All.Where(a => !a.Encoder))
        {
            foreach (var type in (GgmlType[])[GgmlType.F16, GgmlType.Q8_0])
                data.Add(architecture.Name, type);
        }
        return data;
    }

    [Theory]
    [MemberData(nameof(GenerativeByCache))]
    public void The_graph_has_room_for_as_many_groups_as_there_can_be(string architecture, GgmlType cacheType)
    {
        const int sequences = 40, apart = 1024;
        var model = ModelDescription.Read(GgufFile.Open(new RandomModel(architecture, GgmlType.F32) { Layers = 24, FeedForward = 256, Context = 1024 }.Write(_folder.Path)));
        using var engine = new Engine(model, [Whole(model)], sequences * apart, sequences, cacheType);
        // Each begins in the middle of what is free, so all lie apart and each is looked at alone.
        var rows = Enumerable.Range(0, sequences).Select(_ => new PassRow(engine.Cells.Open()!.Value, 5, true)).ToArray();
        Assert.True(engine.TryRun(rows, out _));
        Assert.True(engine.TryRun(rows, out var logits));
        var vocabulary = model.VocabularySize;
        var first = logits[..vocabulary].ToArray();
        for (var i = 1; i < sequences; i++)
            Assert.Equal(first, logits.Slice(i * vocabulary, vocabulary).ToArray());
    }

    [Theory]
    [InlineData("gemma3", 1024)]
    [InlineData("gemma3", 8192)]
    [InlineData("lfm2", 8192)]
    public void A_sequence_that_moved_can_be_rolled_back(string architecture, int cells)
    {
        var model = ModelDescription.Read(GgufFile.Open(new RandomModel(architecture, GgmlType.F32) { Context = 8192 }.Write(_folder.Path)));
        int attention = Stage.OfLayer(0), end = Stage.OfLayer(2);
        Placement Part(int from, int to, int? tier = null) => new(Cpu, new StageRange(from, to, model.LayerCount), 1, null, tier);
        using var engine = new Engine(model, [Part(0, attention), Part(attention, end, 0), Part(attention, end, 1), Part(end, Stage.Count(model.LayerCount))], cells, 2, GgmlType.F16);
        var sequence = engine.Cells.Open()!.Value;
        var random = new Random(3);
        Run([.. Enumerable.Range(0, 400).Select(_ => random.Next(3, 300))]);
        Run([.. Enumerable.Range(0, 400).Select(_ => random.Next(3, 300))]);
        Assert.Equal(750, engine.Cells.Truncate(sequence, 750));
        var expected = Run([9, 10, 11]);
        Run([.. Enumerable.Range(20, 30)]);
        engine.MoveTo(sequence, 1);
        Assert.Equal(750, engine.Cells.Truncate(sequence, 750));
        Assert.Equal(expected, Run([9, 10, 11]));

        float[] Run(int[] tokens)
        {
            Assert.True(engine.TryRun([.. tokens.Select((t, i) => new PassRow(sequence, t, i == tokens.Length - 1))], out var logits));
            return logits.ToArray();
        }
    }

    [Fact]
    public void Tiers_of_one_device_among_several_each_do_their_work()
    {
        var model = Model("llama");
        var alone = Generate(model, _ => { }, Whole(model));
        int first = Stage.OfLayer(0), end = Stage.OfLayer(model.LayerCount - 1), all = Stage.Count(model.LayerCount);
        int[] cluster = [1 % Environment.ProcessorCount];
        var tiers = Generate(model, engine => engine.MoveTo(1, 1), Part(0, first, [0]), Part(first, end, cluster, 0), Part(first, end, cluster, 1), Part(end, all, [0]));
        var largest = alone.Max(MathF.Abs);
        Assert.All(alone.Zip(tiers), pair => Assert.InRange(MathF.Abs(pair.First - pair.Second), 0, 2e-3f * largest));

        Placement Part(int from, int to, int[] cpus, int? tier = null) => new(Cpu, new StageRange(from, to, model.LayerCount), 1, cpus, tier);
    }

    [Fact]
    public void Reports_say_what_each_segment_did()
    {
        var model = Model("llama");
        using var engine = new Engine(model, [.. Enumerable.Range(0, model.LayerCount).Select(l => new Placement(Cpu, StageRange.OfLayers(model, l, l + 1), 1))], 512, 2, GgmlType.F16);
        int first = engine.Cells.Open()!.Value, second = engine.Cells.Open()!.Value;
        Assert.True(engine.TryRun([.. Enumerable.Range(1, 10).Select(t => new PassRow(first, t, false)), .. Enumerable.Range(1, 5).Select(t => new PassRow(second, t, t == 5))], out _));
        var reports = engine.Reports.ToArray();

        Assert.Equal(model.LayerCount, reports.Length);
        Assert.All(reports, r => Assert.Equal((Cpu.Name, 15), (r.Device, r.Rows)));
        Assert.All(reports, r => Assert.True(r.Elapsed > TimeSpan.Zero));
        Assert.All(reports.Zip(reports.Skip(1)), pair => Assert.True(pair.First.Ended <= pair.Second.Began));
        long embd = model.EmbeddingLength, q = model.HeadLength * model.HeadCount, kv = model.HeadLength * model.HeadCountKv, ff = model.FeedForwardLength;
        // Ten rows look at 1 to 10 positions, five at 1 to 5.
        var layer = (15 * 2.0 * embd * (q + kv + kv + q)) + (15 * 2.0 * 3 * embd * ff) + (4.0 * q * (55 + 15));
        Assert.Equal(layer, reports[0].Flops);
        // Of the last layer one row goes on behind attention, and through the head.
        Assert.Equal((15 * 2.0 * embd * (q + kv + kv + q)) + (2.0 * 3 * embd * ff) + (4.0 * q * 70) + (2.0 * embd * model.VocabularySize), reports[^1].Flops);
        // 15 residuals of F32 go in where token ids did, and out as before.
        Assert.Equal((15 * 4 * embd) - (15 * 4), reports[1].TransferBytes - reports[0].TransferBytes);
        var weights = model.Weights.Where(w => w.Layer == 1 && w.IsMatrix).Sum(w => model.File.FindTensor(w.TensorName)!.Bytes);
        Assert.Equal(weights + (2.0 * 2 * kv * (15 + 15)), reports[1].MemoryBytes);

        // A pass that wants nothing ends with the last layer's cache.
        Assert.True(engine.TryRun([new PassRow(first, 3, false)], out _));
        Assert.Equal(model.LayerCount, engine.Reports.Length);
        Assert.Equal(2.0 * embd * (q + kv + kv), engine.Reports[^1].Flops);
    }

    [Fact]
    public void Placements_that_do_not_cover_the_model_are_refused()
    {
        var model = Model("llama");
        var layers = model.LayerCount;
        StageRange[][] wrong = [[], [StageRange.OfLayers(model, 0, 1)], [StageRange.OfLayers(model, 1, layers)], [StageRange.OfLayers(model, 0, 2), StageRange.OfLayers(model, 1, layers)]];
        foreach (var ranges in wrong)
            Assert.Throws<ArgumentException>(() => new Engine(model, [.. ranges.Select(r => new Placement(Cpu, r, 1))], 256, 1, GgmlType.F16));
        // The head must give the logits of all rows, and a tier must be a tier everywhere.
        Assert.Throws<ArgumentException>(() => new Engine(model, [new Placement(Cpu, StageRange.Whole(model), 1, Tier: 0)], 256, 1, GgmlType.F16));
        var head = Stage.Count(layers) - 1;
        foreach (var (end, tiers) in ((int, int[])[])[(head, [0, 1]), (4, [1, 2]), (4, [0, 0])])
        {
            Assert.Throws<ArgumentException>(() => new Engine(model,
                [new Placement(Cpu, new(0, 1, layers), 1), .. tiers.Select(t => new Placement(Cpu, new(1, end, layers), 1, null, t)), new Placement(Cpu, new(end, head + 1, layers), 1)], 256, 1, GgmlType.F16));
        }
    }

    private static NativeDevice Cpu => NativeDevice.All().First(d => d.Kind == NativeDeviceKind.Cpu);

    private ModelDescription Model(string architecture) => ModelDescription.Read(GgufFile.Open(new RandomModel(architecture, GgmlType.Q8_0).Write(_folder.Path)));

    private static Placement Whole(ModelDescription model) => new(Cpu, StageRange.Whole(model), 1);

    // All logits of two sequences over some passes; between passes the engine can be looked at or changed.
    private static float[] Generate(ModelDescription model, Action<Engine> between, params Placement[] placements)
    {
        using var engine = new Engine(model, placements, 1024, 3, GgmlType.F16);
        int[] sequences = [engine.Cells.Open()!.Value, engine.Cells.Open()!.Value];
        var all = new List<float>();
        Run([.. Enumerable.Range(1, 40).Select(t => new PassRow(sequences[0], t, t % 5 == 0)), .. Enumerable.Range(60, 20).Select(t => new PassRow(sequences[1], t, t == 79))]);
        between(engine);
        for (var i = 0; i < 6; i++)
        {
            Run([.. sequences.Select(s => new PassRow(s, i + s, true))]);
            between(engine);
        }
        return [.. all];

        void Run(PassRow[] rows)
        {
            Assert.True(engine.TryRun(rows, out var logits));
            all.AddRange(logits);
        }
    }

    public void Dispose() => _folder.Dispose();
}
