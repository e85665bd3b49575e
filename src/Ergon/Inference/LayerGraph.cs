using Ergon.Models;
using Ergon.Native;
using Ergon.Native.Tensors;

namespace Ergon.Inference;

/// <summary>
/// Lowers a run of stages to ggml operations. The order of operations is llama.cpp's, so that results on the
/// CPU are bit-identical to its own; a comment stands where the order is a choice.
/// </summary>
internal sealed partial class LayerGraph : IDisposable
{
    // A layer makes about 60 tensors with all biases and norms present, 16 to turn what it caches, two for each expert
    // that a row takes, and nine for each group of rows that attends apart: three views with a permutation each, the
    // mask's, attention itself and what joins it to the others. ggml ends the process when they do not fit.
    private const int TensorsPerLayer = 88, TensorsPerGroup = 9, TensorsBeside = 64;

    private readonly ModelDescription _model;
    private readonly Weights _weights;
    private readonly StageRange _stages;
    private readonly IReadOnlyDictionary<int, LayerCache> _cache; // by layer; empty with pooling
    private readonly CacheRotation _rotation;
    private readonly KvCacheShape _cells;
    private Tensor _tokens; // [rows]
    private Tensor _positions; // [rows]
    private readonly Tensor[] _writeCells = new Tensor[(int)CacheKind.History + 1]; // [rows], by kind of layer
    private Tensor _mask; // [extent * rows of all groups]
    private Tensor _windowMask; // the same for layers with a window
    private Tensor _historyCells; // [convolution length * rows]
    private Tensor _outputRows; // [outputs]
    private Tensor _shares; // [rows, outputs]

    public LayerGraph(ModelDescription model, Weights weights, StageRange stages, IReadOnlyDictionary<int, LayerCache> cache, CacheRotation rotation, KvCacheShape cells)
    {
        (_model, _weights, _stages, _cache, _rotation, _cells) = (model, weights, stages, cache, rotation, cells);
        Graph = new Graph(Capacity(groups: 1));
    }

    public Graph Graph { get; private set; }

    /// <summary>Logits or pooled rows; null when the run does not end the model, or the pass wants none.</summary>
    public Tensor Result { get; private set; }

    private int Capacity(int groups) => (_stages.Stages.Count(s => s.Kind == StageKind.Projection) + 1) * (TensorsPerLayer + (2 * _model.ExpertsUsed) + (groups * TensorsPerGroup)) + TensorsBeside;

    /// <summary>Builds the graph for passes of this one's shape. With pooling the outputs are texts.</summary>
    public void Build(Pass pass)
    {
        var groups = Math.Max(pass.Full.Groups.Length, pass.Windowed.Groups.Length);
        if (Graph.Capacity < Capacity(groups))
        {
            Graph.Dispose();
            Graph = new Graph(Capacity(groups));
        }
        Graph.Reset();
        // Inputs that no operation reads have no memory, so those that not every graph reads are made on first use.
        _tokens = _positions = _mask = _windowMask = _historyCells = _outputRows = _shares = Result = default;
        _incoming.Clear();
        _outgoing.Clear();
        Array.Clear(_values);
        Array.Clear(_writeCells);

        int rows = pass.Rows, outputs = pass.Outputs;
        long residual = _model.EmbeddingLength, width = (long)_model.HeadLength * _model.HeadCount, widthKv = (long)_model.HeadLength * _model.HeadCountKv;
        foreach (var (kind, layer) in _stages.Stages)
        {
            var convolves = layer >= 0 && _model.Layers.HasConvolution(layer);
            // Nobody will look at the last layer's result: its cache is written, and that is all.
            var isUnseen = outputs == 0 && (kind == StageKind.Head || layer == _model.LayerCount - 1);
            if (isUnseen && kind is StageKind.FeedForward or StageKind.Head)
                break;
            switch (kind)
            {
                case StageKind.Embedding:
                    Set(BoundaryValue.Residual, Embed(rows));
                    break;
                case StageKind.Projection:
                    var x = Take(BoundaryValue.Residual, residual, rows);
                    if (convolves)
                        GateAndHistory(x, layer, rows);
                    else
                        QueryKeyValue(x, layer, rows);
                    break;
                case StageKind.Attention when convolves:
                    Write(layer, _cache[layer].History, Take(BoundaryValue.Key, residual, rows));
                    if (!isUnseen)
                        Set(BoundaryValue.Attended, Convolve(Take(BoundaryValue.Query, residual, rows), layer, rows));
                    break;
                case StageKind.Attention:
                    var (k, v) = (Take(BoundaryValue.Key, widthKv, rows), Take(BoundaryValue.Value, widthKv, rows));
                    if (_cache.TryGetValue(layer, out var cache))
                    {
                        Write(layer, cache.Keys, Flat(Rotated(k, _rotation.Keys), rows));
                        Write(layer, cache.Values, Flat(Rotated(v, _rotation.Values), rows));
                    }
                    if (!isUnseen)
                        Set(BoundaryValue.Attended, Attend(Take(BoundaryValue.Query, width, rows), k, v, cache, layer, pass));
                    break;
                case StageKind.FeedForward:
                    Set(BoundaryValue.Residual, FinishLayer(Take(BoundaryValue.Residual, residual, rows), Take(BoundaryValue.Attended, convolves ? residual : width, rows), layer, convolves, pass));
                    break;
                case StageKind.Head:
                    var last = Take(BoundaryValue.Residual, residual, outputs);
                    Result = Graph.Output(_stages.Pooling is { } pooling ? Pool(last, pooling, rows, outputs) : Head(last));
                    break;
            }
        }
        HandOn(outputs > 0);
    }

