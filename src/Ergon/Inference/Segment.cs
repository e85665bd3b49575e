using System.Buffers;
using System.Diagnostics;
using Ergon.Models;
using Ergon.Native;
using Ergon.Native.Tensors;

namespace Ergon.Inference;

/// <summary>
/// A run of stages on one device: its weights, its part of the KV cache, and the graph that computes it.
/// One thread makes all calls of one segment.
/// </summary>
internal sealed class Segment : IDisposable
{
    // What of the cache is cleared at a time, in cells.
    private const int PageCells = 256;

    private const int CopyBytes = 4 << 20; // the widest row is F32 of the widest residual

    private readonly ModelDescription _model;
    private readonly Backend _backend;
    private readonly Weights _weights;
    private readonly TensorArena _cacheArena;
    private readonly DeviceBuffer? _cacheBuffer;
    private readonly Dictionary<int, LayerCache> _cache = [];
    private readonly bool[][] _clearedPages = new bool[(int)CacheKind.History + 1][];
    private readonly KvCacheShape _cells;
    private readonly (int Full, int Windowed) _attentionLayers;
    private readonly long _attentionCellBytes; // of one layer; all are alike
    private readonly long _historyCellBytes; // of all layers
    private readonly CacheRotation _rotation;
    private readonly Lowered?[] _lowered; // by the pass in flight that they compute

    // A graph and memory for what lies between its operations, kept while passes have the same shape.
    private sealed record Lowered(LayerGraph Graph, GraphAllocator Allocator) : IDisposable
    {
        public int[] Shape { get; set; } = [];

        public void Dispose()
        {
            Allocator.Dispose();
            Graph.Dispose();
        }
    }

