using Ergon.Models;
using Ergon.Native;

namespace Ergon.Cost;

/// <summary>What a pass does for one sequence: a prefill appends many rows of which at most the last wants logits, a decode one, a verification a few that all do.</summary>
/// <param name="Rows">Tokens appended.</param>
/// <param name="Context">Positions that were there before.</param>
/// <param name="Outputs">Rows that want logits.</param>
internal readonly record struct SequencePass(int Rows, int Context, int Outputs)
{
    /// <summary>A chunk of a prompt; its last row wants logits where it ends the prompt.</summary>
    public static SequencePass Prefill(int rows, int context = 0, bool ends = true) => new(rows, context, ends ? 1 : 0);

    /// <summary>One token after so many.</summary>
    public static SequencePass Decode(int context) => new(1, context, 1);

    /// <summary>A token and the drafted ones after it, which all want logits.</summary>
    public static SequencePass Verify(int drafted, int context) => new(drafted + 1, context, drafted + 1);
}

/// <summary>Arithmetic and memory traffic of a stage in one pass. Traffic is what a device with no cache larger than a stage's working set moves.</summary>
/// <param name="Stage">Which.</param>
/// <param name="Type">The type of the weights that most of the arithmetic is with; of the cache for attention.</param>
/// <param name="Rows">Rows that go through its matrices.</param>
/// <param name="Flops">Of matrix products, attention and convolutions, a multiplication and an addition being two; what is done value by value (norms, activations, rotations) is not counted.</param>
/// <param name="WeightBytes">Weights read; of experts the expected number of distinct ones.</param>
/// <param name="CacheRead">Keys and values, or a convolution's history, read, in bytes.</param>
/// <param name="CacheWritten">The same written.</param>
/// <param name="ActivationBytes">Values that come from the stage before and go to the stage after, F32.</param>
/// <param name="Operations">Kernels of the graph.</param>
/// <param name="HeadLength">Values of a head, where the arithmetic is attention's; else 0.</param>
internal readonly record struct StageCost(
    Stage Stage, GgmlType Type, int Rows, double Flops, double WeightBytes, double CacheRead, double CacheWritten, double ActivationBytes, int Operations, int HeadLength = 0)
{
    /// <summary>All memory traffic, in bytes.</summary>
    public double Traffic => WeightBytes + CacheRead + CacheWritten + ActivationBytes;
}

/// <summary>The cost of every stage of one pass; the arithmetic follows <c>Inference.LayerGraph</c>.</summary>
internal static class PassCost
{
    private const double ActivationSize = sizeof(float);

    /// <summary>Costs in the order of <see cref="Stage.At"/>. Sequences of a pass share the weights that it reads.</summary>
    /// <param name="model">The model.</param>
    /// <param name="sequences">What the pass appends.</param>
    /// <param name="cacheType">How keys and values are stored.</param>
    public static StageCost[] Of(ModelOutline model, IReadOnlyList<SequencePass> sequences, GgmlType cacheType = GgmlType.F16)
    {
        foreach (var s in sequences)
        {
            if (s.Rows < 1 || s.Context < 0 || s.Outputs < 0 || s.Outputs > s.Rows)
                throw new ArgumentException($"A sequence's pass is {s}, but needs at least 1 row, 0 positions before and 0 to {s.Rows} outputs.", nameof(sequences));
        }
        var byStage = model.Weights.ToLookup(w => (new WeightSpec(w.Role, w.Layer, "").Stage, w.Layer));
        int rows = sequences.Sum(s => s.Rows), outputs = sequences.Sum(s => s.Outputs);
        return [.. Enumerable.Range(0, Stage.Count(model.Layers)).Select(i =>
        {
            var stage = Stage.At(i, model.Layers);
            return OfStage(model, stage, [.. byStage[(stage.Kind, stage.Layer)]], sequences, rows, outputs, cacheType);
        })];
    }

    /// <summary>How many of a layer's experts so many rows choose, in the mean, where all are equally likely: E (1 - (1 - k/E)^rows).</summary>
    public static double DistinctExperts(int experts, int used, int rows) => experts * (1 - Math.Pow(1 - ((double)used / experts), rows));