    private Tensor FinishLayer(Tensor x, Tensor attended, int layer, bool convolves, Pass pass)
    {
        var mixed = convolves ? Graph.MatMul(_weights[WeightRole.ConvolutionOutput, layer], attended)
            : Matrix(attended, WeightRole.AttentionOutput, WeightRole.AttentionOutputBias, layer);
        // Only the rows that want logits go on after the last look at others.
        if (_stages.Pooling is null && layer == _model.LayerCount - 1 && pass.PicksOutputs)
        {
            _outputRows = Graph.Input(GgmlType.I32, pass.Outputs);
            (mixed, x) = (Graph.GetRows(mixed, _outputRows), Graph.GetRows(x, _outputRows));
        }
        x = AddBlock(x, mixed, WeightRole.AttentionPostNorm, layer);
        return FeedForward(NormAt(NormPlaces.Sum, x, WeightRole.AttentionSumNorm, WeightRole.AttentionSumNormBias, layer), layer);
    }

    /// <summary>Hands a pass to the graph that was built for its shape; <see cref="Incoming"/> is the caller's to set.</summary>
    public void SetInputs(Pass pass)
    {
        var rows = pass.Rows;
        if (!_tokens.IsNull)
            _tokens.Set<int>(pass.Tokens.AsSpan(0, rows));
        if (!_positions.IsNull)
            _positions.Set<int>(pass.Positions.AsSpan(0, rows));
        for (var kind = CacheKind.Full; kind <= CacheKind.History; kind++)
        {
            if (!_writeCells[(int)kind].IsNull)
                _writeCells[(int)kind].Set(pass.WriteCells(kind));
        }
        if (!_mask.IsNull)
            _mask.Set(pass.Full.Values);
        if (!_windowMask.IsNull)
            _windowMask.Set(pass.Windowed.Values);
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

    // The queries [head_length, heads, rows], keys and values [head_length, kv_heads, rows] of a layer.
    private void QueryKeyValue(Tensor x, int layer, int rows)
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
            var (positions, factors) = (Positions(rows), RopeFactors());
            q = Graph.Rope(q, positions, factors, rope);
            k = Graph.Rope(k, positions, factors, rope);
        }
        q = Scale(q, _model.Multipliers.Queries);
        Graph.Expand(q);
        Graph.Expand(v);
        Graph.Expand(k);
        Set(BoundaryValue.Query, q);
        Set(BoundaryValue.Key, k);
        Set(BoundaryValue.Value, v);
    }

    private void Write(int layer, Tensor cache, Tensor rows)
    {
        ref var cells = ref _writeCells[(int)_cells.KindOf(_model, layer)];
        if (cells.IsNull)
            cells = Graph.Input(GgmlType.I64, rows.Ne(1));
        Graph.Expand(Graph.SetRows(cache, rows, cells));
    }

    // The gate of a convolution's result, and what it reads, now and for later positions; both [n_embd, rows].
    private void GateAndHistory(Tensor x, int layer, int rows)
    {
        var y = NormAt(NormPlaces.Before, x, WeightRole.AttentionNorm, WeightRole.AttentionNormBias, layer);
        var three = Graph.MatMul(_weights[WeightRole.ConvolutionInput, layer], y);
        long width = _model.EmbeddingLength, row = three.Nb(1);
        Set(BoundaryValue.Key, Graph.Mul(Part(0), Part(2)));
        Set(BoundaryValue.Query, Part(1));

        Tensor Part(int i) => Graph.View(three, width, rows, row, i * width * sizeof(float));
    }

    // Every row gathers the cells of its own last positions, so rows of any sequences may stand in a pass.
    private Tensor Convolve(Tensor gate, int layer, int rows)
    {
        var all = _cache[layer].History;
        long width = _model.EmbeddingLength, length = _model.Layers.ConvolutionLength;
        if (_historyCells.IsNull)
            _historyCells = Graph.Input(GgmlType.I32, length * rows);
        // Read through a view, as keys and values are: devices that reorder operations know by it that the write comes first.
        var history = Graph.GetRows(Graph.View(all, width, all.Ne(1), all.Nb(1)), _historyCells);
        var windows = Graph.Contiguous(Graph.Permute(Graph.Reshape(history, width, length, rows), 1, 0, 2, 3)); // [length, n_embd, rows]
        var convolved = Graph.Convolve(windows, _weights[WeightRole.ConvolutionKernel, layer]);
        return Graph.Mul(gate, Graph.Reshape(convolved, width, rows));
    }

    // Looks at what is in the cache; without one the rows look at each other's keys and values, in F16.
    private Tensor Attend(Tensor q, Tensor k, Tensor v, LayerCache cache, int layer, Pass pass)
    {
        long length = _model.HeadLength, heads = _model.HeadCount, headsKv = _model.HeadCountKv;
        var rows = pass.Rows;
        if (cache.Keys.IsNull)
            (k, v) = (Graph.Cast(ByRow(k, headsKv), GgmlType.F16), Graph.Cast(ByRow(v, headsKv), GgmlType.F16));
        q = ByRow(Rotated(q, _rotation.Keys), heads);
        var windowed = _model.Layers.HasWindow(layer);
        var look = windowed ? pass.Windowed : pass.Full;
        ref var mask = ref windowed ? ref _windowMask : ref _mask;
        if (mask.IsNull)
            mask = Graph.Input(GgmlType.F16, look.Values.Length);
        var attended = new Tensor[look.Groups.Length];
        var offset = 0L;
        for (var i = 0; i < attended.Length; i++)
        {
            var group = look.Groups[i];
            attended[i] = Graph.FlashAttention(ByHead(Part(q, group.FirstRow, group.Rows)), ByHead(Seen(cache.Keys, k, group)), ByHead(Seen(cache.Values, v, group)),
                Graph.View(mask, group.Extent, group.Rows, (long)group.Extent * sizeof(ushort), offset), _model.Multipliers.Attention, _model.Multipliers.AttentionCap);
            offset += (long)group.MaskLength * sizeof(ushort);
        }
        return Graph.Reshape(Rotated(Joined(attended), _rotation.Values), length * heads, rows);

        // [head_length, heads, rows]
        Tensor ByRow(Tensor x, long count) => x.Ne(0) == length && x.Ne(1) == count && x.Ne(2) == rows ? x : Graph.Reshape(x, length, count, rows);

        Tensor Part(Tensor x, int first, int count) => count == rows ? x : Graph.View(x, length, heads, count, x.Nb(1), x.Nb(2), first * x.Nb(2));

        Tensor Seen(Tensor cached, Tensor own, AttentionGroup group) =>
            cached.IsNull ? own : Graph.View(cached, length, headsKv, group.Extent, cached.Nb(1) / headsKv, cached.Nb(1), group.FirstCell * cached.Nb(1));

        // [head_length, rows or extent, heads]
        Tensor ByHead(Tensor x) => Graph.Permute(x, 0, 2, 1, 3);
    }

    // Each stretch of the matrix's length in the rows of x, turned by it.
    private Tensor Rotated(Tensor x, Tensor matrix)
    {
        if (matrix.IsNull)
            return x;
        var n = matrix.Ne(0);
        var flat = x.IsContiguous ? x : Graph.Contiguous(x);
        var turned = Graph.HadamardMatMul(matrix, Graph.Reshape(flat, n, x.Ne(0) * x.Ne(1) * x.Ne(2) / n));
        return Graph.Reshape(turned, x.Ne(0), x.Ne(1), x.Ne(2));
    }

    // [head_length * kv_heads, rows]
    private Tensor Flat(Tensor x, int rows)
    {
        var width = (long)_model.HeadLength * _model.HeadCountKv;
        return x.Ne(0) == width && x.Ne(1) == rows && x.Ne(2) == 1 ? x : Graph.View(x, width, rows, x.Nb(2));
    }

    // In pairs, so that each row is copied as often as the logarithm of their number.
    private Tensor Joined(ReadOnlySpan<Tensor> parts) => parts.Length switch
    {
        1 => parts[0],
        _ => Graph.Concat(Joined(parts[..(parts.Length / 2)]), Joined(parts[(parts.Length / 2)..]), dimension: 2),
    };

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

    private Tensor RopeFactors() => _weights[WeightRole.RopeFactors] is { IsNull: false } factors ? factors
        : _weights[_model.UsesLongFactors(_cells.Cells) ? WeightRole.RopeFactorsLong : WeightRole.RopeFactorsShort];

    private Tensor Matrix(Tensor x, WeightRole weight, WeightRole bias, int layer) => AddBias(Graph.MatMul(_weights[weight, layer], x), bias, layer);

    private Tensor AddBias(Tensor x, WeightRole bias, int layer) => _weights[bias, layer] is { IsNull: false } b ? Graph.Add(x, b) : x;

    public void Dispose() => Graph.Dispose();
}
