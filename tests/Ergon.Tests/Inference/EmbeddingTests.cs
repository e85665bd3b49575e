using Ergon.Inference;
using Ergon.Models;
using Ergon.Models.Gguf;
using Ergon.Native;
using Ergon.Native.Llama;
using Ergon.Native.Tensors;

namespace Ergon.Tests.Inference;

/// <summary>Vectors of texts: against libllama's on the same file, CPU, one thread, to the last bit; and what the library makes of them.</summary>
public sealed class EmbeddingTests : IDisposable
{
    private const int Context = 1024;
    private readonly TemporaryFolder _folder = new();

    public static TheoryData<string, GgmlType, Pooling> Encoders()
    {
        var data = new TheoryData<string, GgmlType, Pooling>();
        foreach (var architecture in Architecture.All.Where(a => a.Encoder))
        {
            foreach (var type in (GgmlType[])[GgmlType.F32, GgmlType.F16, GgmlType.Q8_0])
            {
                foreach (var pooling in Enum.GetValues<Pooling>())
                    data.Add(architecture.Name, type, pooling);
            }
        }
        return data;
    }

    [Theory]
    [MemberData(nameof(Encoders))]
    public void Encoders_give_the_vectors_of_libllama(string architecture, GgmlType type, Pooling pooling) =>
        CompareWithLlama(new RandomModel(architecture, type), pooling);

    public static TheoryData<string, Pooling> Generative()
    {
        var data = new TheoryData<string, Pooling>();
        foreach (var architecture in Architecture.All.Where(a => !a.Encoder && !a.Convolutions))
        {
            data.Add(architecture.Name, Pooling.Last);
            data.Add(architecture.Name, Pooling.Mean);
        }
        return data;
    }

    [Theory]
    [MemberData(nameof(Generative))]
    public void Generative_models_give_the_vectors_of_libllama(string architecture, Pooling pooling) =>
        CompareWithLlama(new RandomModel(architecture, GgmlType.Q8_0), pooling);

    [Fact]
    public void Variations_of_encoders_give_the_vectors_of_libllama()
    {
        foreach (var architecture in (string[])["bert", "nomic-bert"])
        {
            var plain = new RandomModel(architecture, GgmlType.F32);
            CompareWithLlama(plain with { TokenTypes = null }, Pooling.Mean);
            CompareWithLlama(plain with { FusedQkv = true }, Pooling.Mean);
            CompareWithLlama(plain with { FusedQkv = false }, Pooling.Mean);
            CompareWithLlama(plain with { Heads = 2 }, Pooling.Mean);
        }
        CompareWithLlama(new RandomModel("nomic-bert", GgmlType.F32) { Keys = new() { ["rope.freq_base"] = 1000f, ["rope.scaling.type"] = "linear", ["rope.scaling.factor"] = 4f } }, Pooling.Cls);
    }

    [Fact]
    public async Task Texts_have_the_vector_that_they_have_alone_in_whatever_company()
    {
        using var model = Load(new("nomic-bert", GgmlType.F32));
        string[] texts = [.. Enumerable.Range(0, 40).Select(i => string.Join(' ', Enumerable.Repeat("the sky is blue", (i * 7 % 30) + 1)) + i)];
        Assert.True(texts.Sum(t => model.Tokenize(t).Length) > 2 * Engine.MaxRows);

        var together = await Task.WhenAll(model.EmbedAsync(texts), model.EmbedAsync(texts.Reverse()));
        Assert.Equal(together[0].Select(v => v.Length), Enumerable.Repeat(model.Dimensions, texts.Length));
        for (var i = 0; i < texts.Length; i++)
        {
            var alone = (await model.EmbedAsync([texts[i]]))[0];
            Assert.Equal(1, Cosine(alone, alone), 1e-5);
            Assert.Equal(1, Cosine(alone, together[0][i]), 1e-5);
            Assert.Equal(1, Cosine(alone, together[1][^(i + 1)]), 1e-5);
        }
        Assert.True(Cosine(together[0][0], together[0][1]) < 0.9999);

        static double Cosine(float[] a, float[] b) => a.Zip(b, (x, y) => (double)x * y).Sum();
    }

    [Fact]
    public async Task Vectors_are_of_length_1_unless_asked_otherwise()
    {
        using var plain = Load(new("bert", GgmlType.F32), new() { Normalize = false });
        using var unit = Load(new("bert", GgmlType.F32));
        var (long_, short_) = ((await plain.EmbedAsync(["blue sky"]))[0], (await unit.EmbedAsync(["blue sky"]))[0]);
        var length = Math.Sqrt(long_.Sum(v => (double)v * v));
        Assert.True(length > 2);
        Assert.All(long_.Zip(short_), pair => Assert.Equal(pair.First / length, pair.Second, 1e-6));
        Assert.Empty(await unit.EmbedAsync([]));
    }

