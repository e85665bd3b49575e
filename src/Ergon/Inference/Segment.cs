using Ergon.Models;
using Ergon.Native;
using Ergon.Native.Tensors;

namespace Ergon.Inference;

/// <summary>
/// A run of layers on one device: its weights, its part of the KV cache, and the graph that computes it.
/// One thread makes all calls of one segment.
/// </summary>
internal sealed class Segment : IDisposable
{
    private readonly Backend _backend;
    private readonly Weights _weights;
    private readonly TensorArena _cacheArena;
    private readonly DeviceBuffer? _cacheBuffer;
    private readonly LayerCache[] _cache;
    private int _cellsCleared;
    private readonly LayerGraph _lowering;
    private readonly GraphAllocator _allocator;
    private (int Rows, int Extent, int Outputs) _shape;

    /// <param name="model">The model.</param>
    /// <param name="backend">The device, opened; owned from here on.</param>
    /// <param name="layers">What to run there.</param>
    /// <param name="cells">Cells of the KV cache; with pooling, which needs none, positions of the longest text.</param>
    /// <param name="cacheType">How keys and values are stored.</param>
    /// <param name="progress">Told the share loaded, 0 to 1.</param>
    /// <param name="cancellation">Stops loading.</param>
    public Segment(ModelDescription model, Backend backend, LayerRange layers, int cells, GgmlType cacheType, IProgress<double>? progress = null, CancellationToken cancellation = default)
    {
        _backend = backend;
        Layers = layers;
        try
        {
            _weights = new Weights(model, backend.Device, layers, progress, cancellation);
            var cached = layers.Pooling is null ? layers.Count : 0;
            _cacheArena = new TensorArena(Math.Max(1, 2 * cached));
            long width = (long)model.HeadLength * model.HeadCountKv, bytes = 0;
            _cache = new LayerCache[cached];
            for (var i = 0; i < _cache.Length; i++)
            {
                // One cell more, never written, is what lies before a sequence's first position.
                _cache[i] = model.Layers.HasConvolution(layers.First + i)
                    ? new LayerCache { History = _cacheArena.New(GgmlType.F32, model.EmbeddingLength, cells + 1) }
                    : new LayerCache { Keys = _cacheArena.New(cacheType, width, cells), Values = _cacheArena.New(cacheType, width, cells) };
                bytes += _cache[i].Tensors.Sum(t => t.Bytes);
            }
            _cacheBuffer = _cacheArena.Allocate(backend.Device.BufferType, bytes);
            if (backend.Device.BufferType.IsHost)
            {
                foreach (var cache in _cache.Where(c => !c.History.IsNull))
                    cache.History.Clear(0, cache.History.Bytes);
            }
            else
            {
                _cacheBuffer?.Clear();
                _cellsCleared = cells;
            }
            _lowering = new LayerGraph(model, _weights, layers, _cache, cells);
            _allocator = new GraphAllocator(backend.Device.BufferType);
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    public LayerRange Layers { get; }

    public Backend Backend => _backend;

    /// <summary>Computes the segment for the rows of a pass.</summary>
    /// <param name="pass">The rows.</param>
    /// <param name="residual">[n_embd, rows] from the segment before; not read when this one embeds.</param>
    /// <param name="result">Logits [n_vocab, outputs] with a head, else the residual stream: [n_embd, outputs] after the last layer, [n_embd, rows] before; with pooling [n_embd, texts].</param>
    /// <exception cref="NativeException">The device failed.</exception>
    public void Run(Pass pass, ReadOnlySpan<float> residual, Span<float> result)
    {
        var shape = (pass.Rows, pass.Extent, pass.Outputs);
        if (shape != _shape)
        {
            _shape = default;
            ClearUpTo(pass.Extent);
            _lowering.Build(pass.Rows, pass.Extent, pass.Outputs);
            RequireSupport();
            _allocator.Allocate(_lowering.Graph);
            _shape = shape;
        }
        _lowering.SetInputs(pass, residual);
        _backend.Compute(_lowering.Graph);
        if (!_lowering.Result.IsNull)
            _lowering.Result.Get(result);
    }

    /// <summary>The tensors that hold a row for each cell, in the model's order.</summary>
    public IEnumerable<Tensor> CellTensors => _cache.SelectMany(layer => layer.Tensors);

    /// <summary>Overwrites cells of the cache with zeros.</summary>
    public void ClearCells(ReadOnlySpan<int> cells)
    {
        foreach (var tensor in _cache.SelectMany(c => c.Tensors))
        {
            var zeros = new byte[tensor.Nb(1)];
            foreach (var cell in cells)
                tensor.Set<byte>(zeros, cell * tensor.Nb(1));
        }
    }

    // Cells that were never written are masked, but 0 times NaN is NaN where masked products are computed too.
    // The host's are cleared when attention first looks at them: until then they take no resident memory.
    public void ClearUpTo(int extent)
    {
        if (extent <= _cellsCleared)
            return;
        foreach (var tensor in _cache.Where(c => !c.Keys.IsNull).SelectMany(c => c.Tensors))
            tensor.Clear(_cellsCleared * tensor.Nb(1), (extent - _cellsCleared) * tensor.Nb(1));
        _cellsCleared = extent;
    }

    // The CPU computes every operation; asking others first gives an error where they would abort.
    private void RequireSupport()
    {
        if (_backend.Device.Kind == NativeDeviceKind.Cpu)
            return;
        for (var i = 0; i < _lowering.Graph.Nodes; i++)
        {
            var node = _lowering.Graph.Node(i);
            if (!_backend.Device.Supports(node))
                throw new NativeException($"The device {_backend.Device.Name} does not compute {Graph.Describe(node)} for this model; choose another with --device.");
        }
    }

    public void Dispose()
    {
        _allocator?.Dispose();
        _lowering?.Dispose();
        _cacheBuffer?.Dispose();
        _cacheArena?.Dispose();
        _weights?.Dispose();
        _backend.Dispose();
    }
}
