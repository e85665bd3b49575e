using Ergon.Devices;
using Ergon.Models;
using Ergon.Models.Gguf;
using Ergon.Models.Templates;
using Ergon.Native;
using Ergon.Native.Tensors;
using Microsoft.Extensions.Logging;

namespace Ergon.Inference;

/// <summary>
/// A model that is loaded and ready to generate. Its sessions may be used from any thread; what they do at
/// the same time shares passes over the weights.
/// </summary>
/// <example><code>
/// using var model = ErgonModel.Load("model.gguf");
/// using var session = model.CreateSession();
/// await foreach (var token in session.GenerateAsync(model.Tokenizer.Tokenize("Once upon a time"), new() { MaxTokens = 50 }))
///     Console.Write(token.Text);
/// </code></example>
public sealed partial class ErgonModel : IPassSource, IDisposable
{
    internal const int DefaultContext = 8192, LeastContext = 256;

    private const long WeightBytesPerThread = 32 << 20;

    // A mask is [cells, rows of a pass] in one array; half of a pass stays free for prompts however many decode.
    private const int MaxCells = (1 << 22) - 1, MaxSequencesLimit = Inference.Engine.MaxRows / 2;

    private readonly Batcher _batcher;
    private readonly Lazy<ChatTemplate?> _template;
    private readonly Lazy<byte[]> _fingerprint;

    private ErgonModel(ModelInfo description, Tokenizer tokenizer, Batcher batcher, ModelOptions options, KvCacheType type, int cells, int context, IReadOnlyList<Placement> placements, TimeSpan loadTime)
    {
        Description = description;
        Engine = description is ModelDescription ? EngineChoice.Ergon : EngineChoice.Libllama;
        Tokenizer = tokenizer;
        _batcher = batcher;
        ContextLength = context;
        Placements = placements;
        LoadTime = loadTime;
        MaxSequences = options.MaxSequences;
        (KvType, Cells) = (type, cells);
        UsesLongFactors = (description as ModelDescription)?.UsesLongFactors(cells) == true;
        _fingerprint = new Lazy<byte[]>(description.File.Fingerprint);
        // A template is parsed when it is needed: a model with a bad one still completes text.
        _template = new Lazy<ChatTemplate?>(() => description.File.FindString("tokenizer.chat_template") is { } source ? ChatTemplate.Parse(source) : null);
    }

    /// <summary>The model's shape; a <see cref="ModelDescription"/> where Ergon's own graph runs it.</summary>
    public ModelInfo Description { get; }

    /// <summary>What computes it: <see cref="EngineChoice.Ergon"/> or <see cref="EngineChoice.Libllama"/>.</summary>
    public EngineChoice Engine { get; }

    /// <summary>The model's tokenizer.</summary>
    public Tokenizer Tokenizer { get; }

    /// <summary>The template that turns messages into a prompt; <see langword="null"/> where the file has none.</summary>
    /// <exception cref="ChatTemplateException">The file's template cannot be parsed.</exception>
    public ChatTemplate? ChatTemplate => _template.Value;

    /// <summary>Positions that a session can have.</summary>
    public int ContextLength { get; }

    /// <summary>Sessions that may be open at once.</summary>
    public int MaxSequences { get; }

    /// <summary>The names of the devices it runs on.</summary>
    public IReadOnlyList<string> Devices => [.. Placements.Select(p => p.Device.Name).Distinct()];

    /// <summary>CPU threads in use.</summary>
    public int Threads => ThreadsOf(Placements);

    /// <summary>How long loading took.</summary>
    public TimeSpan LoadTime { get; }

