using Ergon.Cost;
using Ergon.Devices;
using Ergon.Devices.Profiles;
using Ergon.Models;

namespace Ergon.Planning;

/// <summary>
/// Which device computes which unit of a model: everything that a search needs, computed once. A plan is one gene a place
/// (a device for each unit, first of prefill, then of decode) and one a device (its clock level). All numbers are of one
/// round: <see cref="Workload.Batch"/> requests together; SI units.
/// </summary>
internal sealed class PlanProblem
{
    /// <summary>Devices that fit a set of bits and a gene.</summary>
    public const int MaxDevices = 16;

    /// <summary>Resident on every device that computes anything, beside activations: contexts and kernels. An estimate; CUDA's own context takes 300 to 500 MB, a processor's less.</summary>
    public const double RuntimeBytes = 256e6;

    private readonly double[] _core, _launch, _dynamic; // [places, variants]
    private readonly int[] _firstVariant; // [devices]
    private readonly int _variants;

    /// <summary>Computes the tables.</summary>
    /// <exception cref="ErgonException">No device, too many, one twice, or a workload that cannot be.</exception>
    public PlanProblem(ModelOutline model, IReadOnlyList<DeviceProfile> devices, Workload workload, PlanLimits? limits = null, Granularity granularity = Granularity.HalfLayer)
    {
        if (devices.Count is 0 or > MaxDevices)
            throw new ErgonException($"A plan has {devices.Count} devices, but must have 1 to {MaxDevices}; name other devices.");
        if (devices.GroupBy(d => d.Name).FirstOrDefault(g => g.Count() > 1) is { } twice)
            throw new ErgonException($"The device '{twice.Key}' is named twice; leave one out.");
        (Model, Profiles, Workload, Limits, Granularity) = (model, devices, workload.Validated(), limits ?? new(), granularity);
        var phases = Passes(workload);
        (Phases, Units) = (phases.Length, granularity == Granularity.Layer ? model.Layers + 2 : (2 * model.Layers) + 2);
        Levels = [.. devices.Select(d => Math.Max(1, d.Clocks.Count))];
        _firstVariant = [.. Levels.Select((_, d) => Levels.Take(d).Sum())];
        _variants = Levels.Sum();
        (_core, _launch, _dynamic) = (new double[Places * _variants], new double[Places * _variants], new double[Places * _variants]);
        (SeamBytes, SeamCount) = (new double[Places], new double[Places]);
        FillCosts(phases);
        Heat = [.. devices.Select(d => HeatModel.Of(d) with { Limit = Math.Min(d.LimitTemperature.Value, Limits.MaxTemperature?.Value ?? double.MaxValue) })];
        Static = [.. devices.Select(d => d.StaticPower)];
        // The operating system runs on a processor, so that one stays on; any other device that computes nothing is off.
        AlwaysOn = [.. devices.Select(d => d.Kind == DeviceKind.Cpu)];
        Weight = [.. devices.Select(d => d.Peaks.Max(p => p.Flops.Value))];
        FillMemory();
        Links = new DeviceLink[devices.Count * devices.Count];
        for (var from = 0; from < devices.Count; from++)
        {
            for (var to = 0; to < devices.Count; to++)
            {
                // Whatever comes from elsewhere is a graph of its own.
                var link = DeviceLinks.Between(devices[from], devices[to]);
                Links[(from * devices.Count) + to] = from == to ? default : link with { Seam = link.Latency + Dispatch(to) };
            }
        }
    }

    public ModelOutline Model { get; }

    public IReadOnlyList<DeviceProfile> Profiles { get; }

    public Workload Workload { get; }

    public PlanLimits Limits { get; }

    public Granularity Granularity { get; }

    /// <summary>1: decode; 2: prefill, then decode.</summary>
    public int Phases { get; }

    /// <summary>Units of the model.</summary>
    public int Units { get; }

    public int Devices => Profiles.Count;

    /// <summary>Genes that name a device.</summary>
    public int Places => Phases * Units;

    /// <summary>Genes of a plan: places, then clock levels.</summary>
    public int Genes => Places + Devices;

    /// <summary>Clock levels of each device; the last is the one of the peaks.</summary>
    public int[] Levels { get; }

    /// <summary>Tokens of answers that a round gives.</summary>
    public double TokensPerRound => (double)Workload.Batch * Workload.Tokens;

