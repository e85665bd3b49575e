using System.Globalization;
using Ergon.Cost;
using Ergon.Devices;
using Ergon.Devices.Profiles;
using Ergon.Inference;
using Ergon.Models;
using Ergon.Models.Gguf;
using Ergon.Native.Nvidia;
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
    private readonly int? _context;
    private readonly Lock _gate = new();
    private IReadOnlyList<LocalDevice> _placed = []; // by placement
    private ITimer? _timer;
    private ErgonModel _model = null!;
    private int _checking;
    private int _sequences; // that the plan is for
    private long _moved;

    internal PlannedModel(ModelDescription description, IReadOnlyList<LocalDevice> devices, ModelOptions options, PlanOptions plan, ConditionWatch? watch = null, TimeProvider? time = null)
    {
        time ??= TimeProvider.System;
        watch ??= new ConditionWatch(new SystemFiles(), () => Temperatures.Read(new SystemFiles(), Nvml.OfMachine.Library), time);
        (_description, _outline, _devices, _options, _watch, _time) = (description, ModelOutline.Of(description), devices, plan, watch, time);
        (_context, CacheType, _moved) = (options.ContextLength, options.CacheType, time.GetTimestamp());
        Residuals = new Residuals(_outline, options.CacheType);
        _sequences = 1;
        Current = plan.Plan ?? Chosen(Search(devices, plan.Objective, _sequences), devices);
        foreach (var name in Current.Devices.Where(n => devices.All(d => d.Name != n)))
            throw new ErgonException($"The plan runs a part of the model on {name}, which is not among the devices {string.Join(", ", devices.Select(d => d.Name))}; name it in --devices, or make a plan without it.");
    }

    /// <summary>The model.</summary>
    public ErgonModel Model => _model;

    /// <summary>What runs where at present.</summary>
    internal ExecutionPlan Current { get; private set; }

    /// <summary>What devices take beyond their profiles.</summary>
    internal Residuals Residuals { get; }

    /// <summary>Told, in a sentence, of each change of the plan, and of changes that were needed and could not be.</summary>
    public event Action<string>? Changed;

    private Native.GgmlType CacheType { get; }

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
        var placements = Placed(Current);
        options = options with { Engine = EngineChoice.Ergon, Placements = placements, TiersArePhases = Current.HasPhases, Threads = null };
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
            if (must is null && (conditions.Sequences == 0 || _time.GetElapsedTime(_moved) < _options.Rest))
                return false;
            var usable = _devices.Where(d => !conditions.Unusable.ContainsKey(d.Name)).ToList();
            var objective = conditions.OnBattery ? _options.ObjectiveOnBattery ?? _options.Objective : _options.Objective;
            // One more sequence is no other load; twice as many are.
            if (conditions.Sequences >= 2 * _sequences || (conditions.Sequences > 0 && 2 * conditions.Sequences <= _sequences))
                _sequences = conditions.Sequences;
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
            var (now, then) = (Value(problem, Current, objective), Planner.Value(outcome.Chosen.Score, objective));
            if (must is null && now is { } value && then > value * (1 - _options.LeastGain))
                return false;
            var paused = await MoveAsync(next, problem).ConfigureAwait(false);
            var why = must is not null ? $"{must} is left, because {conditions.Unusable[must]}" : now is null ? "a limit is kept again" : Text($"{100 * (1 - (then / now.Value)):F0} % better in {Name(objective)}");
            Say(Text($"the model moved to {Describe(next)}: {why}; passes paused for {paused.TotalMilliseconds:F0} ms"));
            return true;
        }
        catch (ObjectDisposedException)
        {
            return false;
        }
        catch (ErgonException e)
        {
            Say($"the plan could not change: {e.Message}");
            return false;
        }
        finally
        {
            Volatile.Write(ref _checking, 0);
        }
    }

    /// <summary>Moves the model to a plan, with its sessions.</summary>
    /// <returns>For how long no pass could run.</returns>
    internal async Task<TimeSpan> MoveAsync(ExecutionPlan next, PlanProblem problem)
    {
        var placements = next.Placements(_description, Device);
        var paused = await _model.MoveAsync(placements, next.HasPhases, MoveCost.Of(problem, _outline, CacheType).Keeps).ConfigureAwait(false);
        lock (_gate)
            Adopt(next);
        return paused;
    }

    /// <summary>Searches plans for some devices, as what was learned of them says.</summary>
    /// <param name="devices">The devices.</param>
    /// <param name="objective">What the plan is to be best in.</param>
    /// <param name="sequences">Generations at a time.</param>
    internal (PlanProblem Problem, PlanOutcome Outcome) Search(IReadOnlyList<LocalDevice> devices, PlanPolicy objective, int sequences)
    {
        var together = Of(sequences, 1);
        if (sequences < 2 || devices.Count < 2)
            return together;
        // Half of them while the other half is on other devices.
        var apart = Of((sequences + 1) / 2, 2);
        return apart.Outcome.Chosen is { } a && (together.Outcome.Chosen is not { } t || Planner.Value(a.Score, objective) < Planner.Value(t.Score, objective)) ? apart : together;

        (PlanProblem Problem, PlanOutcome Outcome) Of(int batch, int inFlight)
        {
            var workload = new Workload { Prompt = _options.Prompt, Tokens = _options.Tokens, Batch = batch, InFlight = inFlight, CacheType = CacheType, Context = _context is { } c && c >= _options.Prompt + _options.Tokens ? c : null };
            var problem = new PlanProblem(_outline, [.. devices.Select(d => _options.Learns ? Residuals.Corrected(d) : d.Profile)], workload, _options.Limits);
            return (problem, Planner.Plan(problem, objective, new SearchOptions { Budget = _options.SearchBudget }));
        }
    }

    private ExecutionPlan Chosen((PlanProblem Problem, PlanOutcome Outcome) searched, IReadOnlyList<LocalDevice> devices) => searched.Outcome.Chosen is { } chosen
        ? ExecutionPlan.Of(searched.Problem, ExecutionPlan.Runnable(searched.Problem, chosen), _description.File.Fingerprint())
        : throw new ErgonException($"{searched.Outcome.Reason.TrimEnd('.')}; raise that limit, name more devices than {string.Join(", ", devices.Select(d => d.Name))}, or take a smaller model.");

    // What a plan is worth in a problem; null where it passes a limit, or has devices that the problem has not.
    private static double? Value(PlanProblem problem, ExecutionPlan plan, PlanPolicy objective)
    {
        if (plan.GenesIn(problem) is not { } genes)
            return null;
        var state = new PlanState(problem);
        state.Load(genes);
        return state.Evaluate() is { Binding: null } found ? Planner.Value(found.Score, objective) : null;
    }

    private IReadOnlyList<Placement> Placed(ExecutionPlan plan)
    {
        var placements = plan.Placements(_description, Device);
        Adopt(plan);
        return placements;
    }

    private void Adopt(ExecutionPlan plan)
    {
        // In the order of the placements.
        _placed = [.. plan.Placements(_description, Device).Select(p => _devices.First(d => d.Native.Name == p.Device.Name && (d.Cpus ?? []).SequenceEqual(p.Cpus ?? [])))];
        (Current, _moved) = (plan, _time.GetTimestamp());
    }

    /// <summary>The name of the device of a placement.</summary>
    internal string DeviceAt(int placement) => _placed[placement].Name;

    /// <summary>What a device takes beyond its profile.</summary>
    internal Residual ResidualOf(string device) => Residuals.Of(Device(device));

    private LocalDevice Device(string name) => _devices.First(d => d.Name == name);

    // On the engine's thread, while everybody waits.
    private IReadOnlyList<Placement>? Lost(Placement placement, Exception error)
    {
        var lost = _devices.First(d => d.Native.Name == placement.Device.Name && (d.Cpus ?? []).SequenceEqual(placement.Cpus ?? []));
        _watch.Lose(lost.Name, $"it failed: {error.Message}");
        var usable = _devices.Where(d => !_watch.Read(_devices).Unusable.ContainsKey(d.Name)).ToList();
        if (usable.Count == 0)
            return null;
        var searched = Search(usable, _options.Objective, _sequences);
        if (searched.Outcome.Chosen is null)
        {
            Say($"{lost.Name} failed, and {searched.Outcome.Reason}");
            return null;
        }
        var next = Chosen(searched, usable);
        lock (_gate)
        {
            var placements = Placed(next);
            Say($"the model goes on with {Describe(next)}, because {lost.Name} failed: {error.Message}");
            return placements;
        }
    }

    private void Note(PassReport pass)
    {
        _watch.Note(pass);
        Residuals.Note(pass, _placed);
    }

    private void Say(string what) => Changed?.Invoke(what);

    /// <summary>A plan in a few words.</summary>
    internal static string Describe(ExecutionPlan plan) => string.Join(", ", plan.Runs.GroupBy(r => r.Phase).Select(g => (plan.HasPhases ? $"{g.Key} " : "", Runs: string.Join(", ", g.Select(r => $"{r.From}-{r.To} on {r.Device}")))).Select(p => p.Item1 + p.Runs).Distinct());

    private static string Name(PlanPolicy policy) => policy switch { PlanPolicy.Energy => "energy", PlanPolicy.Latency => "latency", PlanPolicy.Edp => "energy times latency", _ => "the balance of energy and latency" };

    private static string Text(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);

    private void Stop()
    {
        _timer?.Dispose();
        _model.PassCompleted -= Note;
    }

    /// <summary>Ends all sessions and frees the model.</summary>
    public void Dispose() => _model.Dispose();
}
