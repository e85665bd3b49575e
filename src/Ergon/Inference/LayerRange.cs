using Ergon.Models;

namespace Ergon.Inference;

/// <summary>A run of consecutive layers, with the embedding before the first and the head after the last where they belong to it.</summary>
/// <param name="First">The first layer.</param>
/// <param name="End">One past the last layer.</param>
/// <param name="Embedding">Whether the run begins with the token embedding.</param>
/// <param name="Head">Whether the run ends with the output norm and the output matrix.</param>
internal readonly record struct LayerRange(int First, int End, bool Embedding, bool Head)
{
    public int Count => End - First;

    /// <summary>
    /// Where the head gives a vector for each text instead of logits: how. A pass then is of whole texts, whose
    /// rows see each other directly, and the layers need no KV cache.
    /// </summary>
    public Pooling? Pooling { get; init; }

    /// <summary>All of a model.</summary>
    public static LayerRange Whole(ModelDescription model) => new(0, model.LayerCount, Embedding: true, Head: true);

    /// <summary>Whether the run needs this weight.</summary>
    public bool Contains(WeightSpec weight) => weight.Role switch
    {
        WeightRole.TokenEmbedding or WeightRole.PositionEmbedding or WeightRole.TokenTypes or WeightRole.EmbeddingNorm or WeightRole.EmbeddingNormBias => Embedding,
        WeightRole.OutputNorm or WeightRole.OutputNormBias => Head,
        WeightRole.Output or WeightRole.OutputBias => Head && Pooling is null,
        WeightRole.RopeFactors or WeightRole.RopeFactorsLong or WeightRole.RopeFactorsShort => Count > 0,
        _ => weight.Layer >= First && weight.Layer < End,
    };
}
