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

    private ModelDescription Model(string architecture) => ModelDescription.Read(GgufFile.Open(new RandomModel(architecture, GgmlType.F32).Write(_folder.Path)));

    private static NativeDevice Cpu => NativeDevice.All().First(d => d.Kind == NativeDeviceKind.Cpu);

    private static void Compare(ModelDescription model, params Placement[] placements)
    {
        var expected = Greedy(model, new Placement(Cpu, StageRange.Whole(model), 1));
        var actual = Greedy(model, placements);
        Assert.Equal(expected.Tokens, actual.Tokens);
        foreach (var (a, b) in expected.Logits.Zip(actual.Logits))
        {
            var largest = a.Max(MathF.Abs);
            var difference = a.Zip(b).Max(p => MathF.Abs(p.First - p.Second));
            Assert.True(difference <= 2e-2 * largest, $"logits differ by {difference} of {largest}");
        }
    }

    private static (List<int> Tokens, List<float[]> Logits) Greedy(ModelDescription model, params Placement[] placements)
    {
        using var engine = new Engine(model, placements, 256, 1, GgmlType.F16);
        var sequence = engine.Cells.Open()!.Value;
        var tokens = new List<int>();
        var all = new List<float[]>();
        PassRow[] rows = [.. Enumerable.Range(10, 20).Select(t => new PassRow(sequence, t, t == 29))];
        for (var i = 0; i < 32; i++)
        {
            Assert.True(engine.TryRun(rows, out var logits));
            all.Add(logits.ToArray());
            tokens.Add(TokenSampler.IndexOfMax(logits));
            rows = [new PassRow(sequence, tokens[^1], true)];
        }
        return (tokens, all);
    }

    public void Dispose() => _folder.Dispose();
}
