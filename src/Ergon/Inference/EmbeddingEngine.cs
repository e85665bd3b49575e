using Ergon.Models;
using Ergon.Native;
using Ergon.Native.Tensors;

namespace Ergon.Inference;

/// <summary>The forward pass of a model over whole texts, to a vector for each. Not thread-safe: one thread makes all calls, as with <see cref="Engine"/>.</summary>
internal sealed class EmbeddingEngine : IDisposable
{
    private readonly Backend _backend;
    private readonly Segment _segment;
    private readonly Pass _pass;
    private readonly Pooling _pooling;

    /// <param name="model">An encoder, or a generative model, whose rows then see what is before them only.</param>
    /// <param name="placement">All of the model, with pooling.</param>
    /// <param name="context">Tokens of the longest text.</param>
    /// <param name="progress">Told the share loaded, 0 to 1.</param>
    /// <param name="cancellation">Stops loading.</param>
    /// <exception cref="NativeException">The device failed or has not enough memory.</exception>
    public EmbeddingEngine(ModelDescription model, Placement placement, int context, IProgress<double>? progress = null, CancellationToken cancellation = default)
    {
        Model = model;
        MaxRows = Math.Max(context, Engine.MaxRows);
        _pass = new Pass(MaxRows, model.Layers.Window, convolution: 0);
        _pooling = placement.Stages.Pooling ?? throw new ArgumentException("An embedding engine pools.", nameof(placement));
        var (device, layers, threads, cpus, _) = placement;
        _backend = new Backend(device, threads, cpus);
        try
        {
            _segment = new Segment(model, _backend, layers, new KvCacheShape(context, 1, 0, 0), GgmlType.F16, depth: 1, progress, cancellation);
        }
        catch
        {
            _backend.Dispose();
            throw;
        }
    }

    public ModelDescription Model { get; }

    /// <summary>Tokens that the texts of one pass can have together.</summary>
    public int MaxRows { get; }

    /// <summary>What the last pass did.</summary>
    public SegmentReport Report { get; private set; }

    /// <summary>Embeds texts in one pass.</summary>
    /// <param name="texts">Tokens, at least one of each text, <see cref="MaxRows"/> in all.</param>
    /// <returns>A vector [n_embd] for each text.</returns>
    /// <exception cref="NativeException">The device failed, or gave numbers that are not finite.</exception>
    public float[][] Run(ReadOnlySpan<int[]> texts)
    {
        foreach (var text in texts)
        {
            // Native code indexes the embedding with these.
            if (Array.Find(text, token => (uint)token >= (uint)Model.VocabularySize) is not 0 and var stranger)
                throw new ErgonException($"Token id {stranger} is not in the vocabulary, whose ids are 0 to {Model.VocabularySize - 1}.");
        }
        _pass.Fill(texts, causal: !Model.IsEncoder, _pooling);
        var width = Model.EmbeddingLength;
        var result = new float[texts.Length * width];
        Report = _segment.Run(_pass, boundary: null, result);
        if (!Engine.IsFinite(result))
            throw new NativeException($"{_segment.Backend.Device.Name} gave an embedding that is not finite numbers; the weights are damaged, or the device is.");
        return [.. result.Chunk(width)];
    }

    public void Dispose()
    {
        _segment.Dispose();
        _backend.Dispose();
    }
}
