namespace Ergon.Models;

/// <summary>What a weight is for; the name of its tensor in a GGUF file follows from it.</summary>
internal enum WeightRole
{
    TokenEmbedding,
    PositionEmbedding,
    TokenTypes,
    EmbeddingNorm,
    EmbeddingNormBias,
    RopeFactors,
    RopeFactorsLong,
    RopeFactorsShort,
    OutputNorm,
    OutputNormBias,
    Output,
    OutputBias,
    AttentionNorm,
    AttentionNormBias,
    Query,
    QueryBias,
    Key,
    KeyBias,
    Value,
    ValueBias,
    QueryNorm,
    KeyNorm,
    FusedQkv,
    FusedQkvBias,
    AttentionOutput,
    AttentionOutputBias,
    AttentionPostNorm,
    AttentionSumNorm,
    AttentionSumNormBias,
    FeedForwardNorm,
    FeedForwardNormBias,
    FeedForwardPostNorm,
    FeedForwardSumNorm,
    FeedForwardSumNormBias,
    Gate,
    GateBias,
    Up,
    UpBias,
    Down,
    DownBias,
    Router,
    GateExperts,
    UpExperts,
    DownExperts,
    ConvolutionInput,
    ConvolutionKernel,
    ConvolutionOutput,
}

/// <summary>A weight that a model has: where its tensor lies and what it is for.</summary>
/// <param name="Role">Its use.</param>
/// <param name="Layer">Its layer; -1 for the weights before and after the layers.</param>
/// <param name="TensorName">The tensor's name in the file.</param>
internal readonly record struct WeightSpec(WeightRole Role, int Layer, string TensorName)
{
    /// <summary>The kind of stage that uses it; rotary factors are used by that of every layer.</summary>
    public StageKind Stage => Role switch
    {
        WeightRole.TokenEmbedding or WeightRole.PositionEmbedding or WeightRole.TokenTypes or WeightRole.EmbeddingNorm or WeightRole.EmbeddingNormBias => StageKind.Embedding,
        WeightRole.OutputNorm or WeightRole.OutputNormBias or WeightRole.Output or WeightRole.OutputBias => StageKind.Head,
        WeightRole.RopeFactors or WeightRole.RopeFactorsLong or WeightRole.RopeFactorsShort
            or WeightRole.AttentionNorm or WeightRole.AttentionNormBias or WeightRole.Query or WeightRole.QueryBias or WeightRole.Key or WeightRole.KeyBias
            or WeightRole.Value or WeightRole.ValueBias or WeightRole.QueryNorm or WeightRole.KeyNorm or WeightRole.FusedQkv or WeightRole.FusedQkvBias
            or WeightRole.ConvolutionInput => StageKind.Projection,
        WeightRole.ConvolutionKernel => StageKind.Attention,
        _ => StageKind.FeedForward,
    };

    /// <summary>The matrices that activations are multiplied by, which alone may be repacked.</summary>
    public bool IsMatrix => IsExperts || Role is WeightRole.Router or WeightRole.Output or WeightRole.Query or WeightRole.Key or WeightRole.Value
        or WeightRole.FusedQkv or WeightRole.AttentionOutput or WeightRole.Gate or WeightRole.Up or WeightRole.Down
        or WeightRole.ConvolutionInput or WeightRole.ConvolutionOutput;

    /// <summary>Whether the weight is a matrix for each expert, of which a row uses some.</summary>
    public bool IsExperts => Role is WeightRole.GateExperts or WeightRole.UpExperts or WeightRole.DownExperts;

    /// <summary>The GGUF name of a role's tensor.</summary>
    public static string NameOf(Architecture architecture, WeightRole role, int layer) => role switch
    {
        WeightRole.TokenEmbedding => "token_embd.weight",
        WeightRole.PositionEmbedding => "position_embd.weight",
        WeightRole.TokenTypes => "token_types.weight",
        WeightRole.EmbeddingNorm => "token_embd_norm.weight",
        WeightRole.EmbeddingNormBias => "token_embd_norm.bias",
        WeightRole.RopeFactors => "rope_freqs.weight",
        WeightRole.RopeFactorsLong => "rope_factors_long.weight",
        WeightRole.RopeFactorsShort => "rope_factors_short.weight",
        WeightRole.OutputNorm => architecture.OutputNorm + ".weight",
        WeightRole.OutputNormBias => architecture.OutputNorm + ".bias",
        WeightRole.Output => "output.weight",
        WeightRole.OutputBias => "output.bias",
        _ => $"blk.{layer}." + role switch
        {
            WeightRole.AttentionNorm => "attn_norm.weight",
            WeightRole.AttentionNormBias => "attn_norm.bias",
            WeightRole.Query => "attn_q.weight",
            WeightRole.QueryBias => "attn_q.bias",
            WeightRole.Key => "attn_k.weight",
            WeightRole.KeyBias => "attn_k.bias",
            WeightRole.Value => "attn_v.weight",
            WeightRole.ValueBias => "attn_v.bias",
            WeightRole.QueryNorm => "attn_q_norm.weight",
            WeightRole.KeyNorm => "attn_k_norm.weight",
            WeightRole.FusedQkv => "attn_qkv.weight",
            WeightRole.FusedQkvBias => "attn_qkv.bias",
            WeightRole.AttentionOutput => "attn_output.weight",
            WeightRole.AttentionOutputBias => "attn_output.bias",
            WeightRole.AttentionPostNorm => "post_attention_norm.weight",
            WeightRole.AttentionSumNorm => "attn_output_norm.weight",
            WeightRole.AttentionSumNormBias => "attn_output_norm.bias",
            WeightRole.FeedForwardNorm => "ffn_norm.weight",
            WeightRole.FeedForwardNormBias => "ffn_norm.bias",
            WeightRole.FeedForwardPostNorm => "post_ffw_norm.weight",
            WeightRole.FeedForwardSumNorm => "layer_output_norm.weight",
            WeightRole.FeedForwardSumNormBias => "layer_output_norm.bias",
            WeightRole.Gate => "ffn_gate.weight",
            WeightRole.GateBias => "ffn_gate.bias",
            WeightRole.Up => "ffn_up.weight",
            WeightRole.UpBias => "ffn_up.bias",
            WeightRole.Down => "ffn_down.weight",
            WeightRole.DownBias => "ffn_down.bias",
            WeightRole.Router => "ffn_gate_inp.weight",
            WeightRole.GateExperts => "ffn_gate_exps.weight",
            WeightRole.UpExperts => "ffn_up_exps.weight",
            WeightRole.DownExperts => "ffn_down_exps.weight",
            WeightRole.ConvolutionInput => "shortconv.in_proj.weight",
            WeightRole.ConvolutionKernel => "shortconv.conv.weight",
            WeightRole.ConvolutionOutput => "shortconv.out_proj.weight",
            _ => throw new ArgumentOutOfRangeException(nameof(role)),
        },
    };
}
