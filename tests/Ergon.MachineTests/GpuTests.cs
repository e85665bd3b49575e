using Ergon.Inference;
using Ergon.Models;
using Ergon.Models.Gguf;
using Ergon.Native;
using Ergon.Native.Tensors;
using Ergon.Tests;
using Ergon.Tests.Inference;

namespace Ergon.MachineTests;

/// <summary>The same graph on another device: attention there accumulates in F16, so close and not equal.</summary>
public sealed class GpuTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public static TheoryData<string> Generative() => [.. Architecture.All.Where(a => !a.Encoder).Select(a => a.Name)];

    [GpuTheory]
    [MemberData(nameof(Generative))]
    public void Logits_are_close_to_the_CPUs_and_32_greedy_tokens_are_equal(string architecture)
    {
        var model = Model(architecture);
        Compare(model, new Placement(GpuFactAttribute.Gpu!, StageRange.Whole(model), 1));
    }

    [GpuTheory]
    [InlineData("llama")]
    [InlineData("gemma3")]
    [InlineData("lfm2")]
    public void A_pass_that_crosses_from_the_CPU_to_the_GPU_gives_the_same_tokens(string architecture)
    {
        var model = Model(architecture);
        Compare(model, new Placement(Cpu, StageRange.OfLayers(model, 0, 1), 1), new Placement(GpuFactAttribute.Gpu!, StageRange.OfLayers(model, 1, model.LayerCount), 1));
    }

    [GpuFact]
    public void A_pass_whose_stages_alternate_between_the_CPU_and_the_GPU_gives_the_same_tokens()
    {
        var model = Model("llama");
        Compare(model, [.. Enumerable.Range(0, Stage.Count(model.LayerCount)).Select(i => new Placement(i % 2 == 0 ? Cpu : GpuFactAttribute.Gpu!, new StageRange(i, i + 1, model.LayerCount), 1))]);
    }

    [GpuFact]
    public async Task A_session_saved_on_the_CPU_goes_on_on_the_GPU()
    {
        var path = new RandomModel("llama", GgmlType.F32).Write(_folder.Path);
        using var cpu = ErgonModel.Load(path, new ModelOptions { Device = "CPU", Threads = 1, ContextLength = 256 });
        using var gpu = ErgonModel.Load(path, new ModelOptions { Device = GpuFactAttribute.Gpu!.Name, ContextLength = 256, MaxSequences = 2 });
        int[] prompt = [.. Enumerable.Range(10, 50)];
        using var origin = cpu.CreateSession();
        var first = await RunAsync(origin, prompt, 10);
        using var saved = new MemoryStream();
        await origin.SaveAsync(saved);
        saved.Position = 0;
        using var restored = await gpu.RestoreSessionAsync(saved);
        using var fresh = gpu.CreateSession();
        int[] longer = [.. prompt, .. first, 5, 6];
        Assert.Equal(await RunAsync(fresh, longer, 10), await RunAsync(restored, longer, 10));
        Assert.Equal(59, restored.Statistics!.ReusedTokens);
    }

    [GpuTheory]
    [InlineData("llama")]
    [InlineData("gemma3")]
    [InlineData("lfm2")]
    [InlineData("qwen3moe")]
    public void Passes_in_flight_on_the_CPU_and_the_GPU_give_the_bits_that_they_give_in_turn(string architecture)
    {
        var model = Model(architecture);
        Placement[] placements = [new(Cpu, StageRange.OfLayers(model, 0, 1), 1), new(GpuFactAttribute.Gpu!, StageRange.OfLayers(model, 1, model.LayerCount), 1)];
        using var turns = new Engine(model, placements, 1024, 4, GgmlType.F16);
        using var flights = new Engine(model, placements, 1024, 4, GgmlType.F16);
        Assert.Equal(2, flights.Depth);
        int[] sequences = [.. Enumerable.Range(0, 4).Select(_ => turns.Cells.Open()!.Value)];
        Assert.All(sequences, s => Assert.Equal(s, flights.Cells.Open()));
        var waiting = new Queue<float[]>();
        for (var round = 0; round < 12; round++)
        {
            PassRow[] rows = [.. sequences.Chunk(2).ElementAt(round % 2).SelectMany(s => Enumerable.Range(0, round < 2 ? 20 + s : 1).Select(i => new PassRow(s, 10 + round + i, round > 1 || i == 19 + s)))];
            Assert.True(turns.TryRun(rows, out var expected));
            if (waiting.Count == 2)
                Assert.Equal(waiting.Dequeue(), flights.Complete().ToArray());
            Assert.True(flights.TryBegin(rows));
            waiting.Enqueue(expected.ToArray());
        }
        while (waiting.TryDequeue(out var expected))
            Assert.Equal(expected, flights.Complete().ToArray());
    }

    [GpuFact]
    public async Task Generations_in_flight_on_the_CPU_and_the_GPU_give_the_tokens_that_they_give_in_turn()
    {
        var path = new RandomModel("llama", GgmlType.F32).Write(_folder.Path);
        var description = ModelDescription.Read(GgufFile.Open(path));
        using var model = ErgonModel.Load(path, new ModelOptions
        {
            Placements = [Placement.On("CPU", StageRange.OfLayers(description, 0, 2)), Placement.On(GpuFactAttribute.Gpu!.Name, StageRange.OfLayers(description, 2, description.LayerCount))],
            ContextLength = 128, MaxSequences = 4,
        });
        Assert.Equal(["CPU", GpuFactAttribute.Gpu!.Name], model.Devices);
        var sessions = Enumerable.Range(0, 4).Select(_ => model.CreateSession()).ToArray();
        var turns = await AllAsync(1);
        Assert.Equal(turns, await AllAsync(2));
        foreach (var session in sessions)
            session.Dispose();

        async Task<int[][]> AllAsync(int inFlight)
        {
            await model.KeepInFlightAsync(inFlight);
            return await Task.WhenAll(sessions.Select((s, i) => RunAsync(s, [.. Enumerable.Range(10 + i, 15 + i)], 40)));
        }
    }

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

    [GpuTheory]
    [InlineData("stablelm")]
    [InlineData("mamba")]
    public async Task A_model_that_libllama_runs_as_a_whole_gives_the_same_tokens_on_the_GPU(string architecture)
    {
        var path = new UndescribedModel(architecture).Write(_folder.Path);
        Assert.Equal(await TokensAsync("CPU"), await TokensAsync(GpuFactAttribute.Gpu!.Name));

        async Task<int[]> TokensAsync(string device)
        {
            using var model = ErgonModel.Load(path, new ModelOptions { Device = device, Threads = 1, ContextLength = 256 });
            Assert.Equal((EngineChoice.Libllama, device), (model.Engine, Assert.Single(model.Devices)));
            using var session = model.CreateSession();
            return await RunAsync(session, [.. Enumerable.Range(10, 20)], 32);
        }
    }

    private ModelDescription Model(string architecture) => ModelDescription.Read(GgufFile.Open(new RandomModel(architecture, GgmlType.F32).Write(_folder.Path)));

    private static NativeDevice Cpu => NativeDevice.All().First(d => d.Kind == NativeDeviceKind.Cpu);

    // The CPU's greedy tokens on both, so that one draw between two likeliest tokens as close as the devices are does
    // not part them for good.
    private static void Compare(ModelDescription model, params Placement[] placements)
    {
        using var cpu = new Engine(model, [new Placement(Cpu, StageRange.Whole(model), 1)], 256, 1, GgmlType.F16);
        using var gpu = new Engine(model, placements, 256, 1, GgmlType.F16);
        var sequence = cpu.Cells.Open()!.Value;
        Assert.Equal(sequence, gpu.Cells.Open());
        PassRow[] rows = [.. Enumerable.Range(10, 20).Select(t => new PassRow(sequence, t, t == 29))];
        for (var i = 0; i < 32; i++)
        {
            Assert.True(cpu.TryRun(rows, out var expected));
            Assert.True(gpu.TryRun(rows, out var actual));
            var difference = 0f;
            var largest = 0f;
            for (var token = 0; token < expected.Length; token++)
            {
                difference = MathF.Max(difference, MathF.Abs(expected[token] - actual[token]));
                largest = MathF.Max(largest, MathF.Abs(expected[token]));
            }
            Assert.True(difference <= 2e-2f * largest, $"token {i}: logits differ by {difference} of {largest}");
            int first = TokenSampler.IndexOfMax(expected), second = TokenSampler.IndexOfMax(actual);
            Assert.True(first == second || expected[first] - expected[second] <= 2 * difference, $"token {i} differs, though the two are {expected[first] - expected[second]} apart");
            rows = [new PassRow(sequence, first, true)];
        }
    }

    public void Dispose() => _folder.Dispose();
}
