using Ergon.Devices;
using Ergon.Models;
using Ergon.Models.Gguf;

namespace Ergon.Inference;

/// <summary>
/// A model that turns texts into vectors: an encoder such as BERT, or a generative model whose last layer is
/// pooled. Safe for concurrent use; calls take turns, a pass at a time.
/// </summary>
/// <example><code>
/// using var model = EmbeddingModel.Load("nomic-embed-text.gguf");
/// var vectors = await model.EmbedAsync(["search_query: why is the sky blue?", "search_document: Rayleigh scattering"]);
/// </code></example>
public sealed class EmbeddingModel : IPassSource, IDisposable
{
    // A mask is [rows, rows] in one array.
    private const int DefaultContext = 8192, MaxContext = 1 << 15;

    private readonly EngineThread<EmbeddingEngine> _engine;
    private readonly EmbeddingOptions _options;
    private Action<PassReport>? _passCompleted;
    private int _calls;

    private EmbeddingModel(ModelDescription description, Tokenizer tokenizer, EngineThread<EmbeddingEngine> engine, EmbeddingOptions options, Pooling pooling, int context, string device, int threads, TimeSpan loadTime)
    {
        Description = description;
        Tokenizer = tokenizer;
        _engine = engine;
        _options = options;
        Pooling = pooling;
        ContextLength = context;
        Devices = [device];
        Threads = threads;
        LoadTime = loadTime;
    }

    /// <summary>The model's shape.</summary>
    public ModelDescription Description { get; }

    /// <summary>The model's tokenizer.</summary>
    public Tokenizer Tokenizer { get; }

    /// <summary>How a text's tokens become one vector.</summary>
    public Pooling Pooling { get; }

    /// <summary>Numbers in a vector.</summary>
    public int Dimensions => Description.EmbeddingLength;

    /// <summary>Tokens that a text can have.</summary>
    public int ContextLength { get; }

    /// <summary>The names of the devices it runs on.</summary>
    public IReadOnlyList<string> Devices { get; }

    /// <summary>CPU threads in use.</summary>
    public int Threads { get; }

    /// <summary>How long loading took.</summary>
    public TimeSpan LoadTime { get; }

    /// <summary>Loads a GGUF file.</summary>
    /// <param name="path">The file, or the first of its parts.</param>
    /// <param name="options">How; <see langword="null"/> for the defaults.</param>
    /// <param name="cancellation">Stops loading.</param>
    /// <exception cref="ErgonException">The file is missing, malformed or not supported, or does not say how to pool, or an option is out of range.</exception>
    public static EmbeddingModel Load(string path, EmbeddingOptions? options = null, CancellationToken cancellation = default)
    {
        options ??= new EmbeddingOptions();
        var began = System.Diagnostics.Stopwatch.GetTimestamp();
        ErgonModel.LogTo(options.Logger);
        var description = ModelDescription.Read(GgufFile.Open(path));
        if (description.Layers.ConvolutionLength > 0)
            throw new UnsupportedModelException($"{path}: the architecture '{description.ArchitectureName}' convolves what its cache holds, and embedding goes without a cache; use another model.");
        var pooling = options.Pooling ?? PoolingOf(description);
        if (!Enum.IsDefined(pooling))
            throw new ErgonException($"pooling is {pooling}, but must be {string.Join(", ", Enum.GetNames<Pooling>())}.");
        var threads = ErgonModel.Ranged("threads", options.Threads ?? CpuTopology.PhysicalCores(), 1, 512);
        var context = ErgonModel.Ranged("ctx", options.ContextLength ?? Math.Min(description.TrainingContext, DefaultContext), 1, MaxContext);
        if (description.Rope is null && context > description.TrainingContext)
            throw new ErgonException($"ctx is {context}, but this model has {description.TrainingContext} learned positions; use --ctx {description.TrainingContext} or less.");
        var device = DeviceChoice.Choose(options.Device, description.WeightBytes + IntermediateBytes(description, Math.Max(context, Engine.MaxRows)));

        var tokenizer = Tokenizer.Load(description.File);
        try
        {
            ErgonModel.RequireSameVocabulary(description, tokenizer);
            var placement = new Placement(device, StageRange.Whole(description) with { Pooling = pooling }, threads);
            var engine = new EngineThread<EmbeddingEngine>(typeof(EmbeddingModel), () => new EmbeddingEngine(description, placement, context, options.Progress, cancellation));
            return new EmbeddingModel(description, tokenizer, engine, options, pooling, context, device.Name, threads, System.Diagnostics.Stopwatch.GetElapsedTime(began));
        }
        catch
        {
            tokenizer.Dispose();
            throw;
        }
    }

    /// <summary>The tokens of a text that is to be embedded, with those that the model wants around it.</summary>
    /// <exception cref="ErgonException">The text is longer than the context and may not be truncated, or has no tokens.</exception>
    public int[] Tokenize(string text)
    {
        ArgumentNullException.ThrowIfNull(text);
        var tokens = Tokenizer.Tokenize(text);
        if (tokens.Length == 0)
            throw new ErgonException("A text is empty, but this model needs at least one token; leave the text out.");
        if (tokens.Length <= ContextLength)
            return tokens;
        if (!_options.Truncate)
            throw new ErgonException($"The text '{text[..Math.Min(text.Length, 20)]}...' has {tokens.Length} tokens, but the context holds {ContextLength}; shorten it, or use --truncate.");
        // What the tokenizer sets at the end stays there; a text's own tokens are never control tokens.
        var last = tokens[^1];
        tokens = tokens[..ContextLength];
        if (Tokenizer.Vocabulary.IsControl(last))
            tokens[^1] = last;
        return tokens;
    }

