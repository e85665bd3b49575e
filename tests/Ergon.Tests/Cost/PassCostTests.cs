using Ergon.Cost;
using Ergon.Models;
using Ergon.Models.Gguf;
using Ergon.Native;
using Ergon.Tests.Inference;

namespace Ergon.Tests.Cost;

public sealed class PassCostTests : IDisposable
{
    private static readonly QuantizationMix F32 = QuantizationMix.All.First(m => m.Name == "f32");
    private readonly TemporaryFolder _folder = new();

    public static TheoryData<string> Generative() => [.. Architecture.All.Where(a => !a.Encoder).Select(a => a.Name)];

    // Width 8, two query heads and one key head of 4, blocks of 16, 10 tokens, 2 layers, all in F32.
    private static ModelOutline Tiny(int layers = 2, int experts = 0) =>
        new PublishedModel(new ModelShape("tiny", experts > 0 ? "qwen3moe" : "llama", layers, 8, 16, 2, 1, 4, 10, 64, 1e4f) { TiedOutput = false }) { Experts = experts, ExpertsUsed = experts > 0 ? 2 : 0 }.Outline(F32);

    private static StageCost At(StageCost[] costs, StageKind kind, int layer) => costs.Single(c => c.Stage == new Stage(kind, layer));

    [Fact]
    public void A_decode_costs_what_a_hand_computes()
    {
        var costs = PassCost.Of(Tiny(), [SequencePass.Decode(5)]);
        // Q 8x8, K and V 8x4: 128 elements, and a norm of 8.
        Assert.Equal(2 * 128, At(costs, StageKind.Projection, 0).Flops);
        Assert.Equal(4 * (128 + 8), At(costs, StageKind.Projection, 0).WeightBytes);
        // 6 positions, 8 query values: 4 x 8 x 6; each position is 4 keys and 4 values in F16.
        var attention = At(costs, StageKind.Attention, 1);
        Assert.Equal((4 * 8 * 6, 6 * 16, 16), (attention.Flops, attention.CacheRead, attention.CacheWritten));
        // Output 8x8 and three matrices of 8x16.
        Assert.Equal(2 * (64 + 384), At(costs, StageKind.FeedForward, 1).Flops);
        Assert.Equal((2 * 80, 4 * (80 + 8)), (At(costs, StageKind.Head, -1).Flops, At(costs, StageKind.Head, -1).WeightBytes));
        Assert.Equal((0, 32), (At(costs, StageKind.Embedding, -1).Flops, At(costs, StageKind.Embedding, -1).WeightBytes));
    }

    [Fact]
    public void Only_rows_with_logits_go_through_the_head_and_the_last_feed_forward_block()
    {
        var costs = PassCost.Of(Tiny(), [SequencePass.Prefill(10)]);
        Assert.Equal(2 * 10 * (64 + 384), At(costs, StageKind.FeedForward, 0).Flops);
        Assert.Equal(2 * ((10 * 64) + 384), At(costs, StageKind.FeedForward, 1).Flops);
        Assert.Equal(2 * 80, At(costs, StageKind.Head, -1).Flops);
        // 1 + 2 + ... + 10 looks.
        Assert.Equal(4 * 8 * 55, At(costs, StageKind.Attention, 0).Flops);

        costs = PassCost.Of(Tiny(), [SequencePass.Prefill(10, ends: false)]);
        Assert.Equal(0, At(costs, StageKind.FeedForward, 1).Traffic + At(costs, StageKind.Head, -1).Traffic + At(costs, StageKind.Attention, 1).Flops);
        Assert.Equal(160, At(costs, StageKind.Attention, 1).CacheWritten);
    }

    [Fact]
    public void Decoding_a_batch_reads_the_weights_once_and_every_cache()
    {
        StageCost[] one = PassCost.Of(Tiny(), [SequencePass.Decode(5)]), eight = PassCost.Of(Tiny(), Enumerable.Repeat(SequencePass.Decode(5), 8).ToArray());
        for (var i = 1; i < one.Length; i++)
        {
            Assert.Equal(one[i].WeightBytes, eight[i].WeightBytes);
            Assert.Equal(8 * one[i].Flops, eight[i].Flops);
            Assert.Equal(8 * one[i].CacheRead, eight[i].CacheRead);
        }
    }

