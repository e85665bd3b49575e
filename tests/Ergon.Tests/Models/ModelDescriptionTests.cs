using Ergon.Inference;
using Ergon.Models;
using Ergon.Models.Gguf;
using Ergon.Native;
using Ergon.Native.Tensors;
using Ergon.Tests.Inference;

namespace Ergon.Tests.Models;

public sealed class ModelDescriptionTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();
    private readonly GgufFile _base;

    public ModelDescriptionTests() => _base = GgufFile.Open(new RandomModel("llama", GgmlType.F32) { Layers = 1, TiedOutput = false }.Write(_folder.Path));

    public static TheoryData<GgmlType> Types() => [.. Enumerable.Range(0, GgmlTypes.Count).Select(t => (GgmlType)t).Where(t => GgmlTypes.TryGetTraits(t, out _))];

    [Theory]
    [MemberData(nameof(Types))]
    public void Every_storage_type_runs_or_is_refused_wherever_it_stands(GgmlType type)
    {
        foreach (var name in (string[])["token_embd.weight", "output.weight", "blk.0.attn_q.weight", "blk.0.ffn_down.weight"])
        {
            var path = Rewrite(tensor => tensor.Name == name ? (type, tensor.Ne.ToArray()) : null);
            if (!ModelDescription.IsWeightType(type))
            {
                Assert.Contains(name, Assert.Throws<GgufException>(() => Describe(path)).Message, StringComparison.Ordinal);
                continue;
            }
            var model = Describe(path);
            using var engine = new Engine(model, [new Placement(NativeDevice.All().First(d => d.Kind == NativeDeviceKind.Cpu), StageRange.Whole(model), 1)], 256, 1, GgmlType.F16);
            var sequence = engine.Cells.Open()!.Value;
            Assert.True(engine.TryRun([new PassRow(sequence, 1, false), new PassRow(sequence, 2, true)], out var logits));
            Assert.True(Engine.IsFinite(logits));
        }
    }

    [Theory]
    [InlineData("blk.0.attn_norm.weight")]
    [InlineData("output_norm.weight")]
    public void A_vector_of_another_type_than_F32_is_refused(string name)
    {
        var path = Rewrite(t => t.Name == name ? (GgmlType.F16, t.Ne.ToArray()) : null);
        Assert.Contains($"'{name}' in the type F16", Assert.Throws<GgufException>(() => Describe(path)).Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("blk.0.attn_k.weight", 256, 64)]
    [InlineData("blk.0.ffn_up.weight", 256, 256)]
    [InlineData("output.weight", 256, 319)]
    [InlineData("token_embd.weight", 320, 320)]
    public void A_tensor_of_another_shape_than_the_hyperparameters_make_is_refused(string name, long ne0, long ne1)
    {
        var path = Rewrite(t => t.Name == name ? (GgmlType.F32, [ne0, ne1]) : null);
        Assert.Contains($"'{name}' in the shape [{ne0}, {ne1}", Assert.Throws<GgufException>(() => Describe(path)).Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("llama.block_count", 0u, "llama.block_count' = 0")]
    [InlineData("llama.block_count", 2u, "lacks the tensor 'blk.1.")]
    [InlineData("llama.attention.head_count", 0u, "head_count' = 0")]
    [InlineData("llama.attention.head_count", uint.MaxValue, "head_count' = 4294967295")]
    [InlineData("llama.embedding_length", 1u << 31, "embedding_length' = 2147483648")]
    [InlineData("llama.attention.head_count_kv", 3u, "does not divide the 4 heads")]
    [InlineData("llama.feed_forward_length", 511u, "'blk.0.ffn_gate.weight' in the shape")]
    [InlineData("llama.context_length", 0u, "context_length' = 0")]
    public void A_hyperparameter_that_contradicts_the_file_is_refused(string key, uint value, string part)
    {
        var path = Rewrite(_ => null, w => w.Add(key, value), key);
        Assert.Contains(part, Assert.ThrowsAny<ErgonException>(() => Describe(path)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_tensor_that_the_graph_would_leave_out_is_refused()
    {
        var path = Rewrite(_ => null, w => w.AddTensor("blk.0.attn_q_norm.weight", GgmlType.F32, [64], new byte[256]));
        Assert.Contains("attn_q_norm", Assert.Throws<UnsupportedModelException>(() => Describe(path)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void An_architecture_that_the_graph_does_not_describe_is_named()
    {
        var path = Rewrite(_ => null, w => w.Add("general.architecture", "mamba"), "general.architecture");
        Assert.Contains("'mamba'", Assert.Throws<UnsupportedModelException>(() => Describe(path)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_model_without_a_tokenizer_is_refused()
    {
        var path = Rewrite(_ => null, w =>
        {
            w.Add("tokenizer.ggml.model", "no_vocab");
            w.Add("llama.vocab_size", 320u);
        }, [.. _base.Keys.Where(k => k.StartsWith("tokenizer.", StringComparison.Ordinal))]);
        Assert.Contains("no tokenizer", Assert.Throws<GgufException>(() => ErgonModel.Load(path)).Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(300)]
    [InlineData(340)]
    public void A_tokenizer_of_another_size_than_the_logits_is_refused(int tokens)
    {
        var path = Rewrite(_ => null, w =>
        {
            w.AddArray("tokenizer.ggml.tokens", [.. _base.GetStrings("tokenizer.ggml.tokens").Take(tokens), .. Enumerable.Range(0, Math.Max(0, tokens - 320)).Select(i => $"<more{i}>")]);
            w.AddArray<int>("tokenizer.ggml.token_type", [.. Enumerable.Repeat(1, tokens)]);
        }, "tokenizer.ggml.tokens", "tokenizer.ggml.token_type");
        Assert.Contains($"the tokenizer has {tokens} tokens", Assert.Throws<ErgonException>(() => ErgonModel.Load(path)).Message, StringComparison.Ordinal);
    }

    private static ModelDescription Describe(string path) => ModelDescription.Read(GgufFile.Open(path));

    // The base with some tensors replaced by zeros of another type or shape, some keys left out, and more added.
    private string Rewrite(Func<GgufTensor, (GgmlType Type, long[] Ne)?> replace, Action<GgufWriter>? add = null, params string[] without)
    {
        var bytes = File.ReadAllBytes(_base.Path);
        var writer = new GgufWriter();
        foreach (var key in _base.Keys.Except(without))
            writer.Copy(_base, key);
        add?.Invoke(writer);
        foreach (var tensor in _base.Tensors)
        {
            if (replace(tensor) is { } other)
                writer.AddTensor(tensor.Name, other.Type, other.Ne, stream => stream.Write(new byte[other.Ne[0] / other.Type.Traits().BlockSize * other.Type.Traits().BlockBytes * other.Ne.Skip(1).Aggregate(1L, (a, b) => a * b)]));
            else
                writer.AddTensor(tensor.Name, tensor.Type, tensor.Ne.AsSpan(), bytes.AsMemory((int)tensor.FileOffset, (int)tensor.Bytes));
        }
        var path = _folder.File("rewritten.gguf");
        writer.Write(path);
        return path;
    }

    public void Dispose() => _folder.Dispose();
}