    private static StageCost OfStage(ModelOutline model, Stage stage, OutlineWeight[] weights, IReadOnlyList<SequencePass> sequences, int rows, int outputs, GgmlType cacheType)
    {
        double embd = model.Embedding, q = model.QueryWidth, kv = model.KeyWidth;
        var (last, convolved) = (stage.Layer == model.Layers - 1, stage.Layer >= 0 && model.Convolved[stage.Layer]);
        if (convolved)
            (q, kv) = (embd, embd);
        if (outputs == 0 && (stage.Kind == StageKind.Head || (last && stage.Kind == StageKind.FeedForward)))
            return new StageCost(stage, GgmlType.F32, 0, 0, 0, 0, 0, 0, 0);
        switch (stage.Kind)
        {
            case StageKind.Embedding:
                // Each row reads its own row of the tables.
                return new(stage, weights[0].Type, rows, 0, weights.Sum(w => (double)w.RowBytes * Math.Min(rows, w.Rows)), 0, 0, rows * embd * ActivationSize, weights.Length);
            case StageKind.Projection:
                return Matrices(stage, weights, model, rows, rows, rows * (embd + q + (2 * kv)) * ActivationSize);
            case StageKind.Attention when convolved:
                var length = model.ConvolutionLength;
                return new(stage, GgmlType.F32, rows, outputs == 0 && last ? 0 : 2.0 * length * embd * rows, weights.Sum(w => (double)w.Bytes),
                    outputs == 0 && last ? 0 : rows * length * embd * ActivationSize, rows * embd * ActivationSize, rows * 3 * embd * ActivationSize, 5);
            case StageKind.Attention:
                return Attention(model, stage, sequences, rows, unseen: outputs == 0 && last, cacheType);
            case StageKind.FeedForward:
                var after = last ? outputs : rows;
                return Matrices(stage, weights, model, rows, after, ((rows * (q + embd)) + (after * embd)) * ActivationSize);
            default:
                return Matrices(stage, weights, model, outputs, outputs, outputs * (embd + weights.First(w => w.Role == WeightRole.Output).Rows) * ActivationSize);
        }
    }

    // The output matrix of attention takes all rows, the feed-forward block of the last layer only those that want logits.
    private static StageCost Matrices(Stage stage, OutlineWeight[] weights, ModelOutline model, int rows, int after, double activations)
    {
        double flops = 0, bytes = 0, most = 0;
        var (type, operations) = (GgmlType.F32, 0);
        foreach (var w in weights)
        {
            var spec = new WeightSpec(w.Role, w.Layer, "");
            var passes = w.Role is WeightRole.AttentionOutput or WeightRole.ConvolutionOutput ? rows : after;
            var own = !spec.IsMatrix ? 0 : 2.0 * w.RowLength * w.Rows * passes * (spec.IsExperts ? model.ExpertsUsed : 1);
            flops += own;
            bytes += w.Bytes * (spec.IsExperts ? DistinctExperts(w.Experts, model.ExpertsUsed, passes) : 1);
            operations += spec.IsMatrix ? 1 : 2;
            if (own > most)
                (most, type) = (own, w.Type);
        }
        return new(stage, type, rows, flops, bytes, 0, 0, activations, operations);
    }

    private static StageCost Attention(ModelOutline model, Stage stage, IReadOnlyList<SequencePass> sequences, int rows, bool unseen, GgmlType cacheType)
    {
        var traits = cacheType.Traits();
        var cell = 2.0 * ((model.KeyWidth + traits.BlockSize - 1) / traits.BlockSize) * traits.BlockBytes;
        double looks = 0, read = 0;
        var window = model.Window > 0 && model.Windowed[stage.Layer] ? model.Window : int.MaxValue;
        foreach (var s in unseen ? [] : sequences)
        {
            // A row at position p sees min(p + 1, window) positions, its own included.
            for (var row = 0; row < s.Rows; row++)
                looks += Math.Min(s.Context + row + 1, window);
            read += Math.Min((long)s.Context + s.Rows, window + (long)s.Rows - 1) * cell;
        }
        // Products with the keys and with the values: 2 FLOPs each for every query value and position.
        return new(stage, cacheType, rows, 4 * (double)model.QueryWidth * looks, 0, read, rows * cell, rows * (2.0 * (model.QueryWidth + model.KeyWidth)) * ActivationSize, unseen ? 2 : 5, model.HeadLength);
    }
}
