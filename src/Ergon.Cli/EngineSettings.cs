using System.CommandLine;
using System.Globalization;
using Ergon.Cli.Commands;
using Ergon.Inference;
using Ergon.Models;
using Ergon.Models.Store;
using Ergon.Runtime;

namespace Ergon.Cli;

/// <summary>The options that say how a model is loaded, shared by all verbs that load one.</summary>
internal sealed class EngineSettings
{
    public Option<int?> Context { get; } = Settings.Whole("--ctx", "-c", "Positions of the context [default: the model's, at most 8192 and what memory holds]", 1, 1 << 24);

    public Option<int?> Threads { get; } = Settings.Whole("--threads", "-t", "CPU threads [default: one per physical core, fewer for a small model]", 1, 512);

    public Option<string?> Device { get; } = Settings.Text("--device", "NAME", "Device to run on; 'ergon devices' lists them [default: the fastest that holds the model]");

    public Option<KvCacheType?> CacheType { get; } = Settings.Choice<KvCacheType>("--kv-type", "How keys and values are stored [default: f16]");

    public Option<EngineChoice?> Engine { get; } = Settings.Choice<EngineChoice>("--engine", "What computes the model: Ergon's own graph, or libllama as a whole [default: auto, Ergon where it describes the model]");

    public void AddTo(Command command)
    {
        command.Options.Add(Engine);
        command.Options.Add(Context);
        command.Options.Add(Threads);
        command.Options.Add(Device);
        command.Options.Add(CacheType);
    }

    /// <summary>Loads a model and says on stderr what runs where.</summary>
    /// <param name="parsed">The command line.</param>
    /// <param name="terminal">Hears what was chosen.</param>
    /// <param name="model">A MODEL argument; null for the embedded one.</param>
    /// <param name="sessions">Sessions at once.</param>
    /// <param name="defaultContext">Positions where the line gives none; null leaves it to the engine.</param>
    /// <param name="cancellation">Stops loading.</param>
    /// <param name="monitor">Meters it.</param>
    public ErgonModel Load(ParseResult parsed, Terminal terminal, string? model, int sessions, int? defaultContext, CancellationToken cancellation, EnergyMonitor? monitor = null)
    {
        var path = ModelStore.OfUser().Resolve(model ?? ModelStore.DefaultModel);
        var engine = parsed.GetValue(Engine) ?? EngineChoice.Auto;
        var options = new ModelOptions
        {
            Engine = engine,
            TrialCommand = TrialCommand.Line(),
            ContextLength = parsed.GetValue(Context) ?? defaultContext,
            Threads = parsed.GetValue(Threads),
            Device = parsed.GetValue(Device),
            KvType = parsed.GetValue(CacheType) ?? KvCacheType.F16,
            MaxSequences = sessions,
        };
        var loaded = monitor?.Load(() => ErgonModel.Load(path, options, cancellation)) ?? ErgonModel.Load(path, options, cancellation);
        if (engine == EngineChoice.Auto && loaded.Engine == EngineChoice.Libllama)
            terminal.Error.WriteLine($"ergon: {What(loaded.Description.ArchitectureName)} is run by libllama as a whole: metered, not cuttable (--engine ergon refuses instead).");
        terminal.Error.WriteLine(string.Create(CultureInfo.InvariantCulture,
            $"{Path.GetFileNameWithoutExtension(path)} on {string.Join(", ", loaded.Devices)}, {Amount.Count(loaded.Threads, "thread")}, context {loaded.ContextLength}, loaded in {loaded.LoadTime.TotalMilliseconds:F0} ms"));
        return loaded;
    }

    /// <summary>An engine as <c>--engine</c> and JSON name it.</summary>
    public static string NameOf(EngineChoice engine) => engine.ToString().ToLowerInvariant();

    // The same architecture may have what the graph does not describe, such as experts.
    private static string What(string architecture) => Architecture.Find(architecture) is null ? $"architecture '{architecture}'" : $"this variant of '{architecture}'";
}
