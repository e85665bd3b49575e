using Ergon.Models;
using Ergon.Native;
using Ergon.Native.Tensors;

namespace Ergon.Inference;

/// <summary>
/// Lowers a run of layers to ggml operations. The order of operations is llama.cpp's, so that results on the
/// CPU are bit-identical to its own; a comment stands where the order is a choice.
/// </summary>
internal sealed class LayerGraph : IDisposable
{
    // A layer makes about 45 tensors with all biases present.
    private const int TensorsPerLayer = 64, TensorsBeside = 64;

    private readonly ModelDescription _model;
    private readonly Weights _weights;
    private readonly LayerRange _layers;
    private readonly (Tensor Keys, Tensor Values)[] _cache; // [n_embd_kv, n_cells] a layer
    private readonly bool _needsPositions;
    private Tensor _tokens; // [rows]
    private Tensor _residual; // [n_embd, rows]
    private Tensor _positions; // [rows]
    private Tensor _writeCells; // [rows]
    private Tensor _mask; // [extent, rows]
    private Tensor _outputRows; // [outputs]

    public LayerGraph(ModelDescription model, Weights weights, LayerRange layers, (Tensor Keys, Tensor Values)[] cache)
    {
        (_model, _weights, _layers, _cache) = (model, weights, layers, cache);
        _needsPositions = model.Rope is null ? layers.Embedding : layers.Count > 0;
        Graph = new Graph((layers.Count * TensorsPerLayer) + TensorsBeside);
    }

    public Graph Graph { get; }

    /// <summary>What the run computes; null when the pass wants no logits and the run ends the model.</summary>
    public Tensor Result { get; private set; }

    private bool EndsLayers => _layers.Count > 0 && _layers.End == _model.LayerCount;

    /// <summary>Builds the graph for passes of this shape.</summary>
    public void Build(int rows, int extent, int outputs)
    {
        Graph.Reset();
        _tokens = _residual = _outputRows = Result = default;
        _positions = _needsPositions ? Graph.Input(GgmlType.I32, rows) : default;
        if (_layers.Count > 0)
        {
            _writeCells = Graph.Input(GgmlType.I64, rows);
            _mask = Graph.Input(GgmlType.F16, extent, rows);
        }
        if (EndsLayers && outputs > 0 && outputs < rows)
            _outputRows = Graph.Input(GgmlType.I32, outputs);

        var x = _layers.Embedding ? Embed(rows) : _residual = Graph.Input(GgmlType.F32, _model.EmbeddingLength, _layers.Count > 0 ? rows : outputs);
        for (var layer = _layers.First; layer < _layers.End; layer++)
        {
            var q = QueryKeyValue(x, layer, rows);
            // Nobody will look at the last layer's result: writing its keys and values was all.
            if (outputs == 0 && layer == _model.LayerCount - 1)
                return;
            var attended = Attend(q, layer, rows, extent);
            // Only the rows that want logits go on after the last attention.
            if (!_outputRows.IsNull && layer == _model.LayerCount - 1)
                (attended, x) = (Graph.GetRows(attended, _outputRows), Graph.GetRows(x, _outputRows));
            x = FeedForward(Graph.Add(attended, x), layer);
        }
        Result = Graph.Output(_layers.Head ? Head(x) : x);
    }

    /// <summary>Hands a pass to the graph that was built for its shape.</summary>
    public void SetInputs(Pass pass, ReadOnlySpan<float> residual)
    {
        var rows = pass.Rows;
        if (!_tokens.IsNull)
            _tokens.Set<int>(pass.Tokens.AsSpan(0, rows));
        if (!_residual.IsNull)
            _residual.Set(residual);
        if (!_positions.IsNull)
            _positions.Set<int>(pass.Positions.AsSpan(0, rows));
        if (_layers.Count > 0)
            _writeCells.Set<long>(pass.WriteCells.AsSpan(0, rows));
        // A graph that ends with writing keys and values may not attend at all.
        if (_layers.Count > 1 || (_layers.Count == 1 && !Result.IsNull))
            _mask.Set(pass.Mask);
        if (!_outputRows.IsNull)
            _outputRows.Set<int>(pass.OutputRows.AsSpan(0, pass.Outputs));
    }

    private Tensor Embed(int rows)
    {
        _tokens = Graph.Input(GgmlType.I32, rows);
        var x = Graph.GetRows(_weights[WeightRole.TokenEmbedding], _tokens);
        return _model.Rope is null ? Graph.Add(x, Graph.GetRows(_weights[WeightRole.PositionEmbedding], _positions)) : x;
    }