    /// <summary>Loads a GGUF file.</summary>
    /// <param name="path">The file, or the first of its parts.</param>
    /// <param name="options">How; <see langword="null"/> for the defaults.</param>
    /// <param name="cancellation">Stops loading.</param>
    /// <exception cref="UnsupportedModelException">The chosen engine does not run the model.</exception>
    /// <exception cref="ErgonException">The file is missing or malformed, or an option is out of range.</exception>
    public static ErgonModel Load(string path, ModelOptions? options = null, CancellationToken cancellation = default)
    {
        options ??= new ModelOptions();
        var began = System.Diagnostics.Stopwatch.GetTimestamp();
        LogTo(options.Logger);
        var description = Describe(GgufFile.Open(path), options.Engine);
        if (Architecture.Find(description.ArchitectureName) is { Encoder: true })
            throw new ErgonException($"{path}: the architecture '{description.ArchitectureName}' embeds texts and generates none; use 'ergon embed', or EmbeddingModel in code.");
        if (options.Placements is { } plan)
        {
            if (options.Device is not null || options.Threads is not null)
                throw new ErgonException($"{(options.Device is not null ? $"device is '{options.Device}'" : $"threads is {options.Threads}")}, but the plan says what runs where; use either.");
            Placement.Require(plan, description);
        }
        var threads = Ranged("threads", options.Threads ?? DefaultThreads(description), 1, 512);
        Ranged("max-sequences", options.MaxSequences, 1, MaxSequencesLimit);
        if (options.ContextLength is { } asked)
            Ranged("ctx", asked, 1, MaxCells);
        if (options.CacheLength is { } pool)
            Ranged("cache-length", pool, 1, MaxCells);

        var type = options.KvType ?? KvCacheType.F16;
        var (_, blockLength, _) = type.Storage().Traits();
        var (key, value) = description.HeadLengths;
        if (key % blockLength != 0 || value % blockLength != 0)
            throw new ErgonException($"kv-type is {type}, which stores blocks of {blockLength} values, but this model's heads have {(key % blockLength != 0 ? key : value)}; use F16.");
        long CellsFor(int length) => options.CacheLength ?? (long)length * options.MaxSequences;
        long CacheBytes(int length) => description is ModelDescription described
            ? KvCacheShape.For(described, (int)Math.Min(MaxCells, CellsFor(length)), options.MaxSequences).Bytes(described, type.Storage())
            : ((WholeModel)description).CacheBytes(type.Storage()) * CellsFor(length);
        var wanted = options.ContextLength ?? Math.Min(description.TrainingContext, DefaultContext);
        var placements = options.Placements ?? [new Placement(DeviceChoice.Choose(options.Device, description.WeightBytes + CacheBytes(wanted) + IntermediateBytes(description)), StageRange.Whole(description), threads)];
        type = options.KvType ?? KvCacheTypes.Default(description, placements.All(p => p.Device.Kind == NativeDeviceKind.Cpu));
        var context = wanted;
        foreach (var placed in options.ContextLength is null ? placements.GroupBy(p => p.Device.Name) : [])
        {
            if (DeviceInfo.FreeBytes(placed.First().Device) is not (> 0 and var free))
                continue;
            // A quarter of what is left stays free for the other programs.
            var fits = (free - placed.Sum(p => WeightBytes(description, p.Stages)) - IntermediateBytes(description)) / 4 * 3;
            while (context > LeastContext && CacheBytes(context) * placed.Sum(p => p.Stages.AttentionShare) > fits)
                context /= 2;
        }
        if (context > description.LearnedPositions)
            throw new ErgonException($"ctx is {context}, but this model has {description.LearnedPositions} learned positions; use --ctx {description.LearnedPositions} or less.");
        var cells = CellsFor(context);
        if (cells > MaxCells)
            throw new ErgonException($"{options.MaxSequences} sessions of {context} positions are {cells}, more than the {MaxCells} that a cache can have; use a smaller context, or fewer sessions.");
        if (cells < context)
            throw new ErgonException($"cache-length is {cells}, which does not hold one context of {context}; use a smaller --ctx, or a larger cache.");

        Func<IEngine> open = description is ModelDescription own
            ? () => new Engine(own, placements, (int)cells, options.MaxSequences, type.Storage(), options.Progress, cancellation)
            : () => new LibllamaEngine((WholeModel)description, placements[0].Device, threads, (int)cells, options.MaxSequences, type.Storage(), repack: true, options.Progress, cancellation);
        if (description is WholeModel && options.TrialCommand is { } command)
            new LibllamaTrial(path, (int)cells, options.MaxSequences, type, threads).Run(command, description, cancellation);

        // The vocabulary is read while the weights are repacked.
        var vocabulary = Task.Run(() => Tokenizer.Load(description.File), CancellationToken.None);
        Batcher? batcher = null;
        try
        {
            batcher = new Batcher(open) { TiersArePhases = options.TiersArePhases };
            var tokenizer = vocabulary.GetAwaiter().GetResult();
            RequireSameVocabulary(description, tokenizer);
            return new ErgonModel(description, tokenizer, batcher, options, type, (int)cells, context, placements, System.Diagnostics.Stopwatch.GetElapsedTime(began));
        }
        catch
        {
            batcher?.Dispose();
            _ = vocabulary.ContinueWith(static loaded => loaded.Result.Dispose(), CancellationToken.None, TaskContinuationOptions.OnlyOnRanToCompletion, TaskScheduler.Default);
            throw;
        }
    }

