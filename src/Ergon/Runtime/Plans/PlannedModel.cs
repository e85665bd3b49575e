using System.Globalization;
using Ergon.Cost;
using Ergon.Devices;
using Ergon.Devices.Profiles;
using Ergon.Inference;
using Ergon.Models;
using Ergon.Models.Gguf;
using Ergon.Native.Nvidia;
using Ergon.Native.Tensors;
using Ergon.Planning;

namespace Ergon.Runtime.Plans;

/// <summary>
/// A model on the devices that a plan says. Where something changes that the plan depends on (a device is lost or comes back, is too hot,
/// the power supply, the load, what devices really take) it plans anew and moves the model under its live sessions, if that is worth it.
/// </summary>
/// <example><code>
/// using var planned = PlannedModel.Load("model.gguf", plan: new PlanOptions { Devices = "CPU,Vulkan0", Objective = PlanPolicy.Balanced });
/// using var session = planned.Model.CreateSession();
/// await foreach (var token in session.GenerateAsync(prompt)) { }
/// </code></example>
public sealed class PlannedModel : IDisposable
{
    private static readonly TimeSpan Interval = TimeSpan.FromSeconds(1);

    private readonly ModelDescription _description;
    private readonly ModelOutline _outline;
    private readonly IReadOnlyList<LocalDevice> _devices;
    private readonly PlanOptions _options;
    private readonly ConditionWatch _watch;
    private readonly TimeProvider _time;
    private readonly KvCacheType _cacheType;
    private readonly byte[] _fingerprint;
    private readonly long _cells; // that all sequences have together
    private readonly CancellationTokenSource _stop = new();
    private ITimer? _timer;
    private ErgonModel? _model;
    private int _checking;
    private int _sequences = 1; // that the plan is for
    private Running _running;
    private TimeSpan _rest;
    private Cause? _searched; // what the last search was for
    private string? _said;
    private Task _told = Task.CompletedTask;

    // What runs, since when, and the device of each placement.
    private sealed record Running(ExecutionPlan Plan, IReadOnlyList<Placement> Placements, IReadOnlyList<LocalDevice> Placed, long Since);

    // What a search depends on.
    private sealed record Cause(string Unusable, PlanPolicy Objective, int Sequences, IReadOnlyList<Residual> Residuals)
    {
        // Residuals move a little all the time.
        public bool IsLike(Cause other) => Unusable == other.Unusable && Objective == other.Objective && Sequences == other.Sequences
            && Residuals.Zip(other.Residuals).All(r => IsNear(r.First.Few, r.Second.Few) && IsNear(r.First.Many, r.Second.Many));

        private static bool IsNear(double a, double b) => Math.Max(a, b) < 1.15 * Math.Min(a, b);
    }

    internal PlannedModel(ModelDescription description, IReadOnlyList<LocalDevice> devices, ModelOptions options, PlanOptions plan, ConditionWatch? watch = null, TimeProvider? time = null)
    {
        time ??= TimeProvider.System;
        watch ??= new ConditionWatch(new SystemFiles(), () => Temperatures.Read(new SystemFiles(), Nvml.OfMachine.Library), time);
        (_description, _outline, _devices, _options, _watch, _time) = (description, ModelOutline.Of(description), devices, plan, watch, time);
        (_cacheType, _rest, _fingerprint) = (options.KvType ?? KvCacheTypes.Default(description, devices.All(d => d.Native.Kind == NativeDeviceKind.Cpu)), plan.Rest, description.File.Fingerprint());
        // As the model is loaded, unless memory is short.
        _cells = options.CacheLength ?? ((long)(options.ContextLength ?? Math.Min(description.TrainingContext, ErgonModel.DefaultContext)) * options.MaxSequences);
        Residuals = new Residuals(_outline, _cacheType.Storage());
        var first = plan.Plan ?? Chosen(Search(devices, plan.Objective, _sequences), devices);
        foreach (var name in first.Devices.Where(n => devices.All(d => d.Name != n)))
            throw new ErgonException($"The plan runs a part of the model on {name}, which is not among the devices {string.Join(", ", devices.Select(d => d.Name))}; name it in --devices, or make a plan without it.");
        _running = Of(first);
    }

    /// <summary>The model.</summary>
    public ErgonModel Model => _model ?? throw new InvalidOperationException("The model is not loaded.");

