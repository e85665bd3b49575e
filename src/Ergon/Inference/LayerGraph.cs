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
    // A layer makes about 55 tensors with all biases and norms present, and two for each expert that a row takes.
    private const int TensorsPerLayer = 64, TensorsBeside = 64;

    private readonly ModelDescription _model;
    private readonly Weights _weights;
    private readonly LayerRange _layers;
    private readonly LayerCache[] _cache; // none with pooling
    private readonly int _cells;
    private Tensor _tokens; // [rows]
    private Tensor _residual; // [n_embd, rows]
    private Tensor _positions; // [rows]
    private Tensor _writeCells; // [rows]
    private Tensor _mask; // [extent, rows]
    private Tensor _windowMask; // [extent, rows]
    private Tensor _historyCells; // [convolution length * rows]
    private Tensor _outputRows; // [outputs]
    private Tensor _shares; // [rows, outputs]

    public LayerGraph(ModelDescription model, Weights weights, LayerRange layers, LayerCache[] cache, int cells)
    {
        (_model, _weights, _layers, _cache, _cells) = (model, weights, layers, cache, cells);
        Graph = new Graph((layers.Count * (TensorsPerLayer + (2 * model.ExpertsUsed))) + TensorsBeside);
    }

    public Graph Graph { get; }

    /// <summary>What the run computes; null when the pass wants no logits and the run ends the model.</summary>
    public Tensor Result { get; private set; }

    private bool EndsLayers => _layers.Count > 0 && _layers.End == _model.LayerCount;

    /// <summary>Builds the graph for passes of this shape. With pooling the outputs are texts, and the extent the rows.</summary>
    public void Build(int rows, int extent, int outputs)
    {
        Graph.Reset();
        // Inputs that no operation reads have no memory, so those that not every graph reads are made on first use.
        _tokens = _residual = _positions = _writeCells = _mask = _windowMask = _historyCells = _outputRows = _shares = Result = default;
        if (_layers.Pooling is null && EndsLayers && outputs > 0 && outputs < rows)
            _outputRows = Graph.Input(GgmlType.I32, outputs);

        var x = _layers.Embedding ? Embed(rows) : _residual = Graph.Input(GgmlType.F32, _model.EmbeddingLength, _layers.Count > 0 ? rows : outputs);
        for (var layer = _layers.First; layer < _layers.End; layer++)
        {
            var convolved = _model.Layers.HasConvolution(layer);
            var (begun, keys, values) = convolved ? (GateAndHistory(x, layer, rows), default, default) : QueryKeyValue(x, layer, rows, extent);
            // Nobody will look at the last layer's result: writing to the cache was all.
            if (outputs == 0 && layer == _model.LayerCount - 1)
                return;
            var mixed = convolved ? Convolve(begun, layer, rows) : Attend(begun, keys, values, layer, rows, extent);
            // Only the rows that want logits go on after the last look at others.
            if (!_outputRows.IsNull && layer == _model.LayerCount - 1)
                (mixed, x) = (Graph.GetRows(mixed, _outputRows), Graph.GetRows(x, _outputRows));
            x = AddBlock(x, mixed, WeightRole.AttentionPostNorm, layer);
            x = FeedForward(NormAt(NormPlaces.Sum, x, WeightRole.AttentionSumNorm, WeightRole.AttentionSumNormBias, layer), layer);
        }
        Result = Graph.Output(_layers is { Head: true, Pooling: { } pooling } ? Pool(x, pooling, rows, outputs) : _layers.Head ? Head(x) : x);
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
        if (!_writeCells.IsNull)
            _writeCells.Set<long>(pass.WriteCells.AsSpan(0, rows));
        if (!_mask.IsNull)
            _mask.Set(pass.Mask);
        if (!_windowMask.IsNull)
            _windowMask.Set(pass.WindowMask);
        if (!_historyCells.IsNull)
            _historyCells.Set(pass.HistoryCells);
        if (!_outputRows.IsNull)
            _outputRows.Set<int>(pass.OutputRows.AsSpan(0, pass.Outputs));
        if (!_shares.IsNull)
            _shares.Set(pass.Shares);
    }

    private Tensor Embed(int rows)
    {
        _tokens = Graph.Input(GgmlType.I32, rows);
        var x = Scale(Graph.GetRows(_weights[WeightRole.TokenEmbedding], _tokens), _model.Multipliers.Embedding);
        // Token types tell a first sentence from a second; a text to embed is all first sentence.
        if (_weights[WeightRole.TokenTypes] is { IsNull: false } types)
            x = Graph.Add(x, Graph.View(types, types.Ne(0), 1, types.Nb(1)));
        if (_model.Rope is null)
            x = Graph.Add(x, Graph.GetRows(_weights[WeightRole.PositionEmbedding], Positions(rows)));
        return _model.IsEncoder ? AddBias(Norm(x, WeightRole.EmbeddingNorm, -1), WeightRole.EmbeddingNormBias, -1) : x;
    }

    // The queries [head_length, heads, rows] of a layer, and the keys and values [head_length, kv_heads, extent]
    // that they look at: those in the cache, with the rows' own just written, or without a cache the rows' own, in F16.
    private (Tensor Q, Tensor K, Tensor V) QueryKeyValue(Tensor x, int layer, int rows, int extent)
    {
        long length = _model.HeadLength, heads = _model.HeadCount, headsKv = _model.HeadCountKv;
        var y = NormAt(NormPlaces.Before, x, WeightRole.AttentionNorm, WeightRole.AttentionNormBias, layer);
        var norm = _model.Architecture.QueryKeyNorm;
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
            q = Matrix(y, WeightRole.Query, WeightRole.QueryBias, layer);
            k = Matrix(y, WeightRole.Key, WeightRole.KeyBias, layer);
            v = Matrix(y, WeightRole.Value, WeightRole.ValueBias, layer);
            if (norm == QueryKeyNorm.Rows)
                (q, k) = (Norm(q, WeightRole.QueryNorm, layer), Norm(k, WeightRole.KeyNorm, layer));
            q = Graph.Reshape(q, length, heads, rows);
            k = Graph.Reshape(k, length, headsKv, rows);
            v = Graph.Reshape(v, length, headsKv, rows);
        }
        if (norm == QueryKeyNorm.Heads)
            (q, k) = (Norm(q, WeightRole.QueryNorm, layer), Norm(k, WeightRole.KeyNorm, layer));
        if (_model.Layers.RopeOf(layer) is { } rope)
        {
            var (positions, factors) = (Positions(rows), RopeFactors(rope));
            q = Graph.Rope(q, positions, factors, rope);
            k = Graph.Rope(k, positions, factors, rope);
        }
        q = Scale(q, _model.Multipliers.Queries);
        Graph.Expand(q);
        Graph.Expand(v);
        Graph.Expand(k);
        if (_cache.Length == 0)
            return (q, Graph.Cast(k, GgmlType.F16), Graph.Cast(v, GgmlType.F16));
        var cache = _cache[layer - _layers.First];
        var width = length * headsKv;
        Write(cache.Keys, Graph.View(k, width, rows, k.Nb(2)));
        Write(cache.Values, Graph.View(v, width, rows, v.Nb(2)));
        return (q, Cached(cache.Keys), Cached(cache.Values));

        Tensor Cached(Tensor all) => Graph.View(all, length, headsKv, extent, all.Nb(1) / headsKv, all.Nb(1));
    }

    private void Write(Tensor cache, Tensor rows)
    {
        if (_writeCells.IsNull)
            _writeCells = Graph.Input(GgmlType.I64, rows.Ne(1));
        Graph.Expand(Graph.SetRows(cache, rows, _writeCells));
    }

    // Writes what the layer's convolution reads, now and for later positions, and returns the gate of its result [n_embd, rows].
    private Tensor GateAndHistory(Tensor x, int layer, int rows)
    {
        var y = NormAt(NormPlaces.Before, x, WeightRole.AttentionNorm, WeightRole.AttentionNormBias, layer);
        var three = Graph.MatMul(_weights[WeightRole.ConvolutionInput, layer], y);
        long width = _model.EmbeddingLength, row = three.Nb(1);
        Write(_cache[layer - _layers.First].History, Graph.Mul(Part(0), Part(2)));
        return Part(1);

        Tensor Part(int i) => Graph.View(three, width, rows, row, i * width * sizeof(float));
    }

    // Every row gathers the cells of its own last positions, so rows of any sequences may stand in a pass.
    private Tensor Convolve(Tensor gate, int layer, int rows)
    {
        long width = _model.EmbeddingLength, length = _model.Layers.ConvolutionLength;
        if (_historyCells.IsNull)
            _historyCells = Graph.Input(GgmlType.I32, length * rows);
        var all = _cache[layer - _layers.First].History;
        // Read through a view, as keys and values are: devices that reorder operations know by it that the write comes first.
        var history = Graph.GetRows(Graph.View(all, width, all.Ne(1), all.Nb(1)), _historyCells);
        var windows = Graph.Contiguous(Graph.Permute(Graph.Reshape(history, width, length, rows), 1, 0, 2, 3)); // [length, n_embd, rows]
        var convolved = Graph.Convolve(windows, _weights[WeightRole.ConvolutionKernel, layer]);
        return Graph.MatMul(_weights[WeightRole.ConvolutionOutput, layer], Graph.Mul(gate, Graph.Reshape(convolved, width, rows)));
    }

    private Tensor Attend(Tensor q, Tensor k, Tensor v, int layer, int rows, int extent)
    {
        ref var mask = ref _model.Layers.HasWindow(layer) ? ref _windowMask : ref _mask;
        if (mask.IsNull)
            mask = Graph.Input(GgmlType.F16, extent, rows);
        var attended = Graph.FlashAttention(ByHead(q), ByHead(k), ByHead(v), mask, _model.Multipliers.Attention, _model.Multipliers.AttentionCap);
        return Matrix(Graph.Reshape(attended, (long)_model.HeadLength * _model.HeadCount, rows), WeightRole.AttentionOutput, WeightRole.AttentionOutputBias, layer);

        // [head_length, rows or extent, heads]
        Tensor ByHead(Tensor x) => Graph.Permute(x, 0, 2, 1, 3);
    }

    private Tensor FeedForward(Tensor x, int layer)
    {
        var y = NormAt(NormPlaces.Before, x, WeightRole.FeedForwardNorm, WeightRole.FeedForwardNormBias, layer);
        x = AddBlock(x, _model.ExpertCount > 0 ? Experts(y, layer) : Dense(y, layer), WeightRole.FeedForwardPostNorm, layer);
        return NormAt(NormPlaces.Sum, x, WeightRole.FeedForwardSumNorm, WeightRole.FeedForwardSumNormBias, layer);
    }

    private Tensor Dense(Tensor y, int layer)
    {
        var up = Matrix(y, WeightRole.Up, WeightRole.UpBias, layer);
        var inner = _model.Architecture.Activation switch
        {
            Activation.SwiGlu => Graph.SwiGlu(Matrix(y, WeightRole.Gate, WeightRole.GateBias, layer), up),
            Activation.GeGlu => Graph.GeGlu(Matrix(y, WeightRole.Gate, WeightRole.GateBias, layer), up),
            Activation.FusedSwiGlu => Graph.SwiGlu(up),
            _ => Graph.Gelu(up),
        };
        return Matrix(inner, WeightRole.Down, WeightRole.DownBias, layer);
    }

    // Each row takes the experts that the router finds likeliest, and of each as much as its share of their probability.
    private Tensor Experts(Tensor y, int layer)
    {
        long experts = _model.ExpertCount, used = _model.ExpertsUsed, width = y.Ne(0), rows = y.Ne(1);
        var probabilities = Graph.SoftMax(Graph.MatMul(_weights[WeightRole.Router, layer], y));
        var chosen = Graph.Largest(probabilities, _model.ExpertsUsed); // [used, rows]
        var shares = Graph.Reshape(Graph.GetRows(Graph.Reshape(probabilities, 1, experts, rows), chosen), used, rows);
        // llama.cpp's guard against a division by zero: the least normal number of F16.
        shares = Graph.Div(shares, Graph.Clamp(Graph.SumRows(shares), 6.103515625e-5f, float.PositiveInfinity));
        shares = Graph.Reshape(shares, 1, used, rows);
        Graph.Expand(shares);

        y = Graph.Reshape(y, width, 1, rows);
        var up = Graph.MatMul(_weights[WeightRole.UpExperts, layer], y, chosen);
        var inner = Graph.SwiGlu(Graph.MatMul(_weights[WeightRole.GateExperts, layer], y, chosen), up);
        var outputs = Graph.Mul(Graph.MatMul(_weights[WeightRole.DownExperts, layer], inner, chosen), shares); // [n_embd, used, rows]
        Graph.Expand(outputs);

        // All views before the first addition, so that no addition stands between them in the graph.
        var parts = new Tensor[used];
        for (var i = 0; i < used; i++)
        {
            parts[i] = Graph.View(outputs, width, rows, outputs.Nb(2), i * outputs.Nb(1));
            Graph.Expand(parts[i]);
        }
        var sum = parts[0];
        foreach (var part in parts.AsSpan(1))
            Graph.Expand(sum = Graph.Add(sum, part));
        return used == 1 ? Graph.Contiguous(sum) : sum;
    }

    // The residual stream with what a block made of it.
    private Tensor AddBlock(Tensor x, Tensor block, WeightRole norm, int layer)
    {
        if (_model.Architecture.NormPlaces.HasFlag(NormPlaces.After))
            block = Norm(block, norm, layer);
        return Graph.Add(Scale(block, _model.Multipliers.Residual), x);
    }

    private Tensor Head(Tensor x)
    {
        var logits = Scale(Matrix(OutputNorm(x), WeightRole.Output, WeightRole.OutputBias, -1), _model.Multipliers.Logits);
        return _model.Multipliers.LogitCap is var cap and > 0 ? Graph.Scale(Graph.Tanh(Graph.Scale(logits, 1 / cap)), cap) : logits;
    }

    // A vector for each text. All rows come this far although some poolings take one of each text: products
    // of fewer rows can differ in the last bit from libllama's.
    private Tensor Pool(Tensor x, Pooling pooling, int rows, int texts)
    {
        x = _model.IsEncoder ? x : OutputNorm(x);
        if (pooling == Pooling.Mean)
            return Graph.MatMul(Graph.Contiguous(Graph.Transpose(x)), _shares = Graph.Input(GgmlType.F32, rows, texts));
        return Graph.GetRows(x, _outputRows = Graph.Input(GgmlType.I32, texts));
    }

    private Tensor OutputNorm(Tensor x) => AddBias(Norm(x, WeightRole.OutputNorm, -1), WeightRole.OutputNormBias, -1);

    private Tensor NormAt(NormPlaces place, Tensor x, WeightRole weight, WeightRole bias, int layer) =>
        _model.Architecture.NormPlaces.HasFlag(place) ? AddBias(Norm(x, weight, layer), bias, layer) : x;

    private Tensor Norm(Tensor x, WeightRole weight, int layer)
    {
        var y = _model.Architecture.Norm == NormKind.Rms ? Graph.RmsNorm(x, _model.NormEpsilon) : Graph.Norm(x, _model.NormEpsilon);
        return Graph.Mul(y, _weights[weight, layer]);
    }

    private Tensor Scale(Tensor x, float factor) => factor == 1 ? x : Graph.Scale(x, factor);

    private Tensor Positions(int rows) => _positions.IsNull ? _positions = Graph.Input(GgmlType.I32, rows) : _positions;

    // LongRoPE's two sets are for contexts within and beyond that of the first training; llama.cpp chooses by the context's length too.
    private Tensor RopeFactors(in RopeParameters rope) =>
        _weights[WeightRole.RopeFactors] is { IsNull: false } factors ? factors
        : _weights[_cells > rope.OriginalContext ? WeightRole.RopeFactorsLong : WeightRole.RopeFactorsShort];

    private Tensor Matrix(Tensor x, WeightRole weight, WeightRole bias, int layer) => AddBias(Graph.MatMul(_weights[weight, layer], x), bias, layer);

    private Tensor AddBias(Tensor x, WeightRole bias, int layer) => _weights[bias, layer] is { IsNull: false } b ? Graph.Add(x, b) : x;

    public void Dispose() => Graph.Dispose();
}
