using Ergon.Models;

namespace Ergon.Inference;

/// <summary>A run of consecutive stages of a model.</summary>
/// <param name="First">The first stage's place in the chain.</param>
/// <param name="End">One past the last's.</param>
/// <param name="LayerCount">Layers of the model.</param>
internal readonly record struct StageRange(int First, int End, int LayerCount)
{
    /// <summary>
    /// Where the head gives a vector for each text instead of logits: how. A pass then is of whole texts, whose
    /// rows see each other directly, and the layers need no KV cache.
    /// </summary>
    public Pooling? Pooling { get; init; }

    /// <summary>All of a model.</summary>
    public static StageRange Whole(ModelInfo model) => new(0, Stage.Count(model.LayerCount), model.LayerCount);

    /// <summary>Layers <paramref name="first"/> to <paramref name="end"/>, exclusive; the first with the embedding before it, the last with the head after it.</summary>
    public static StageRange OfLayers(ModelDescription model, int first, int end) =>
        new(first == 0 ? 0 : Stage.OfLayer(first), end == model.LayerCount ? Stage.Count(end) : Stage.OfLayer(end), model.LayerCount);

    /// <summary>Whether nothing comes before the range.</summary>
    public bool BeginsModel => First == 0;

    /// <summary>Whether nothing comes after the range.</summary>
    public bool EndsModel => End == Stage.Count(LayerCount);

    /// <summary>The stages, in order.</summary>
    public IEnumerable<Stage> Stages
    {
        get
        {
            for (var i = First; i < End; i++)
                yield return Stage.At(i, LayerCount);
        }
    }

    /// <summary>How much of the model's attention is in the range, and so of the KV cache: 0 to 1.</summary>
    public double AttentionShare => Stages.Count(s => s.Kind == StageKind.Attention) / (double)LayerCount;

    /// <summary>Whether the range needs this weight.</summary>
    public bool Contains(WeightSpec weight) => weight.Role switch
    {
        WeightRole.RopeFactors or WeightRole.RopeFactorsLong or WeightRole.RopeFactorsShort => Stages.Any(s => s.Kind == StageKind.Projection),
        WeightRole.Output or WeightRole.OutputBias when Pooling is not null => false,
        _ => Has(weight.Stage, weight.Layer),
    };

    private bool Has(StageKind kind, int layer)
    {
        var place = Stage.PlaceOf(new Stage(kind, layer), LayerCount);
        return place >= First && place < End;
    }

    /// <summary>The range by its ends, such as <c>embedding-7.attention</c>.</summary>
    public override string ToString() => $"{Stage.At(First, LayerCount)}-{Stage.At(End - 1, LayerCount)}";
}
