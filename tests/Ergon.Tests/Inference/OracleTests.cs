using Ergon.Inference;
using Ergon.Models;
using Ergon.Models.Gguf;
using Ergon.Native;
using Ergon.Native.Llama;
using Ergon.Native.Tensors;

namespace Ergon.Tests.Inference;

/// <summary>Our forward graph against libllama's, on the same file, CPU, one thread: equal to the last bit.</summary>
public sealed class OracleTests : IDisposable
{
    private const int Context = 1024;
    private readonly TemporaryFolder _folder = new();

    public static TheoryData<string, GgmlType> RandomModels()
    {
        var data = new TheoryData<string, GgmlType>();
        foreach (var architecture in Architecture.All)
        {
            foreach (var type in (GgmlType[])[GgmlType.F32, GgmlType.F16, GgmlType.Q8_0, GgmlType.Q4_0, GgmlType.Q4_K])
                data.Add(architecture.Name, type);
        }
        return data;
    }

    [Theory]
    [MemberData(nameof(RandomModels))]
    public void Random_models_give_the_same_logits_and_128_greedy_tokens(string architecture, GgmlType type) =>
        CompareWithLlama(new RandomModel(architecture, type).Write(_folder.Path), prompt: 70);

    [Theory]
    [InlineData("llama", false, null)]
    [InlineData("llama", true, null)]
    [InlineData("llama", false, "linear")]
    [InlineData("llama", false, "yarn")]
    [InlineData("qwen2", false, "yarn")]
    public void Rotary_scaling_and_an_output_of_its_own_give_the_same_logits(string architecture, bool factors, string? scaling) =>
        CompareWithLlama(new RandomModel(architecture, GgmlType.F32) { TiedOutput = false, RopeFactors = factors, RopeScaling = scaling }.Write(_folder.Path), prompt: 300);

    [Fact]
    public void A_prompt_of_several_passes_gives_the_same_logits() =>
        CompareWithLlama(new RandomModel("llama", GgmlType.Q8_0).Write(_folder.Path), prompt: 700);

    [SharedTheory]
    [InlineData("stories260K-f32.gguf", 40)]
    [InlineData("llama2xs-280K-tok512-f32.gguf", 40)]
    [InlineData("llama-2-tiny-random.gguf", 100)]
    [InlineData("ergon-words-s-f16.gguf", 40)]
    [InlineData("ergon-words-m-f16.gguf", 40)]
    [InlineData("ergon-words-l-f16.gguf", 40)]
    public void Real_models_give_the_same_logits_and_128_greedy_tokens(string file, int prompt) =>
        CompareWithLlama(Shared.Path("data/models/" + file), prompt);

    [Fact]
    public void Cutting_at_every_layer_boundary_leaves_the_logits_as_they_are()
    {
        var file = new RandomModel("llama", GgmlType.Q4_0).Write(_folder.Path);
        var model = ModelDescription.Read(GgufFile.Open(file));
        var whole = Logits(LayerRange.Whole(model));
        Assert.Equal(whole, Logits(new LayerRange(0, 0, true, false), new(0, 3, false, false), new(3, 3, false, true)));
        for (var cut = 1; cut < model.LayerCount; cut++)
            Assert.Equal(whole, Logits(new LayerRange(0, cut, true, false), new(cut, model.LayerCount, false, true)));

        float[] Logits(params LayerRange[] ranges)
        {
            using var engine = new Engine(model, [.. ranges.Select(r => new Placement(Cpu, r, 1))], 512, 1, GgmlType.F16);
            var sequence = engine.Cells.Open()!.Value;
            var all = new List<float>();
            // Rows with and without logits, a pass without any, and single rows.
            Assert.True(engine.TryRun([.. Prompt(20, model).Select((t, i) => new PassRow(sequence, t, i % 3 == 0))], out var logits));
            all.AddRange(logits);
            Assert.True(engine.TryRun([.. Prompt(5, model).Select(t => new PassRow(sequence, t, false))], out _));
            Assert.True(engine.TryRun([new PassRow(sequence, 7, true)], out logits));
            all.AddRange(logits);
            return [.. all];
        }
    }

    private static NativeDevice Cpu => NativeDevice.All().First(d => d.Kind == NativeDeviceKind.Cpu);

    private static int[] Prompt(int length, ModelDescription model)
    {
        var random = new Random(length);
        return [.. Enumerable.Range(0, length).Select(_ => random.Next(3, model.VocabularySize))];
    }

    private static void CompareWithLlama(string path, int prompt)
    {
        var model = ModelDescription.Read(GgufFile.Open(path));
        using var engine = new Engine(model, [new Placement(Cpu, LayerRange.Whole(model), 1)], Context, 1, GgmlType.F16);
        using var llama = LlamaModel.Load(path, vocabularyOnly: false);
        using var oracle = new LlamaContext(llama, Context, 1);
        var sequence = engine.Cells.Open()!.Value;
        var expected = new float[model.VocabularySize];
        var position = 0;
        foreach (var chunk in Prompt(prompt, model).Chunk(Engine.MaxRows))
            Check(chunk);
        for (var i = 0; i < 128; i++)
            Check([TokenSampler.IndexOfMax(expected)]);

        void Check(int[] tokens)
        {
            oracle.Decode(tokens, position, [tokens.Length - 1], expected);
            position += tokens.Length;
            Assert.True(engine.TryRun([.. tokens.Select((t, i) => new PassRow(sequence, t, i == tokens.Length - 1))], out var actual));
            Assert.True(actual.SequenceEqual(expected), $"logits differ at position {position}");
        }
    }

    public void Dispose() => _folder.Dispose();
}