    [Fact]
    public void A_text_longer_than_the_context_is_refused_or_loses_its_end_but_not_the_token_after_it()
    {
        var text = string.Join(' ', Enumerable.Repeat("sky", 20));
        using var strict = Load(new("bert", GgmlType.F32), new() { ContextLength = 16 });
        Assert.Contains("has 22 tokens, but the context holds 16", Assert.Throws<ErgonException>(() => strict.Tokenize(text)).Message, StringComparison.Ordinal);

        using var cutting = Load(new("bert", GgmlType.F32), new() { ContextLength = 16, Truncate = true });
        using var whole = Load(new("bert", GgmlType.F32));
        var (cut, all) = (cutting.Tokenize(text), whole.Tokenize(text));
        Assert.Equal([.. all[..15], all[^1]], cut);
        Assert.Equal(whole.Tokenize("sky"), cutting.Tokenize("sky"));
    }

    [Theory]
    [InlineData(0u, "does not say how")]
    [InlineData(4u, "reranker")]
    [InlineData(9u, "pooling_type 9")]
    public void A_pooling_that_gives_no_vector_is_refused(uint type, string reason) =>
        Assert.Contains(reason, Assert.Throws<ErgonException>(() => Load(new("bert", GgmlType.F32) { Keys = new() { ["pooling_type"] = type } })).Message, StringComparison.Ordinal);

    [Fact]
    public void A_pooling_that_is_asked_for_goes_before_that_of_the_file()
    {
        using var model = Load(new("bert", GgmlType.F32) { Keys = new() { ["pooling_type"] = 0u } }, new() { Pooling = Pooling.Cls });
        Assert.Equal(Pooling.Cls, model.Pooling);
    }

    [Fact]
    public void Each_kind_of_model_names_the_verb_for_it()
    {
        var encoder = new RandomModel("bert", GgmlType.F32).Write(_folder.Path);
        Assert.Contains("use 'ergon embed'", Assert.Throws<ErgonException>(() => ErgonModel.Load(encoder)).Message, StringComparison.Ordinal);
        Assert.Contains("'lfm2'", Assert.Throws<UnsupportedModelException>(() => Load(new("lfm2", GgmlType.F32), new() { Pooling = Pooling.Last })).Message, StringComparison.Ordinal);
        Assert.Contains("use 'ergon run'", Assert.Throws<ErgonException>(() => Load(new("llama", GgmlType.F32))).Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Tokens_out_of_range_are_refused_and_the_model_goes_on()
    {
        using var model = Load(new("nomic-bert", GgmlType.F32), new() { ContextLength = 8 });
        foreach (var wrong in (int[][])[[], [-1], [320], [1, 2, 3, 4, 5, 6, 7, 8, 9]])
            await Assert.ThrowsAsync<ErgonException>(() => model.EmbedTokensAsync([[1, 2], wrong]));
        Assert.Single(await model.EmbedTokensAsync([[1, 2]]));
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => model.EmbedTokensAsync([[1, 2]], new CancellationToken(canceled: true)));
        model.Dispose();
        await Assert.ThrowsAsync<ObjectDisposedException>(() => model.EmbedTokensAsync([[1, 2]]));
    }

    [Fact]
    public void Token_types_that_ggml_cannot_add_are_refused() =>
        Assert.Contains("'token_types.weight' in the type F16", Assert.Throws<GgufException>(() => Load(new("bert", GgmlType.F32) { TokenTypes = GgmlType.F16 })).Message, StringComparison.Ordinal);

    private EmbeddingModel Load(RandomModel random, EmbeddingOptions? options = null) =>
        EmbeddingModel.Load(random.Write(_folder.Path), (options ?? new()) with { Threads = 1 });

    private void CompareWithLlama(RandomModel random, Pooling pooling)
    {
        var path = random.Write(_folder.Path);
        var model = ModelDescription.Read(GgufFile.Open(path));
        var cpu = NativeDevice.All().First(d => d.Kind == NativeDeviceKind.Cpu);
        using var engine = new EmbeddingEngine(model, new Placement(cpu, StageRange.Whole(model) with { Pooling = pooling }, 1), Context);
        using var llama = LlamaModel.Load(path, vocabularyOnly: false);
        using var oracle = new LlamaContext(llama, Context, 1, sequences: 8, pooling: (int)pooling);
        var draw = new Random(7);
        // One text, several of different lengths, and more rows than a decoding pass has.
        foreach (var lengths in (int[][])[[1], [40], [5, 17, 1, 64], [300, 90], [700]])
        {
            int[][] texts = [.. lengths.Select(n => Enumerable.Range(0, n).Select(_ => draw.Next(3, model.VocabularySize)).ToArray())];
            var expected = oracle.Embed(texts);
            var actual = engine.Run(texts);
            for (var i = 0; i < texts.Length; i++)
            {
                Assert.NotEqual(0, expected[i].Max(Math.Abs));
                Assert.True(actual[i].AsSpan().SequenceEqual(expected[i]), $"text {i} of {string.Join(", ", lengths)} tokens differs");
            }
        }
    }

    public void Dispose() => _folder.Dispose();
}