    public HeatModel[] Heat { get; }

    /// <summary>Idle power without leakage, W.</summary>
    public double[] Static { get; }

    public bool[] AlwaysOn { get; }

    /// <summary>w: peak arithmetic.</summary>
    public double[] Weight { get; }

    /// <summary>Bytes that go into a place from the place before, where that is another device's; and in how many copies.</summary>
    public double[] SeamBytes { get; } // [places]

    public double[] SeamCount { get; } // [places]

    /// <summary>Keys and values of a unit after the prompt, which go to the device that decodes.</summary>
    public double[] HandoffBytes { get; private set; } = []; // [units]

    /// <summary>Weights and cache of a unit, resident on every device that computes it.</summary>
    public double[] UnitBytes { get; private set; } = []; // [units]

    /// <summary>Of the head, where it shares the embedding's matrix; counted once where both are on one device.</summary>
    public double SharedBytes { get; private set; }

    /// <summary>Resident on a device that computes anything: the largest activations, and <see cref="RuntimeBytes"/>.</summary>
    public double Overhead { get; private set; }

    /// <summary>The pool of each device, and the memories: first of the devices, then of the pools.</summary>
    public int[] Pool { get; private set; } = [];

    public MemoryPool[] DeviceMemory { get; private set; } = [];

    public MemoryPool[] PoolMemory { get; private set; } = [];

    public DeviceLink[] Links { get; } // [from, to]

    /// <summary>Seconds that a place takes on a device without launches, which a full memory slows down.</summary>
    public double Core(int place, int device, int level) => _core[(place * _variants) + _firstVariant[device] + level];

    private double Dispatch(int device) => Profiles[device].Dispatch?.Value ?? 0;

    /// <summary>Seconds of its launches, and of the graph that a pass begins with.</summary>
    public double Launch(int place, int device, int level) => _launch[(place * _variants) + _firstVariant[device] + level];

    /// <summary>Joules of its dynamic power, which depend on no slowdown: P_d t = P_c F/pi (f/f_max)(V/V_max)^2 + P_m Q/b.</summary>
    public double Dynamic(int place, int device, int level) => _dynamic[(place * _variants) + _firstVariant[device] + level];

    /// <summary>What a unit is called in reports.</summary>
    public string NameOf(int unit) => unit == 0 ? "embedding" : unit == Units - 1 ? "head"
        : Granularity == Granularity.Layer ? $"{unit - 1}" : $"{(unit - 1) / 2}.{(unit % 2 == 1 ? "attention" : "feedforward")}";

    /// <summary>The unit that computes a stage.</summary>
    public int UnitOf(Stage stage) => stage.Kind switch
    {
        StageKind.Embedding => 0,
        StageKind.Head => Units - 1,
        _ when Granularity == Granularity.Layer => 1 + stage.Layer,
        StageKind.FeedForward => 2 + (2 * stage.Layer),
        _ => 1 + (2 * stage.Layer),
    };

    // Each phase's passes, and how often each happens in a round.
    private static (SequencePass[] Sequences, int Times)[][] Passes(Workload w)
    {
        var chunks = Enumerable.Range(0, (w.Prompt + w.Chunk - 1) / w.Chunk)
            .Select(i => (SequencePass[])[SequencePass.Prefill(Math.Min(w.Chunk, w.Prompt - (i * w.Chunk)), i * w.Chunk, (i + 1) * w.Chunk >= w.Prompt)]);
        // Decoding goes from the prompt's end to the answer's: its mean pass is the one in the middle, because costs grow in proportion.
        var decode = ((SequencePass[])[.. Enumerable.Repeat(SequencePass.Decode(w.Prompt + (w.Tokens / 2)), w.Batch)], w.Tokens);
        return w.Prompt > 0 ? [[.. chunks.Select(c => (c, w.Batch))], [decode]] : [[decode]];
    }