    /// <summary>What runs where at present.</summary>
    internal ExecutionPlan Current => _running.Plan;

    /// <summary>What devices take beyond their profiles.</summary>
    internal Residuals Residuals { get; }

    /// <summary>Told, in a sentence, of each change of the plan, and of changes that were needed and could not be.</summary>
    public event Action<string>? Changed;

    /// <summary>Plans for a model and loads it.</summary>
    /// <param name="path">The file, or the first of its parts.</param>
    /// <param name="options">How it is loaded; devices and threads are the plan's, but for <see cref="ModelOptions.Threads"/> of the whole CPU.</param>
    /// <param name="plan">How it is placed; <see langword="null"/> for the defaults.</param>
    /// <param name="monitor">Meters it.</param>
    /// <param name="cancellation">Stops loading.</param>
    /// <exception cref="ErgonException">There is no such model, device or plan, or no plan keeps the limits: which one, and by how much it is passed.</exception>
    public static PlannedModel Load(string path, ModelOptions? options = null, PlanOptions? plan = null, EnergyMonitor? monitor = null, CancellationToken cancellation = default)
    {
        (options, plan) = (options ?? new(), plan ?? new());
        if (options.Device is not null)
            throw new ErgonException($"device is '{options.Device}', but the plan says what runs where; use either.");
        var description = Describe(path);
        plan = plan with { Plan = plan.Plan ?? (plan.File is { } file ? ExecutionPlan.Read(file) : null) };
        var names = plan.Devices ?? (plan.Plan is { } own ? string.Join(',', own.Devices) : LocalDevice.Every);
        var devices = LocalDevice.Named(names, options.Threads ?? ErgonModel.DefaultThreads(description), CalibrationStore.OfUser(), new SystemFiles());
        var planned = new PlannedModel(description, devices, options, plan);
        planned.Run(path, options, monitor, cancellation);
        return planned;
    }

    /// <summary>The description of a model that can be cut.</summary>
    /// <exception cref="ErgonException">It is no such model.</exception>
    internal static ModelDescription Describe(string path)
    {
        try
        {
            return ModelDescription.Read(GgufFile.Open(path));
        }
        catch (UnsupportedModelException e)
        {
            throw new ErgonException($"{e.Message.TrimEnd('.')}; libllama can run it as a whole, without a plan.", e);
        }
    }

    /// <summary>Loads the model as the plan says.</summary>
    internal void Run(string path, ModelOptions options, EnergyMonitor? monitor, CancellationToken cancellation)
    {
        options = options with { Engine = EngineChoice.Ergon, Placements = _running.Placements, TiersArePhases = Current.HasPhases, Threads = null, KvType = _cacheType };
        _model = monitor?.Load(() => ErgonModel.Load(path, options, cancellation)) ?? ErgonModel.Load(path, options, cancellation);
        _model.PassCompleted += Note;
        _model.Disposing += Stop;
        if (!_options.Replans)
            return;
        _model.OnDeviceLost(Lost);
        _timer = _time.CreateTimer(_ => _ = CheckAsync(), null, Interval, Interval);
    }

    /// <summary>Looks whether something has changed, plans anew where it has, and moves the model where that is worth it; happens by itself once a second.</summary>
    /// <returns>Whether the model moved.</returns>
    internal async Task<bool> CheckAsync()
    {
        if (Interlocked.Exchange(ref _checking, 1) != 0)
            return false;
        try
        {
            var conditions = _watch.Read(_devices);
            var must = Current.Devices.FirstOrDefault(conditions.Unusable.ContainsKey);
            if (_time.GetElapsedTime(_running.Since) < (must is not null && _rest == _options.Rest ? TimeSpan.Zero : _rest) || (must is null && conditions.Sequences == 0))
                return false;
            // One more sequence is no other load; twice as many are.
            if (conditions.Sequences >= 2 * _sequences || (conditions.Sequences > 0 && 2 * conditions.Sequences <= _sequences))
                _sequences = conditions.Sequences;
            var objective = conditions.OnBattery ? _options.ObjectiveOnBattery ?? _options.Objective : _options.Objective;
            var cause = new Cause(string.Join(',', conditions.Unusable.Keys.Order(StringComparer.Ordinal)), objective, _sequences, [.. _devices.Select(d => _options.Learns ? Residuals.Of(d) : new Residual(1, 1))]);
            if (_searched is { } last && cause.IsLike(last))
                return false;
            _searched = cause;
            return await ReplanAsync(conditions, must, objective).ConfigureAwait(false);
        }
        catch (Exception e) when (e is ObjectDisposedException or OperationCanceledException)
        {
            return false;
        }
#pragma warning disable CA1031 // nobody waits for the timer's task; the model runs on as it is
        catch (Exception e)
#pragma warning restore CA1031
        {
            // Not at once again: it may have cost a load.
            _rest *= 2;
            _running = _running with { Since = _time.GetTimestamp() };
            _searched = null;
            Say($"the plan could not change: {e.Message}");
            return false;
        }
        finally
        {
            Volatile.Write(ref _checking, 0);
        }
    }

