using Ergon.Models;
using Ergon.Models.Gguf;
using Ergon.Native;
using Ergon.Tests.Inference;

namespace Ergon.Tests.Models;

public sealed class FamilyTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public static TheoryData<string, string, object> Undescribed() => new()
    {
        { "llama", "attention.head_count", new[] { 4, 4, 4 } },
        { "llama", "attention.head_count_kv", new[] { 2, 2, 1 } },
        { "llama", "feed_forward_length", new[] { 512, 512, 512 } },
        { "llama", "attention.value_length", 32u },
        { "llama", "attention.causal", false },
        { "llama", "expert_count", 8u },
        { "llama", "rope.scaling.type", "dynamic" },
        { "qwen3", "rope.dimension_count", 32u },
        { "qwen3moe", "expert_group_count", 2u },
        { "lfm2", "attention.head_count_kv", new[] { 0, 2, 1 } },
        { "lfm2", "attention.head_count_kv", new[] { 0, 8, 0 } },
        { "lfm2", "attention.head_count_kv", new[] { 0, -2, 0 } },
        { "qwen3moe", "expert_used_count", new[] { 3, 3, 3 } },
    };

    [Theory]
    [MemberData(nameof(Undescribed))]
    public void A_feature_that_the_graph_does_not_describe_is_refused_by_name(string architecture, string key, object value) =>
        Assert.Contains(key, Assert.Throws<UnsupportedModelException>(() => Read(architecture, key, value)).Message);

    public static TheoryData<string, string, object> Contradictory() => new()
    {
        { "granite", "logit_scale", 0f },
        { "granite", "residual_scale", float.NaN },
        { "llama", "rope.freq_base", 0f },
        { "gemma2", "rope.freq_base_swa", 0f },
        { "gemma2", "attention.sliding_window", uint.MaxValue },
        { "gemma2", "final_logit_softcapping", float.PositiveInfinity },
        { "olmo2", "attention.sliding_window_pattern", new[] { true, false } },
        { "olmo2", "attention.key_length", 32u },
        { "phi3", "rope.dimension_count", 128u },
        { "lfm2", "attention.head_count_kv", new[] { 0, 2 } },
        { "lfm2", "shortconv.l_cache", 1u },
        { "lfm2", "shortconv.l_cache", 4u },
        { "qwen3moe", "expert_count", 0u },
        { "qwen3moe", "expert_count", 9u },
        { "qwen3moe", "expert_used_count", 9u },
    };

    [Theory]
    [MemberData(nameof(Contradictory))]
    public void A_hyperparameter_out_of_range_is_an_error_of_the_file(string architecture, string key, object value) =>
        Assert.Throws<GgufException>(() => Read(architecture, key, value));

    [Fact]
    public void Factors_for_long_contexts_need_those_for_short_ones() =>
        Assert.Contains("rope_factors_short", Assert.Throws<GgufException>(() =>
            Read(new RandomModel("phi3", GgmlType.F32) { RopeFactors = ["rope_factors_long"] })).Message);

    private ModelDescription Read(string architecture, string key, object value) =>
        Read(new RandomModel(architecture, GgmlType.F32) { Keys = new() { [key] = value } });

    private ModelDescription Read(RandomModel model) => ModelDescription.Read(GgufFile.Open(model.Write(_folder.Path)));

    public void Dispose() => _folder.Dispose();
}