    private void FillCosts((SequencePass[] Sequences, int Times)[][] phases)
    {
        // Most layers are alike, and a draw asks a profile for its nearest type.
        var known = new Dictionary<StageCost, StageDraw[]>();
        double most = 0;
        for (var phase = 0; phase < Phases; phase++)
        {
            foreach (var (sequences, times) in phases[phase])
            {
                int rows = sequences.Sum(s => s.Rows), outputs = sequences.Sum(s => s.Outputs);
                var costs = PassCost.Of(Model, sequences, Workload.CacheType);
                for (var variant = 0; variant < _variants; variant++)
                    _launch[(phase * Units * _variants) + variant] += times * Dispatch(Array.FindLastIndex(_firstVariant, first => first <= variant));
                for (var s = 0; s < costs.Length; s++)
                {
                    var stage = costs[s].Stage;
                    var place = (phase * Units) + UnitOf(stage);
                    Enter(place, stage, rows, outputs, times);
                    most = Math.Max(most, costs[s].ActivationBytes);
                    if (costs[s].Operations == 0)
                        continue;
                    var alike = costs[s] with { Stage = default };
                    if (!known.TryGetValue(alike, out var draws))
                        known[alike] = draws = [.. Profiles.SelectMany((d, i) => Enumerable.Range(0, Levels[i]).Select(level => EnergyModel.Draw(d, alike, d.Clocks.Count > 0 ? level : null)))];
                    for (var d = 0; d < Devices; d++)
                    {
                        var launch = Profiles[d].Launch.Value * alike.Operations;
                        for (var level = 0; level < Levels[d]; level++)
                        {
                            var at = (place * _variants) + _firstVariant[d] + level;
                            var draw = draws[_firstVariant[d] + level];
                            _core[at] += times * (draw.Time.Value - launch);
                            _launch[at] += times * launch;
                            _dynamic[at] += times * (draw.DynamicPower * draw.Time).Value;
                        }
                    }
                }
            }
        }
        Overhead = most + RuntimeBytes;
    }

    // What a stage takes from the stage before; inside a unit nothing leaves a device.
    private void Enter(int place, Stage stage, int rows, int outputs, int times)
    {
        var begins = stage.Kind is StageKind.Projection or StageKind.Head || (stage.Kind == StageKind.FeedForward && Granularity == Granularity.HalfLayer);
        // A chunk that wants no logits ends before the last layer's feed-forward block.
        if (!begins || (outputs == 0 && (stage.Kind == StageKind.Head || (stage.Kind == StageKind.FeedForward && stage.Layer == Model.Layers - 1))))
            return;
        double attended = stage.Kind == StageKind.FeedForward ? Model.Convolved[stage.Layer] ? Model.Embedding : Model.QueryWidth : 0;
        SeamBytes[place] += times * (stage.Kind == StageKind.Head ? outputs : rows) * (Model.Embedding + attended) * sizeof(float);
        SeamCount[place] += times;
    }

    private void FillMemory()
    {
        UnitBytes = new double[Units];
        HandoffBytes = new double[Units];
        foreach (var w in Model.Weights)
            UnitBytes[UnitOf(new Stage(new WeightSpec(w.Role, w.Layer, "").Stage, w.Layer))] += (double)w.Bytes * w.Experts;
        if (Model.TiedOutput)
            SharedBytes = Model.Weights.First(w => w.Role == WeightRole.Output).Bytes;
        var layers = Model.Convolved.Count(c => !c);
        for (var layer = 0; layer < Model.Layers; layer++)
        {
            if (Model.Convolved[layer])
                continue;
            var (unit, cell) = (UnitOf(new Stage(StageKind.Attention, layer)), Model.CacheBytes(Workload.CacheType) / (double)layers);
            UnitBytes[unit] += cell * Workload.Cells * Workload.Batch * Workload.InFlight;
            HandoffBytes[unit] = cell * Workload.Prompt * Workload.Batch;
        }
        MemoryPool Own(DeviceProfile d) => MemoryPool.Of(d) is var pool && Limits.Reserve is { } reserve
            ? pool with { Reserve = reserve, Knee = Math.Min(d.MemoryKnee?.Value ?? 1, 1 - reserve) } : MemoryPool.Of(d);
        DeviceMemory = [.. Profiles.Select(Own)];
        var names = Profiles.Select(d => d.Pool).Distinct().ToArray();
        Pool = [.. Profiles.Select(d => Array.IndexOf(names, d.Pool))];
        // A pool is as large as the device that may take most of it.
        PoolMemory = [.. names.Select(n => DeviceMemory[Enumerable.Range(0, Devices).Where(d => Profiles[d].Pool == n).MaxBy(d => DeviceMemory[d].Capacity.Value)])];
    }
}