    /// <summary>The prompt of a conversation: rendered by the model's template, with nothing a user wrote taken for a special token.</summary>
    /// <param name="chat">The conversation; the texts of the beginning and end of sequence are filled in.</param>
    /// <exception cref="ErgonException">The model has no template.</exception>
    /// <exception cref="ChatTemplateException">The template refuses the conversation, or is broken.</exception>
    public int[] Tokenize(ChatTemplateInput chat) => Tokenizer.Tokenize(Render(chat));

    /// <summary>The same with a text that goes on from it; a token that reaches over the border is one.</summary>
    internal int[] Tokenize(ChatTemplateInput chat, string answer)
    {
        var prompt = Render(chat);
        List<PromptSpan> spans = [.. prompt.Spans];
        if (spans is [.., { IsTemplate: false } last])
            spans[^1] = last with { Length = last.Length + answer.Length };
        else
            spans.Add(new PromptSpan(prompt.Text.Length, answer.Length, IsTemplate: false));
        return Tokenizer.Tokenize(new RenderedPrompt(prompt.Text + answer, spans));
    }

    private RenderedPrompt Render(ChatTemplateInput chat)
    {
        ArgumentNullException.ThrowIfNull(chat);
        var template = ChatTemplate ?? throw new ErgonException($"The model '{Description.Name}' has no chat template; use it with --raw, as a completion of plain text.");
        return template.Render(chat with
        {
            BosToken = Tokenizer.Bos is { } bos ? Tokenizer.Piece(bos, special: true) : "",
            EosToken = Tokenizer.Eos is { } eos ? Tokenizer.Piece(eos, special: true) : "",
        });
    }

    /// <summary>Opens an empty session.</summary>
    /// <exception cref="ErgonException">As many sessions are open as the model was loaded for.</exception>
    public Session CreateSession() => Session.OpenAsync(this, _batcher).GetAwaiter().GetResult();

    /// <summary>Opens a session with what <see cref="Session.SaveAsync"/> wrote: what that one had computed need not be computed again.</summary>
    /// <param name="source">The bytes, saved from the same model with the same kind of cache, on whatever device; read to their end, no further.</param>
    /// <param name="cancellation">Stops restoring.</param>
    /// <exception cref="ErgonException">The bytes are of another model, cache or version, or damaged, or do not fit; nothing is changed then.</exception>
    public async Task<Session> RestoreSessionAsync(Stream source, CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(source);
        return await Session.RestoreAsync(this, _batcher, source, cancellation).ConfigureAwait(false);
    }

    /// <summary>What runs its passes.</summary>
    internal Batcher Batcher => _batcher;

    /// <summary>How keys and values are stored.</summary>
    internal KvCacheType KvType { get; }

    /// <summary>The same, as ggml names it.</summary>
    internal Native.GgmlType CacheType => KvType.Storage();

    /// <summary>Positions of all sessions together.</summary>
    internal int Cells { get; }