    private async Task<bool> ReplanAsync(PlanConditions conditions, string? must, PlanPolicy objective)
    {
        var usable = _devices.Where(d => !conditions.Unusable.ContainsKey(d.Name)).ToList();
        if (usable.Count == 0)
        {
            Say($"{must} should be left, because {conditions.Unusable[must!]}, but there is no other device");
            return false;
        }
        var (problem, outcome) = Search(usable, objective, _sequences);
        if (outcome.Chosen is null)
        {
            Say($"{(must is null ? "another plan was looked for" : $"{must} should be left, because {conditions.Unusable[must]}")}, but {outcome.Reason}");
            return false;
        }
        var next = Chosen((problem, outcome), usable);
        if (next.Runs.SequenceEqual(Current.Runs))
            return false;
        var (now, then) = (Value(usable, Current, objective), Planner.Value(outcome.Chosen.Score, objective));
        if (must is null && now is { } value && then > value * (1 - _options.LeastGain))
            return false;
        var paused = await MoveAsync(next, problem).ConfigureAwait(false);
        var why = must is not null ? $"{must} is left, because {conditions.Unusable[must]}" : now is null ? "a limit is kept again" : Text($"{100 * (1 - (then / now.Value)):F0} % better in {Name(objective)}");
        Say(Text($"the model moved to {Describe(next)}: {why}; passes paused for {paused.TotalMilliseconds:F0} ms"));
        return true;
    }

    /// <summary>Moves the model to a plan, with its sessions.</summary>
    /// <returns>For how long no pass could run.</returns>
    internal Task<TimeSpan> MoveAsync(ExecutionPlan next, PlanProblem problem) => Model.MoveAsync(Change(next), MoveCost.Of(problem, _outline, _cacheType.Storage()).Keeps, _stop.Token);

    /// <summary>Searches plans for some devices, as what was learned of them says.</summary>
    /// <param name="devices">The devices.</param>
    /// <param name="objective">What the plan is to be best in.</param>
    /// <param name="sequences">Generations at a time.</param>
    internal (PlanProblem Problem, PlanOutcome Outcome) Search(IReadOnlyList<LocalDevice> devices, PlanPolicy objective, int sequences)
    {
        // Half of them while the other half is on other devices, or all together.
        var inFlight = sequences > 1 && devices.Count > 1 ? 2 : 1;
        return Planner.PlanTogetherOrApart(Problem(devices, (sequences + inFlight - 1) / inFlight, inFlight), objective, ExecutionPlan.Runnable, new SearchOptions { Budget = _options.SearchBudget });
    }

    private PlanProblem Problem(IReadOnlyList<LocalDevice> devices, int batch, int inFlight)
    {
        var tokens = _options.Prompt + _options.Tokens;
        // The cache is as large as it was loaded, whoever uses it.
        var workload = new Workload
        {
            Prompt = _options.Prompt, Tokens = _options.Tokens, Batch = batch, InFlight = inFlight, CacheType = _cacheType.Storage(), Context = (int)Math.Clamp(_cells / (batch * inFlight), tokens, int.MaxValue),
        };
        return new PlanProblem(_outline, [.. devices.Select(d => _options.Learns ? Residuals.Corrected(d) : d.Profile)], workload, _options.Limits);
    }

    private ExecutionPlan Chosen((PlanProblem Problem, PlanOutcome Outcome) searched, IReadOnlyList<LocalDevice> devices) => searched.Outcome.Chosen is { } chosen
        ? ExecutionPlan.Of(searched.Problem, chosen, _fingerprint)
        : throw new ErgonException($"{searched.Outcome.Reason.TrimEnd('.')}; raise that limit, name more devices than {string.Join(", ", devices.Select(d => d.Name))}, or take a smaller model.");

