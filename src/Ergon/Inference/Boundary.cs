using Ergon.Models;

namespace Ergon.Inference;

/// <summary>What can be handed from one stage to a later one: rows of F32.</summary>
internal enum BoundaryValue
{
    /// <summary>[n_embd, rows], after the last layer [n_embd, outputs].</summary>
    Residual,

    /// <summary>Queries with their positions [head_length * heads, rows]; a short convolution's gate [n_embd, rows].</summary>
    Query,

    /// <summary>Keys with their positions [head_length * kv_heads, rows]; what a short convolution reads, now and later [n_embd, rows].</summary>
    Key,

    /// <summary>Values [head_length * kv_heads, rows].</summary>
    Value,

    /// <summary>What attention or a short convolution gave [head_length * heads, rows], or [n_embd, rows].</summary>
    Attended,
}

/// <summary>
/// The values that cross from segment to segment of a pass, in host memory. Their rows stand in the order in which
/// the pass was asked for, whichever segments compute which of them.
/// </summary>
internal sealed class Boundary(ModelDescription model, int maxRows)
{
    private readonly float[]?[] _values = new float[]?[(int)BoundaryValue.Attended + 1];

    /// <summary>All rows of a value.</summary>
    public Span<float> Rows(BoundaryValue value) =>
        _values[(int)value] ??= GC.AllocateUninitializedArray<float>(maxRows * Math.Max(model.EmbeddingLength, model.HeadLength * model.HeadCount));
}
