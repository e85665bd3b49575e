using Ergon.Inference;
using Ergon.Models;
using Ergon.Models.Gguf;
using Ergon.Native;
using Ergon.Native.Llama;
using Ergon.Native.Tensors;

namespace Ergon.Tests.Inference;

public sealed class OracleTests
{
    [Theory]
    [InlineData("stories260K-f32.gguf")]
    [InlineData("ergon-words-l-f16.gguf")]
    public void Logits_are_bit_identical(string file)
    {
        var path = "/work/shared/data/models/" + file;
        var model = ModelDescription.Read(GgufFile.Open(path));
        var cpu = NativeDevice.All().First(d => d.Kind == NativeDeviceKind.Cpu);
        using var engine = new Engine(model, [new Placement(cpu, LayerRange.Whole(model), 2)], 512, 1, GgmlType.F16);
        using var llama = LlamaModel.Load(path, vocabularyOnly: false);
        using var context = new LlamaContext(llama, 512, 2);
        var random = new Random(1);
        int[] prompt = [.. Enumerable.Range(0, 40).Select(_ => random.Next(3, model.VocabularySize))];
        var sequence = engine.Cells.Open()!.Value;
        var expected = new float[model.VocabularySize];
        context.Decode(prompt, 0, [39], expected);
        PassRow[] rows = [.. prompt.Select((t, i) => new PassRow(sequence, t, i == 39))];
        Assert.True(engine.TryRun(rows, out var actual));
        Assert.Equal(expected, actual.ToArray());
        for (var i = 0; i < 128; i++)
        {
            var token = expected.AsSpan().IndexOf(expected.Max());
            context.Decode([token], 40 + i, [0], expected);
            Assert.True(engine.TryRun([new PassRow(sequence, token, true)], out actual));
            Assert.Equal(expected, actual.ToArray());
        }
    }
}