    /// <summary>Whether cached keys are rotated by LongRoPE's long factors, which the length of the cache decides.</summary>
    internal bool UsesLongFactors { get; }

    /// <summary>Tells this model from others.</summary>
    internal ReadOnlySpan<byte> Fingerprint => _fingerprint.Value;

    /// <summary>Keeps so many passes in flight from the next on, where there are as many devices; 1 lets devices take turns, <see langword="null"/> leaves it to what is measured.</summary>
    internal Task KeepInFlightAsync(int? passes) => _batcher.InvokeAsync(_ => _batcher.InFlight = passes);

    /// <summary>What runs on which device.</summary>
    internal IReadOnlyList<Placement> Placements { get; private set; }

    /// <summary>
    /// Asked when a device failed, on the engine's thread: gives others, with which generations and sessions go on after computing
    /// their tokens again, or <see langword="null"/>, and then the generations fail.
    /// </summary>
    internal void OnDeviceLost(Func<Placement, Exception, DeviceChange?> choose) => _batcher.TryPost(_ => _batcher.DeviceLost = (lost, error) =>
    {
        if (choose(lost, error) is not { } next)
            return null;
        Placement.Require(next.Placements, Description);
        return Noted(next);
    });

    /// <summary>
    /// Goes on with other devices: sessions and running generations keep what they have computed, and no token changes where
    /// devices round alike. The model is loaded beside the running one where memory holds both, which costs those who wait no more
    /// than the copy of the cache; else between two passes.
    /// </summary>
    /// <param name="to">The devices.</param>
    /// <param name="keeps">Whether a sequence takes its cache along, by positions of a prompt and of generated tokens that would be computed again; <see langword="null"/>: all do.</param>
    /// <param name="cancellation">Stops loading; all is as before then.</param>
    /// <returns>For how long no pass could run.</returns>
    /// <exception cref="ErgonException">They do not fit the model, a device failed or has not enough memory, or the devices changed meanwhile; all is as before.</exception>
    internal async Task<TimeSpan> MoveAsync(DeviceChange to, Func<int, int, bool>? keeps = null, CancellationToken cancellation = default)
    {
        Placement.Require(to.Placements, Description);
        // Each device holds its weights and its cache a second time for a moment.
        var fits = to.Placements.GroupBy(p => p.Device.Name).All(device =>
        {
            var cache = KvCacheShape.For((ModelDescription)Description, Cells, MaxSequences).Bytes((ModelDescription)Description, CacheType) * device.Sum(p => p.Stages.AttentionShare);
            return DeviceInfo.FreeBytes(device.First().Device) is not (> 0 and var free) || device.Sum(p => WeightBytes(Description, p.Stages)) + cache + IntermediateBytes(Description) < free * 0.9;
        });
        var (engine, before) = await InvokeAsync(engine => ((Engine)engine, ((Engine)engine).Placements)).ConfigureAwait(false);
        var next = fits ? await Task.Run(() => engine.Prepare(to.Placements, cancellation: cancellation), cancellation).ConfigureAwait(false) : null;
        var paused = TimeSpan.Zero;
        try
        {
            await _batcher.ChangeDevicesAsync(before, Noted(to), engine =>
            {
                var began = System.Diagnostics.Stopwatch.GetTimestamp();
                if (next is not null)
                    engine.Switch(next);
                else
                    engine.Exchange(to.Placements);
                next = null;
                paused = System.Diagnostics.Stopwatch.GetElapsedTime(began);
            }, keeps).ConfigureAwait(false);
        }
        finally
        {
            next?.Dispose();
        }
        return paused;
    }

    private DeviceChange Noted(DeviceChange change) => change with
    {
        Adopted = () =>
        {
            Placements = change.Placements;
            change.Adopted?.Invoke();
        },
    };

    /// <summary>Told of each pass, on the engine's thread.</summary>
    internal event Action<PassReport>? PassCompleted
    {
        add => _batcher.PassCompleted += value;
        remove => _batcher.PassCompleted -= value;
    }

