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
    private readonly ModelDescription _model;

    public GpuTests() => _model = ModelDescription.Read(GgufFile.Open(new RandomModel("llama", GgmlType.F32) { Layers = 2 }.Write(_folder.Path)));

    [GpuFact]
    public void Logits_are_close_to_the_CPUs_and_32_greedy_tokens_are_equal() =>
        Compare(Greedy(new Placement(Cpu, StageRange.Whole(_model), 1)), Greedy(new Placement(GpuFactAttribute.Gpu!, StageRange.Whole(_model), 1)));

    [GpuFact]
    public void A_pass_that_crosses_from_the_CPU_to_the_GPU_gives_the_same_tokens() =>
        Compare(Greedy(new Placement(Cpu, StageRange.Whole(_model), 1)),
            Greedy(new Placement(Cpu, StageRange.OfLayers(_model, 0, 1), 1), new Placement(GpuFactAttribute.Gpu!, StageRange.OfLayers(_model, 1, 2), 1)));

    private static NativeDevice Cpu => NativeDevice.All().First(d => d.Kind == NativeDeviceKind.Cpu);

    private static void Compare((List<int> Tokens, List<float[]> Logits) expected, (List<int> Tokens, List<float[]> Logits) actual)
    {
        Assert.Equal(expected.Tokens, actual.Tokens);
        foreach (var (a, b) in expected.Logits.Zip(actual.Logits))
        {
            var largest = a.Max(MathF.Abs);
            var difference = a.Zip(b).Max(p => MathF.Abs(p.First - p.Second));
            Assert.True(difference <= 2e-2 * largest, $"logits differ by {difference} of {largest}");
        }
    }

    private (List<int> Tokens, List<float[]> Logits) Greedy(params Placement[] placements)
    {
        using var engine = new Engine(_model, placements, 256, 1, GgmlType.F16);
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
