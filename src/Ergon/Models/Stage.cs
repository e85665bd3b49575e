namespace Ergon.Models;

/// <summary>What a stage of the forward pass computes.</summary>
internal enum StageKind
{
    /// <summary>Token ids to the residual stream.</summary>
    Embedding,

    /// <summary>The residual stream to queries, keys and values with their positions; of a short convolution to its gate and what it reads.</summary>
    Projection,

    /// <summary>Writes keys and values to the cache and attends; a short convolution likewise. The one stage with a cache, and without a matrix.</summary>
    Attention,

    /// <summary>What was attended, through the output matrix and the feed-forward block, into the residual stream.</summary>
    FeedForward,

    /// <summary>The residual stream to logits.</summary>
    Head,
}

/// <summary>The smallest part of the forward pass that can run on a device of its own.</summary>
/// <param name="Kind">What it computes.</param>
/// <param name="Layer">Of which layer; -1 for the embedding and the head.</param>
internal readonly record struct Stage(StageKind Kind, int Layer)
{
    private const int PerLayer = 3;

    /// <summary>Stages of a model of so many layers: the embedding, three a layer, the head.</summary>
    public static int Count(int layers) => 2 + (PerLayer * layers);

    /// <summary>The stage at a place in the chain.</summary>
    public static Stage At(int index, int layers) =>
        index == 0 ? new(StageKind.Embedding, -1)
        : index == Count(layers) - 1 ? new(StageKind.Head, -1)
        : new(StageKind.Projection + ((index - 1) % PerLayer), (index - 1) / PerLayer);

    /// <summary>A stage's place in the chain: the inverse of <see cref="At"/>.</summary>
    public static int PlaceOf(Stage stage, int layers) => stage.Kind switch
    {
        StageKind.Embedding => 0,
        StageKind.Head => Count(layers) - 1,
        _ => OfLayer(stage.Layer) + (stage.Kind - StageKind.Projection),
    };

    /// <summary>The place in the chain of the first stage of a layer; of the head for the layer after the last.</summary>
    public static int OfLayer(int layer) => 1 + (PerLayer * layer);

    /// <summary>Its name in reports, such as <c>7.attention</c>.</summary>
    public override string ToString() => Kind switch
    {
        StageKind.Embedding => "embedding",
        StageKind.Head => "head",
        StageKind.Projection => $"{Layer}.projection",
        StageKind.Attention => $"{Layer}.attention",
        _ => $"{Layer}.feedforward",
    };
}