    /// <summary>Runs <paramref name="action"/> on the engine's thread, between two passes.</summary>
    internal Task<T> InvokeAsync<T>(Func<IEngine, T> action) => _batcher.InvokeAsync(action);

    event Action<PassReport>? IPassSource.PassCompleted
    {
        add => PassCompleted += value;
        remove => PassCompleted -= value;
    }

    Task<T> IPassSource.BetweenPassesAsync<T>(Func<T> action) => InvokeAsync(_ => action());

    private static ModelInfo Describe(GgufFile file, EngineChoice engine)
    {
        if (engine == EngineChoice.Libllama)
            return new WholeModel(file);
        try
        {
            return ModelDescription.Read(file);
        }
        catch (UnsupportedModelException) when (engine == EngineChoice.Auto)
        {
            return new WholeModel(file);
        }
    }

    // libllama refuses such a model too; a token that only one of the two knows would end the process.
    internal static void RequireSameVocabulary(ModelInfo model, Tokenizer tokenizer)
    {
        if (tokenizer.Count != model.VocabularySize)
            throw new ErgonException($"{model.File.Path}: the tokenizer has {tokenizer.Count} tokens, but the model {(model is ModelDescription { IsEncoder: true } ? "embeds" : "gives logits for")} {model.VocabularySize}; the file is damaged, download it again.");
    }

    internal static int Ranged(string setting, int value, int min, int max) => value >= min && value <= max ? value
        : throw new ErgonException($"{setting} is {value}, but must be {min} to {max}.");

    // A token reads every weight once, and all threads meet after each of some 20 operations a layer. Below
    // this share of the weights a further thread spends more on the meetings than it saves, and on a busy
    // machine the others wait for the one that lost its core.
    internal static int DefaultThreads(ModelInfo d) => (int)Math.Clamp(d.WeightBytes / WeightBytesPerThread, 1, CpuTopology.PhysicalCores());

    // Each device once, however many runs of stages it has; of others than the CPU one thread drives all.
    private static int ThreadsOf(IReadOnlyList<Placement> placements) => placements.Count == 1 ? placements[0].Threads
        : Math.Max(1, placements.Where((p, i) => p.Device.Kind == NativeDeviceKind.Cpu && !placements.Take(i).Any(p.IsOnSameDevice)).Sum(p => p.Threads));

    private static long WeightBytes(ModelInfo d, StageRange stages) =>
        d is ModelDescription model && !(stages.BeginsModel && stages.EndsModel) ? model.Weights.Where(w => stages.Contains(w)).Sum(w => model.File.FindTensor(w.TensorName)!.Bytes) : d.WeightBytes;

    // The largest intermediate results of a full pass.
    private static long IntermediateBytes(ModelInfo d) => (long)sizeof(float) * Inference.Engine.MaxRows * d.RowValues;

    // The native libraries' messages; no logger leaves them as they are.
    internal static void LogTo(ILogger? logger)
    {
        if (logger is not null)
            NativeLibraries.Log = (level, text) => Forward(logger, level, text);
    }

    private static void Forward(ILogger logger, NativeLogLevel level, string text)
    {
        // What the libraries call information is their own progress, of no interest to Ergon's users.
        var mapped = level switch
        {
            NativeLogLevel.Error => LogLevel.Error,
            NativeLogLevel.Warning => LogLevel.Warning,
            NativeLogLevel.Information => LogLevel.Debug,
            _ => LogLevel.Trace,
        };
        if (logger.IsEnabled(mapped))
            NativeMessage(logger, mapped, text);
    }

    [LoggerMessage(Message = "{Text}")]
    private static partial void NativeMessage(ILogger logger, LogLevel level, string text);

    /// <summary>Told before the model is freed.</summary>
    internal event Action? Disposing;

    /// <summary>Ends all sessions and frees the model. Waits for the pass that is running.</summary>
    public void Dispose()
    {
        Disposing?.Invoke();
        _batcher.Dispose();
        Tokenizer.Dispose();
    }
}
