using System.Runtime.InteropServices;
using Ergon.Models;
using Ergon.Native;
using Ergon.Native.Tensors;

namespace Ergon.Inference;

internal sealed partial class LayerGraph
{
    // What is known at the stage that is being built, by BoundaryValue; null where it is not computed here (yet).
    private readonly Tensor[] _values = new Tensor[(int)BoundaryValue.Attended + 1];
    private readonly List<(BoundaryValue Value, Tensor Tensor)> _incoming = [], _outgoing = [];

    /// <summary>Values that come from segments before; at most one of each kind.</summary>
    public ReadOnlySpan<(BoundaryValue Value, Tensor Tensor)> Incoming => CollectionsMarshal.AsSpan(_incoming);

    /// <summary>Values that later segments need; at most one of each kind.</summary>
    public ReadOnlySpan<(BoundaryValue Value, Tensor Tensor)> Outgoing => CollectionsMarshal.AsSpan(_outgoing);

    private Tensor Take(BoundaryValue value, long width, long rows)
    {
        ref var tensor = ref _values[(int)value];
        if (tensor.IsNull)
        {
            tensor = Graph.Input(GgmlType.F32, width, rows);
            _incoming.Add((value, tensor));
        }
        return tensor;
    }

    private void Set(BoundaryValue value, Tensor tensor) => _values[(int)value] = tensor;

    // What the stages from here on read before one of them makes it anew.
    private void HandOn(bool passHasOutputs)
    {
        if (_stages.EndsModel)
            return;
        var next = Stage.At(_stages.End, _model.LayerCount).Kind;
        // Nobody reads on where the last layer has written its cache and no logits are wanted.
        if (!passHasOutputs && next != StageKind.Attention && _stages.End >= Stage.OfLayer(_model.LayerCount) - 1)
            return;
        foreach (var value in next switch
        {
            StageKind.Attention => (ReadOnlySpan<BoundaryValue>)[BoundaryValue.Residual, BoundaryValue.Query, BoundaryValue.Key, BoundaryValue.Value],
            StageKind.FeedForward => [BoundaryValue.Residual, BoundaryValue.Attended],
            _ => [BoundaryValue.Residual],
        })
        {
            // What only passes through stays where it is.
            if (_values[(int)value] is { IsNull: false } tensor && !_incoming.Contains((value, tensor)))
                _outgoing.Add((value, Graph.Output(Graph.Contiguous(tensor))));
        }
    }
}
