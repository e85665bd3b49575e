using System.CommandLine;
using System.Globalization;
using Ergon.Cli.Commands;
using Ergon.Inference;
using Ergon.Models;
using Ergon.Models.Store;
using Ergon.Planning;
using Ergon.Runtime;
using Ergon.Runtime.Plans;

namespace Ergon.Cli;

/// <summary>The options that say how a model is loaded, shared by all verbs that load one.</summary>
internal sealed class EngineSettings
{
    public Option<int?> Context { get; } = Settings.Whole("--ctx", "-c", "Positions of the context [default: the model's, at most 8192 and what memory holds]", 1, 1 << 24);

    public Option<int?> Threads { get; } = Settings.Whole("--threads", "-t", "CPU threads [default: one per physical core, fewer for a small model]", 1, 512);

    public Option<string?> Device { get; } = Settings.Text("--device", "NAME", "Device to run on; 'ergon devices' lists them [default: the fastest that holds the model]");

    public Option<KvCacheType?> CacheType { get; } = Settings.Choice<KvCacheType>("--kv-type", "How keys and values are stored [default: f16; f32 where heads are shorter than 64 values and the processor has AVX-512]");

    public Option<EngineChoice?> Engine { get; } = Settings.Choice<EngineChoice>("--engine", "What computes the model: Ergon's own graph, or libllama as a whole [default: auto, Ergon where it describes the model]");

    public Option<string?> Plan { get; } = Settings.Text("--plan", "auto|FILE", "What runs on which device: searched for (auto), or of a file of 'ergon plan --json'; changes with the devices, heat, the power supply and the load");

    public Option<string?> Devices { get; } = Settings.Text("--devices", "LIST", "With --plan: the devices to use, such as CPU,Vulkan0 or CPU:0-3,CPU:4-7 [default: those of the file; all here]");

    public Option<PlanPolicy?> Objective { get; } = Settings.Choice<PlanPolicy>("--objective", "With --plan: what it is best in [default: energy]");

    /// <summary>Adds the options of a verb that can run a model by a plan.</summary>
    public void AddWithPlanTo(Command command)
    {
        AddTo(command);
        command.Options.Add(Plan);
        command.Options.Add(Devices);
        command.Options.Add(Objective);
    }

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
            KvType = parsed.GetValue(CacheType),
            MaxSequences = sessions,
        };
        var loaded = parsed.GetResult(Plan) is not null || parsed.GetResult(Devices) is not null || parsed.GetResult(Objective) is not null ? Planned(parsed, terminal, path, options, monitor, cancellation)
            : monitor?.Load(() => ErgonModel.Load(path, options, cancellation)) ?? ErgonModel.Load(path, options, cancellation);
        if (engine == EngineChoice.Auto && loaded.Engine == EngineChoice.Libllama)
            terminal.Error.WriteLine($"ergon: {What(loaded.Description.ArchitectureName)} is run by libllama as a whole: metered, not cuttable (--engine ergon refuses instead).");
        terminal.Error.WriteLine(string.Create(CultureInfo.InvariantCulture,
            $"{Path.GetFileNameWithoutExtension(path)} on {string.Join(", ", loaded.Devices)}, {Amount.Count(loaded.Threads, "thread")}, context {loaded.ContextLength}, loaded in {loaded.LoadTime.TotalMilliseconds:F0} ms"));
        return loaded;
    }

    // The model itself ends what watches over its plan.
    private ErgonModel Planned(ParseResult parsed, Terminal terminal, string path, ModelOptions options, EnergyMonitor? monitor, CancellationToken cancellation)
    {
        if (parsed.GetValue(Plan) is not { Length: > 0 } plan)
            throw new ErgonException($"{(parsed.GetResult(Devices) is not null ? "--devices" : "--objective")} is for plans; add --plan auto, or leave it out (--device chooses one device).");
        if (options.Engine == EngineChoice.Libllama)
            throw new ErgonException("--engine is libllama, which runs a model on one device as a whole; leave --plan out, or use --engine ergon.");
        var planned = PlannedModel.Load(path, options, new PlanOptions
        {
            File = plan.Equals("auto", StringComparison.OrdinalIgnoreCase) ? null : plan,
            Devices = parsed.GetValue(Devices),
            Objective = parsed.GetValue(Objective) ?? PlanPolicy.Energy,
        }, monitor, cancellation);
        planned.Changed += what => terminal.Error.WriteLine($"ergon: {what}");
        terminal.Error.WriteLine($"plan: {PlannedModel.Describe(planned.Current)}");
        return planned.Model;
    }

    /// <summary>An engine as <c>--engine</c> and JSON name it.</summary>
    public static string NameOf(EngineChoice engine) => engine.ToString().ToLowerInvariant();

    // The same architecture may have what the graph does not describe, such as experts.
    private static string What(string architecture) => Architecture.Find(architecture) is null ? $"architecture '{architecture}'" : $"this variant of '{architecture}'";
}