    /// <summary>Embeds texts, as many at a time as share a pass well.</summary>
    /// <param name="texts">The texts, with the prefixes that the model wants for a query or a document, if any.</param>
    /// <param name="cancellation">Stops between two passes.</param>
    /// <returns>A vector of <see cref="Dimensions"/> numbers for each text, in order.</returns>
    /// <exception cref="ErgonException">As <see cref="Tokenize"/>, or the device failed.</exception>
    public Task<float[][]> EmbedAsync(IEnumerable<string> texts, CancellationToken cancellation = default) =>
        EmbedTokensAsync([.. texts.Select(Tokenize)], cancellation);

    /// <summary>As <see cref="EmbedAsync"/>, of texts that are tokens already.</summary>
    /// <exception cref="ErgonException">A text has no tokens, more than the context holds, or one that is not in the vocabulary; or the device failed.</exception>
    public Task<float[][]> EmbedTokensAsync(IReadOnlyList<int[]> texts, CancellationToken cancellation = default) => EmbedTokensAsync(texts, NextCall(), cancellation);

    /// <summary>A number for a call, which its passes are reported under.</summary>
    internal int NextCall() => Interlocked.Increment(ref _calls);

    internal async Task<float[][]> EmbedTokensAsync(IReadOnlyList<int[]> texts, int call, CancellationToken cancellation)
    {
        ArgumentNullException.ThrowIfNull(texts);
        if (texts.FirstOrDefault(t => t.Length == 0 || t.Length > ContextLength) is { } wrong)
            throw new ErgonException($"A text has {wrong.Length} tokens, but must have 1 to {ContextLength}.");
        var vectors = new List<float[]>(texts.Count);
        while (vectors.Count < texts.Count)
        {
            cancellation.ThrowIfCancellationRequested();
            // Attention's cost grows with the square of a pass: a long text goes alone, short ones share.
            int count = 0, rows = 0;
            while (vectors.Count + count < texts.Count && (count == 0 || rows + texts[vectors.Count + count].Length <= Engine.MaxRows))
                rows += texts[vectors.Count + count++].Length;
            int[][] together = [.. texts.Skip(vectors.Count).Take(count)];
            vectors.AddRange(await _engine.InvokeAsync(engine =>
            {
                var pass = engine.Run(together);
                _passCompleted?.Invoke(new PassReport([engine.Report], [new PassPart(call, rows, IsPrompt: true)], engine.Report.Ended));
                return pass;
            }).ConfigureAwait(false));
        }
        if (_options.Normalize)
            vectors.ForEach(Normalize);
        return [.. vectors];
    }

    ModelInfo IPassSource.Description => Description;

    event Action<PassReport>? IPassSource.PassCompleted
    {
        add => _passCompleted += value;
        remove => _passCompleted -= value;
    }

    Task<T> IPassSource.BetweenPassesAsync<T>(Func<T> action) => _engine.InvokeAsync(_ => action());

    // A vector of zeros has no direction and stays as it is.
    private static void Normalize(float[] vector)
    {
        double squares = 0;
        foreach (var value in vector)
            squares += (double)value * value;
        var factor = squares > 0 ? (float)(1 / Math.Sqrt(squares)) : 0;
        for (var i = 0; i < vector.Length; i++)
            vector[i] *= factor;
    }

    private static Pooling PoolingOf(ModelDescription model) => model.PoolingType switch
    {
        (int)Pooling.Mean or (int)Pooling.Cls or (int)Pooling.Last => (Pooling)model.PoolingType,
        0 when !model.IsEncoder => throw new ErgonException($"{model.File.Path}: the architecture '{model.ArchitectureName}' generates text; use 'ergon run', or ErgonModel in code. To embed with it, choose --pooling last or mean."),
        0 => throw new ErgonException($"{model.File.Path} does not say how the vectors of a text's tokens become one (pooling_type is absent or none); choose --pooling mean, cls or last."),
        4 => throw new ErgonException($"{model.File.Path} is a reranker (pooling_type is rank), which gives scores and no vectors; use an embedding model."),
        var other => throw new ErgonException($"{model.File.Path} has the pooling_type {other}, which Ergon does not know; choose --pooling mean, cls or last."),
    };

    // The largest results of a full pass: the mask, the feed-forward block, and the residual stream a few times over.
    private static long IntermediateBytes(ModelDescription d, long rows) => (2 * rows * rows) + (4 * rows * ((3L * d.FeedForwardLength) + (8L * d.EmbeddingLength)));

    /// <summary>Frees the model. Waits for the passes that were asked for.</summary>
    public void Dispose()
    {
        _engine.Dispose();
        Tokenizer.Dispose();
    }
}