    // What a plan is worth with the present load, in as many passes as suit it; null where it passes a limit, or has other devices.
    private double? Value(IReadOnlyList<LocalDevice> devices, ExecutionPlan plan, PlanPolicy objective)
    {
        var best = double.PositiveInfinity;
        for (var inFlight = 1; inFlight <= Math.Min(_sequences, plan.Devices.Count() > 1 ? 2 : 1); inFlight++)
        {
            var problem = Problem(devices, (_sequences + inFlight - 1) / inFlight, inFlight);
            if (plan.GenesIn(problem) is not { } genes)
                return null;
            var state = new PlanState(problem);
            state.Load(genes);
            if (state.Evaluate() is { Binding: null } found)
                best = Math.Min(best, Planner.Value(found.Score, objective));
        }
        return double.IsFinite(best) ? best : null;
    }

    private Running Of(ExecutionPlan plan)
    {
        var placements = plan.Placements(_description, Device, _fingerprint);
        return new(plan, placements, [.. placements.Select(OfPlacement)], _time.GetTimestamp());
    }

    private LocalDevice OfPlacement(Placement placement) => _devices.First(d => d.Native.Name == placement.Device.Name && (d.Cpus ?? []).SequenceEqual(placement.Cpus ?? []));

    private DeviceChange Change(ExecutionPlan next)
    {
        var running = Of(next);
        return new(running.Placements, next.HasPhases, Adopted: () => (_running, _rest) = (running with { Since = _time.GetTimestamp() }, _options.Rest));
    }

    // On the engine's thread, while everybody waits.
    private DeviceChange? Lost(Placement placement, Exception error)
    {
        var lost = OfPlacement(placement);
        _watch.Lose(lost.Name, $"it failed: {error.Message}");
        var unusable = _watch.Read(_devices).Unusable;
        var usable = _devices.Where(d => !unusable.ContainsKey(d.Name)).ToList();
        var searched = usable.Count > 0 ? Search(usable, _options.Objective, _sequences) : default;
        if (searched.Outcome?.Chosen is null)
        {
            Say($"{lost.Name} failed, and {searched.Outcome?.Reason ?? "there is no other device"}: {error.Message}");
            return null;
        }
        var next = Chosen(searched, usable);
        var change = Change(next);
        return change with
        {
            Adopted = () =>
            {
                change.Adopted!();
                Say($"the model goes on with {Describe(next)}, because {lost.Name} failed: {error.Message}");
            },
        };
    }

    /// <summary>The name of the device of a placement.</summary>
    internal string DeviceAt(int placement) => _running.Placed[placement].Name;

    /// <summary>What a device takes beyond its profile.</summary>
    internal Residual ResidualOf(string device) => Residuals.Of(Device(device));

    private LocalDevice Device(string name) => _devices.First(d => d.Name == name);

    private void Note(PassReport pass)
    {
        _watch.Note(pass);
        Residuals.Note(pass, _running.Placed);
    }

    // Each thing once; not on the engine's thread, which whoever is told may need.
    private void Say(string what)
    {
        if (Interlocked.Exchange(ref _said, what) != what && Changed is { } changed)
            _told = _told.ContinueWith(_ => changed(what), CancellationToken.None, TaskContinuationOptions.None, TaskScheduler.Default);
    }

    /// <summary>Done when all that was said was heard.</summary>
    internal Task Told => _told;

    /// <summary>A plan in a few words.</summary>
    internal static string Describe(ExecutionPlan plan) => string.Join(", ", plan.Runs.GroupBy(r => r.Phase).Select(g => (plan.HasPhases ? $"{g.Key} " : "", Runs: string.Join(", ", g.Select(r => $"{r.From}-{r.To} on {r.Device}")))).Select(p => p.Item1 + p.Runs).Distinct());

    private static string Name(PlanPolicy policy) => policy switch { PlanPolicy.Energy => "energy", PlanPolicy.Latency => "latency", PlanPolicy.Edp => "energy times latency", _ => "the balance of energy and latency" };

    private static string Text(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);

    private void Stop()
    {
        _timer?.Dispose();
        _stop.Cancel();
        Model.PassCompleted -= Note;
    }

    /// <summary>Ends all sessions and frees the model.</summary>
    public void Dispose()
    {
        _model?.Dispose();
        _stop.Dispose();
    }
}