    // Writes the layer's keys and values and returns its queries [head_length, heads, rows].
    private Tensor QueryKeyValue(Tensor x, int layer, int rows)
    {
        long length = _model.HeadLength, heads = _model.HeadCount, headsKv = _model.HeadCountKv;
        var y = Norm(x, WeightRole.AttentionNorm, WeightRole.AttentionNormBias, layer);
        Tensor q, k, v;
        if (_weights[WeightRole.FusedQkv, layer] is { IsNull: false } fused)
        {
            var qkv = AddBias(Graph.MatMul(fused, y), WeightRole.FusedQkvBias, layer);
            long stride = length * sizeof(float), row = qkv.Nb(1);
            q = Graph.View(qkv, length, heads, rows, stride, row);
            k = Graph.View(qkv, length, headsKv, rows, stride, row, heads * stride);
            v = Graph.View(qkv, length, headsKv, rows, stride, row, (heads + headsKv) * stride);
        }
        else
        {
            q = Graph.Reshape(Matrix(y, WeightRole.Query, WeightRole.QueryBias, layer), length, heads, rows);
            k = Graph.Reshape(Matrix(y, WeightRole.Key, WeightRole.KeyBias, layer), length, headsKv, rows);
            v = Graph.Reshape(Matrix(y, WeightRole.Value, WeightRole.ValueBias, layer), length, headsKv, rows);
        }
        if (_model.Rope is { } rope)
        {
            var factors = _weights[WeightRole.RopeFactors];
            q = Graph.Rope(q, _positions, factors, rope);
            k = Graph.Rope(k, _positions, factors, rope);
        }
        Graph.Expand(q);
        Graph.Expand(v);
        Graph.Expand(k);
        var (keys, values) = _cache[layer - _layers.First];
        var width = length * headsKv;
        Graph.Expand(Graph.SetRows(keys, Graph.View(k, width, rows, k.Nb(2)), _writeCells));
        Graph.Expand(Graph.SetRows(values, Graph.View(v, width, rows, v.Nb(2)), _writeCells));
        return q;
    }

    private Tensor Attend(Tensor q, int layer, int rows, int extent)
    {
        var (keys, values) = _cache[layer - _layers.First];
        var attended = Graph.FlashAttention(Graph.Permute(q, 0, 2, 1, 3), Cached(keys), Cached(values), _mask, 1 / MathF.Sqrt(_model.HeadLength));
        return Matrix(Graph.Reshape(attended, (long)_model.HeadLength * _model.HeadCount, rows), WeightRole.AttentionOutput, WeightRole.AttentionOutputBias, layer);

        // [head_length, extent, kv_heads]
        Tensor Cached(Tensor cache) => Graph.Permute(
            Graph.View(cache, _model.HeadLength, _model.HeadCountKv, extent, cache.Nb(1) / _model.HeadCountKv, cache.Nb(1)), 0, 2, 1, 3);
    }

    private Tensor FeedForward(Tensor x, int layer)
    {
        var y = Norm(x, WeightRole.FeedForwardNorm, WeightRole.FeedForwardNormBias, layer);
        var up = Matrix(y, WeightRole.Up, WeightRole.UpBias, layer);
        var inner = _model.Architecture.Activation == Activation.SwiGlu
            ? Graph.SwiGlu(Matrix(y, WeightRole.Gate, WeightRole.GateBias, layer), up)
            : Graph.Gelu(up);
        return Graph.Add(Matrix(inner, WeightRole.Down, WeightRole.DownBias, layer), x);
    }

    private Tensor Head(Tensor x) =>
        Matrix(Norm(x, WeightRole.OutputNorm, WeightRole.OutputNormBias, -1), WeightRole.Output, WeightRole.OutputBias, -1);

    private Tensor Norm(Tensor x, WeightRole weight, WeightRole bias, int layer)
    {
        var y = _model.Architecture.Norm == NormKind.Rms ? Graph.RmsNorm(x, _model.NormEpsilon) : Graph.Norm(x, _model.NormEpsilon);
        return AddBias(Graph.Mul(y, _weights[weight, layer]), bias, layer);
    }

    private Tensor Matrix(Tensor x, WeightRole weight, WeightRole bias, int layer) => AddBias(Graph.MatMul(_weights[weight, layer], x), bias, layer);

    private Tensor AddBias(Tensor x, WeightRole bias, int layer) => _weights[bias, layer] is { IsNull: false } b ? Graph.Add(x, b) : x;

    public void Dispose() => Graph.Dispose();
}