    [Fact]
    public void Verifying_is_as_much_arithmetic_as_decoding_the_same_tokens_but_reads_the_weights_once()
    {
        var verify = PassCost.Of(Tiny(), [SequencePass.Verify(3, 5)]);
        var decodes = Enumerable.Range(5, 4).SelectMany(c => PassCost.Of(Tiny(), [SequencePass.Decode(c)])).ToArray();
        Assert.Equal(decodes.Sum(c => c.Flops), verify.Sum(c => c.Flops));
        Assert.Equal(decodes.Where(c => c.Stage.Kind != StageKind.Embedding).Sum(c => c.WeightBytes), 4 * verify.Where(c => c.Stage.Kind != StageKind.Embedding).Sum(c => c.WeightBytes));
    }

    [Fact]
    public void Cost_grows_by_the_same_with_each_layer()
    {
        var sums = Enumerable.Range(2, 3).Select(n => PassCost.Of(Tiny(n), [SequencePass.Decode(7)])).Select(c => (c.Sum(s => s.Flops), c.Sum(s => s.Traffic))).ToArray();
        Assert.Equal(sums[1].Item1 - sums[0].Item1, sums[2].Item1 - sums[1].Item1);
        Assert.Equal(sums[1].Item2 - sums[0].Item2, sums[2].Item2 - sums[1].Item2);
    }

    [Theory]
    [InlineData(8, 2, 1, 2)]
    [InlineData(8, 2, 2, 3.5)] // 8 (1 - 0.75^2)
    [InlineData(4, 4, 3, 4)]
    public void Rows_share_the_experts_that_they_happen_to_have_in_common(int experts, int used, int rows, double distinct) =>
        Assert.Equal(distinct, PassCost.DistinctExperts(experts, used, rows), 12);

    [Fact]
    public void Expected_experts_agree_with_drawing_them()
    {
        var random = new Random(3);
        var total = 0;
        for (var i = 0; i < 20000; i++)
            total += Enumerable.Range(0, 5).SelectMany(_ => Enumerable.Range(0, 16).OrderBy(_ => random.Next()).Take(4)).Distinct().Count();
        Assert.InRange(total / 20000.0 / PassCost.DistinctExperts(16, 4, 5), 0.99, 1.01);
    }

    [Fact]
    public void A_row_computes_with_the_experts_it_takes_and_reads_no_others()
    {
        var ffn = At(PassCost.Of(Tiny(experts: 8), [SequencePass.Decode(0)]), StageKind.FeedForward, 0);
        Assert.Equal(2 * (64 + 64 + (2 * 384)), ffn.Flops); // output, router, two experts
        Assert.Equal(4 * (64 + 64 + 8 + (2 * 384)), ffn.WeightBytes);
    }

    [Fact]
    public void A_window_bounds_what_attention_reads()
    {
        var gemma = PublishedModel.Named("gemma-3-1b").Outline(F32);
        var costs = PassCost.Of(gemma, [SequencePass.Decode(4095)]);
        double near = At(costs, StageKind.Attention, 0).CacheRead, all = At(costs, StageKind.Attention, 5).CacheRead;
        Assert.Equal(8, all / near);
        // Each of 4 rows drops the position that the one before still saw.
        Assert.Equal((512 + 3) * 2 * 256 * 2, At(PassCost.Of(gemma, [SequencePass.Verify(3, 4000)]), StageKind.Attention, 0).CacheRead);
    }

    [Fact]
    public void A_convolution_costs_the_same_at_any_context()
    {
        var lfm = PublishedModel.Named("lfm2-1.2b").Outline(F32);
        StageCost near = At(PassCost.Of(lfm, [SequencePass.Decode(1)]), StageKind.Attention, 0), far = At(PassCost.Of(lfm, [SequencePass.Decode(9000)]), StageKind.Attention, 0);
        Assert.Equal(near, far);
        Assert.Equal((2.0 * 3 * 2048, 3.0 * 2048 * 4), (far.Flops, far.CacheRead));
    }