    /// <param name="model">The model.</param>
    /// <param name="backend">The device, opened; outlives the segment.</param>
    /// <param name="stages">What to run there.</param>
    /// <param name="cells">Cells of the KV cache; with pooling, which needs none, as many as the longest text has positions.</param>
    /// <param name="cacheType">How keys and values are stored.</param>
    /// <param name="depth">Passes that can be in flight.</param>
    /// <param name="progress">Told the share loaded, 0 to 1.</param>
    /// <param name="cancellation">Stops loading.</param>
    public Segment(ModelDescription model, Backend backend, StageRange stages, KvCacheShape cells, GgmlType cacheType, int depth = 1, IProgress<double>? progress = null, CancellationToken cancellation = default)
    {
        (_model, _backend, _cells, Stages, _lowered) = (model, backend, cells, stages, new Lowered?[depth]);
        for (var kind = CacheKind.Full; kind <= CacheKind.History; kind++)
            _clearedPages[(int)kind] = new bool[(cells.CellsOf(kind) + PageCells - 1) / PageCells];
        try
        {
            _weights = new Weights(model, backend.Device, stages, progress, cancellation);
            int[] cached = stages.Pooling is null ? [.. stages.Stages.Where(s => s.Kind == StageKind.Attention).Select(s => s.Layer)] : [];
            _cacheArena = new TensorArena(2 + (2 * cached.Length));
            _rotation = cached.Length > 0 ? CacheRotation.For(model, cacheType, _cacheArena) : default;
            long width = (long)model.HeadLength * model.HeadCountKv, bytes = _rotation.Bytes;
            foreach (var layer in cached)
            {
                // One cell more, never written, is what lies before a sequence's first position.
                var kind = cells.KindOf(model, layer);
                var count = cells.CellsOf(kind);
                var cache = model.Layers.HasConvolution(layer)
                    ? new LayerCache { Kind = kind, History = _cacheArena.New(GgmlType.F32, model.EmbeddingLength, count + 1) }
                    : new LayerCache { Kind = kind, Keys = _cacheArena.New(cacheType, width, count), Values = _cacheArena.New(cacheType, width, count) };
                bytes += cache.Tensors.Sum(t => t.Bytes);
                _cache.Add(layer, cache);
                var cell = cache.Tensors.Sum(t => t.Nb(1));
                if (!cache.History.IsNull)
                    _historyCellBytes += cell;
                else if (model.Layers.HasWindow(layer))
                    (_attentionLayers.Windowed, _attentionCellBytes) = (_attentionLayers.Windowed + 1, cell);
                else
                    (_attentionLayers.Full, _attentionCellBytes) = (_attentionLayers.Full + 1, cell);
            }
            _cacheBuffer = _cacheArena.Allocate(backend.Device.BufferType, bytes);
            if (backend.Device.BufferType.IsHost)
            {
                foreach (var cache in _cache.Values.Where(c => !c.History.IsNull))
                    cache.History.Clear(cache.History.Bytes - cache.History.Nb(1), cache.History.Nb(1));
            }
            else
            {
                _cacheBuffer?.Clear();
                foreach (var pages in _clearedPages)
                    Array.Fill(pages, true);
            }
            _rotation.Fill();
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    public StageRange Stages { get; }

    public Backend Backend => _backend;

    /// <summary>Computes the segment for the rows of a pass.</summary>
    /// <param name="pass">The rows.</param>
    /// <param name="boundary">Where values come from and go to; <see langword="null"/> when the segment is a whole model.</param>
    /// <param name="result">At the end of the model: logits [n_vocab, outputs], with pooling [n_embd, texts].</param>
    /// <param name="flight">Which of the passes that can be in flight it is: each has a graph of its own, or passes of different shapes in turn would build it anew each time.</param>
    /// <returns>What it did.</returns>
    /// <exception cref="NativeException">The device failed.</exception>
    public SegmentReport Run(Pass pass, Boundary? boundary, Span<float> result, int flight = 0)
    {
        var began = Stopwatch.GetTimestamp();
        var lowered = _lowered[flight] ??= new Lowered(new LayerGraph(_model, _weights, Stages, _cache, _rotation, _cells), new GraphAllocator(_backend.Device.BufferType));
        var graph = lowered.Graph;
        if (!pass.Shape.SequenceEqual(lowered.Shape))
        {
            lowered.Shape = [];
            Clear(pass);
            graph.Build(pass);
            RequireSupport(graph.Graph);
            lowered.Allocator.Allocate(graph.Graph);
            lowered.Shape = pass.Shape.ToArray();
        }
        graph.SetInputs(pass);
        foreach (var (value, tensor) in graph.Incoming)
            Move(tensor, Chosen(pass, atEnd: false), boundary!.Rows(value), incoming: true);
        _backend.Compute(graph.Graph);
        foreach (var (value, tensor) in graph.Outgoing)
            Move(tensor, Chosen(pass, atEnd: value == BoundaryValue.Residual), boundary!.Rows(value), incoming: false);
        if (!graph.Result.IsNull)
            graph.Result.Get(result);
        return new SegmentReport(_backend.Device.Name, Stages, pass.Rows, began, Stopwatch.GetTimestamp(),
            graph.Graph.MatrixFlops + AttentionFlops(pass), graph.Graph.WeightBytes + CacheBytes(pass), TransferBytes(pass, graph));
    }

    // After the last layer a row of a value is an output, before that a row of the pass.
    private ReadOnlySpan<int> Chosen(Pass pass, bool atEnd)
    {
        var head = Stage.OfLayer(_model.LayerCount);
        return (atEnd ? Stages.End : Stages.First) == head ? pass.OutputIndices.AsSpan(0, pass.Outputs) : pass.RowIndices.AsSpan(0, pass.Rows);
    }

    private static void Move(Tensor tensor, ReadOnlySpan<int> indices, Span<float> rows, bool incoming)
    {
        var width = (int)tensor.Ne(0) * (int)(tensor.Ne(1) * tensor.Ne(2) / indices.Length);
        for (int i = 0, run; i < indices.Length; i += run)
        {
            run = Runs.Length(indices[i..]);
            var part = rows.Slice(indices[i] * width, run * width);
            if (incoming)
                tensor.Set<float>(part, (long)i * width * sizeof(float));
            else
                tensor.Get(part, (long)i * width * sizeof(float));
        }
    }

    /// <summary>What a layer of this segment keeps of every cell.</summary>
    public LayerCache? CacheOf(int layer) => _cache.TryGetValue(layer, out var cache) ? cache : null;

    /// <summary>Overwrites cells of layers of a kind with zeros.</summary>
    public void Overwrite(CacheKind kind, int cell, int count)
    {
        var zeros = new byte[CopyBytes];
        ForParts(kind, count, (tensor, i, bytes) => tensor.Set<byte>(zeros.AsSpan(0, bytes), (cell + i) * tensor.Nb(1)));
    }

    /// <summary>Copies cells of layers of a kind to others, which may overlap them.</summary>
    public void Copy(CacheKind kind, int from, int to, int count)
    {
        Clear(kind, from, count);
        Clear(kind, to, count);
        var buffer = ArrayPool<byte>.Shared.Rent(CopyBytes);
        ForParts(kind, count, (tensor, i, bytes) =>
        {
            tensor.Get(buffer.AsSpan(0, bytes), (from + i) * tensor.Nb(1));
            tensor.Set<byte>(buffer.AsSpan(0, bytes), (to + i) * tensor.Nb(1));
        });
        ArrayPool<byte>.Shared.Return(buffer);
    }

    // So many cells of each tensor of a kind, in parts: the first of a part and its bytes. Upwards, because cells that
    // are copied over themselves go down.
    private void ForParts(CacheKind kind, int count, Action<Tensor, int, int> action)
    {
        foreach (var tensor in _cache.Values.Where(c => c.Kind == kind).SelectMany(c => c.Tensors))
        {
            var rowBytes = (int)tensor.Nb(1);
            for (int i = 0, part; i < count; i += part)
            {
                part = Math.Min(CopyBytes / rowBytes, count - i);
                action(tensor, i, part * rowBytes);
            }
        }
    }

    private void Clear(Pass pass)
    {
        foreach (var group in pass.Full.Groups)
            Clear(CacheKind.Full, group.FirstCell, group.Extent);
        var kind = _cells.WindowRegion > 0 ? CacheKind.Windowed : CacheKind.Full;
        foreach (var group in pass.Windowed.Groups)
            Clear(kind, group.FirstCell, group.Extent);
    }

    /// <summary>
    /// Clears cells that were never looked at. They are masked, but 0 times NaN is NaN where masked products are
    /// computed too. The host's are cleared when attention first looks at them: until then they take no resident memory.
    /// </summary>
    public void Clear(CacheKind kind, int first, int count)
    {
        var pages = _clearedPages[(int)kind];
        var all = _cells.CellsOf(kind);
        for (var page = first / PageCells; page * PageCells < Math.Min(all, first + count); page++)
        {
            if (pages[page])
                continue;
            pages[page] = true;
            var cells = Math.Min(PageCells, all - (page * PageCells));
            // What convolutions read was always written before.
            foreach (var cache in _cache.Values.Where(c => c.Kind == kind && c.History.IsNull))
            {
                foreach (var tensor in cache.Tensors)
                    tensor.Clear(page * PageCells * tensor.Nb(1), cells * tensor.Nb(1));
            }
        }
    }

    // The CPU computes every operation; asking others first gives an error where they would abort.
    private void RequireSupport(Graph graph)
    {
        if (_backend.Device.Kind == NativeDeviceKind.Cpu)
            return;
        for (var i = 0; i < graph.Nodes; i++)
        {
            var node = graph.Node(i);
            if (!_backend.Device.Supports(node))
                throw new NativeException($"The device {_backend.Device.Name} does not compute {Graph.Describe(node)} for this model; choose another with --device.");
        }
    }

    // Without outputs the last layer only writes its cache.
    private (int Full, int Windowed) LayersThatAttend(Pass pass)
    {
        var (full, windowed) = _attentionLayers;
        var last = _model.LayerCount - 1;
        if (pass.Outputs > 0 || CacheOf(last) is null or { Keys.IsNull: true })
            return (full, windowed);
        return _model.Layers.HasWindow(last) ? (full, windowed - 1) : (full - 1, windowed);
    }

    // A product with a key and one with a value for each head and each cell that is looked at.
    private double AttentionFlops(Pass pass)
    {
        var (full, windowed) = LayersThatAttend(pass);
        return 4.0 * _model.HeadLength * _model.HeadCount * (((double)full * pass.Full.Visible) + ((double)windowed * pass.Windowed.Visible));
    }

    private double CacheBytes(Pass pass)
    {
        var (full, windowed) = LayersThatAttend(pass);
        double read = (full * (double)pass.Full.Distinct) + (windowed * (double)pass.Windowed.Distinct), written = (_attentionLayers.Full + _attentionLayers.Windowed) * (double)pass.Rows;
        return (_attentionCellBytes * (read + written)) + ((double)_historyCellBytes * (_model.Layers.ConvolutionLength + 1) * pass.Rows);
    }

    private long TransferBytes(Pass pass, LayerGraph graph)
    {
        long bytes = Stages.BeginsModel ? pass.Rows * sizeof(int) : 0;
        var (full, windowed) = LayersThatAttend(pass);
        bytes += sizeof(ushort) * ((full > 0 ? (long)pass.Full.Values.Length : 0) + (windowed > 0 ? pass.Windowed.Values.Length : 0));
        foreach (var (_, tensor) in graph.Incoming)
            bytes += tensor.Bytes;
        foreach (var (_, tensor) in graph.Outgoing)
            bytes += tensor.Bytes;
        return bytes + (graph.Result.IsNull ? 0 : graph.Result.Bytes);
    }

    public void Dispose()
    {
        foreach (var lowered in _lowered)
            lowered?.Dispose();
        _cacheBuffer?.Dispose();
        _cacheArena?.Dispose();
        _weights?.Dispose();
    }
}
