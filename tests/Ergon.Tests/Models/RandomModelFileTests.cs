using Ergon.Models;
using Ergon.Models.Gguf;
using Ergon.Native;
using Ergon.Tests.Inference;

namespace Ergon.Tests.Models;

/// <summary>Files of <c>ergon dev random-model</c>, in real widths and of few layers.</summary>
public sealed class RandomModelFileTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public static TheoryData<string, string> Files()
    {
        var data = new TheoryData<string, string>();
        foreach (var shape in ModelShape.All.Where(s => s.Embedding <= 1024 || s.Convolutions.Count > 0))
        {
            foreach (var mix in QuantizationMix.All)
                data.Add(shape.Name, mix.Name);
        }
        return data;
    }

    [Theory]
    [MemberData(nameof(Files))]
    public void A_random_model_gives_the_finite_logits_that_libllama_gives(string shape, string mix) =>
        OracleTests.CompareWithLlama(Write("model.gguf", shape, mix, seed: 1), prompt: 20, decode: 8);

    [Fact]
    public void The_same_seed_gives_the_same_file_and_another_another()
    {
        var first = File.ReadAllBytes(Write("a.gguf", "qwen2.5-0.5b", "q4_k_m", seed: 1));

        Assert.Equal(first, File.ReadAllBytes(Write("b.gguf", "qwen2.5-0.5b", "q4_k_m", seed: 1)));
        Assert.NotEqual(first, File.ReadAllBytes(Write("c.gguf", "qwen2.5-0.5b", "q4_k_m", seed: 2)));
    }

    [Fact]
    public void A_vocabulary_can_be_copied()
    {
        var source = GgufFile.Open(Write("source.gguf", "gpt2", "q8_0", seed: 1));
        var path = _folder.File("copy.gguf");
        new RandomModelFile(Small("smollm2-135m"), Mix("q8_0"), 1) { VocabularyFrom = source }.Write(path);
        using var tokenizer = Tokenizer.Load(path);

        Assert.Equal(512, tokenizer.Count);
        Assert.Equal([256], tokenizer.Tokenize("he", addSpecial: false));
    }

    [Fact]
    public void A_cancelled_write_leaves_no_file()
    {
        Assert.ThrowsAny<OperationCanceledException>(() => new RandomModelFile(Small("gpt2"), Mix("f16"), 1).Write(_folder.File("x.gguf"), null, new CancellationToken(canceled: true)));
        Assert.Empty(Directory.GetFiles(_folder.Path));
    }

    // What llama-quantize of the pinned release printed for the same shapes in F16.
    [Theory]
    [InlineData("q4_0", WeightRole.Output, 2048, GgmlType.Q6_K)]
    [InlineData("q4_0", WeightRole.Output, 896, GgmlType.Q8_0)]
    [InlineData("q4_k_m", WeightRole.Output, 896, GgmlType.Q8_0)]
    [InlineData("q4_k_m", WeightRole.Query, 2048, GgmlType.Q4_K)]
    [InlineData("q4_k_m", WeightRole.Query, 896, GgmlType.Q5_0)]
    [InlineData("q4_k_m", WeightRole.Value, 896, GgmlType.Q8_0)]
    [InlineData("q4_k_m", WeightRole.FusedQkv, 768, GgmlType.Q6_K)]
    [InlineData("q8_0", WeightRole.Output, 2048, GgmlType.Q8_0)]
    public void A_matrix_of_the_first_layer_has_the_type_that_llama_quantize_gives_it(string mix, object role, int rowLength, GgmlType type) =>
        Assert.Equal(type, Mix(mix).Of((WeightRole)role, 0, 16, rowLength));

    [Fact]
    public void Some_layers_of_q4_k_m_get_more_bits() =>
        Assert.Equal([0, 1, 4, 7, 10, 13, 14, 15], Enumerable.Range(0, 16).Where(layer => Mix("q4_k_m").Of(WeightRole.Down, layer, 16, 8192) == GgmlType.Q6_K));

    private string Write(string name, string shape, string mix, int seed)
    {
        var path = _folder.File(name);
        new RandomModelFile(Small(shape), Mix(mix), seed).Write(path);
        return path;
    }

    // Of short convolutions a layer of each kind, and less wide: none of them is small.
    private static ModelShape Small(string name) => (ModelShape.All.Single(s => s.Name == name) with { Vocabulary = 512, Context = 1024 }) switch
    {
        { Convolutions.Count: > 0 } lfm2 => lfm2 with { Layers = 3, Embedding = 512, FeedForward = 1536, Heads = 8, HeadsKv = 2 },
        var other => other with { Layers = 2 },
    };

    private static QuantizationMix Mix(string name) => QuantizationMix.All.Single(m => m.Name == name);

    public void Dispose() => _folder.Dispose();
}