    [Theory]
    [MemberData(nameof(Generative))]
    public void The_stages_of_every_architecture_read_the_weights_of_the_whole(string architecture)
    {
        var model = ModelDescription.Read(GgufFile.Open(new RandomModel(architecture, GgmlType.Q8_0).Write(_folder.Path)));
        var outline = ModelOutline.Of(model);
        Assert.Equal(model.WeightBytes, outline.WeightBytes);
        // So many rows that they take every token's row and every expert.
        var costs = PassCost.Of(outline, [new SequencePass(2000, 0, 2000)]);
        Assert.Equal(outline.Weights.Where(w => w.Role != WeightRole.PositionEmbedding && w.Role is not (WeightRole.RopeFactors or WeightRole.RopeFactorsLong or WeightRole.RopeFactorsShort)).Sum(w => (double)w.Bytes * w.Experts),
            costs.Sum(c => c.WeightBytes) - outline.Weights.Where(w => w.Role == WeightRole.PositionEmbedding).Sum(w => w.Bytes), 1e-3);
        Assert.All(costs.Where(c => c.Stage.Kind is not (StageKind.Embedding or StageKind.Attention)), c => Assert.True(c.Flops > 0 && c.Operations > 0));
    }

    [Theory]
    [InlineData("llama-3.2-1b", 1.236e9)]
    [InlineData("llama-3.1-8b", 8.03e9)]
    [InlineData("qwen2.5-0.5b", 0.494e9)]
    [InlineData("qwen2.5-7b", 7.616e9)]
    [InlineData("qwen2.5-14b", 14.77e9)]
    [InlineData("qwen3-30b-a3b", 30.53e9)]
    [InlineData("gpt2", 0.1244e9)]
    [InlineData("phi-3-mini", 3.821e9)]
    [InlineData("gemma-2-2b", 2.614e9)]
    [InlineData("gemma-3-1b", 1.0e9)]
    [InlineData("lfm2-1.2b", 1.17e9)]
    [InlineData("lfm2-2.6b", 2.57e9)]
    [InlineData("granite-3.1-2b", 2.53e9)]
    [InlineData("granite-4.0-350m", 3.52e8)]
    public void Published_shapes_have_the_published_number_of_parameters(string name, double parameters)
    {
        var outline = PublishedModel.Named(name).Outline(F32);
        Assert.InRange(outline.WeightBytes / 4.0 / parameters, 0.99, 1.01);
    }

    [Theory]
    [InlineData("smollm2-135m")]
    [InlineData("granite-4.0-350m")]
    [InlineData("lfm2-1.2b")]
    public void A_shape_and_its_file_have_the_same_outline(string name)
    {
        var shape = ModelShape.All.First(s => s.Name == name) with { Layers = 3 };
        var mix = QuantizationMix.All.First(m => m.Name == "q4_k_m");
        var path = _folder.File("m.gguf");
        new RandomModelFile(shape, mix, 1).Write(path);
        ModelOutline file = ModelOutline.Of(ModelDescription.Read(GgufFile.Open(path))), light = new PublishedModel(shape).Outline(mix);
        Assert.Equal(light.WeightBytes - light.Weights[0].Bytes, file.WeightBytes - file.Weights.First(w => w.Role == WeightRole.TokenEmbedding).Bytes);
        Assert.Equal(PassCost.Of(light, [SequencePass.Decode(9)])[2..^1], PassCost.Of(file, [SequencePass.Decode(9)])[2..^1]);
    }

    [Fact]
    public void A_pass_that_cannot_be_is_refused() =>
        Assert.Contains("0 to 1 outputs", Assert.Throws<ArgumentException>(() => PassCost.Of(Tiny(), [new SequencePass(1, 0, 2)])).Message, StringComparison.Ordinal);

    public void Dispose() => _folder.Dispose();
}
