using Ergon.Cost;
using Ergon.Devices;
using Ergon.Devices.Profiles;
using Ergon.Inference;
using Ergon.Models;
using Ergon.Models.Gguf;
using Ergon.Native;
using Ergon.Planning;
using Ergon.Runtime.Plans;
using Ergon.Tests.Energy;
using Ergon.Tests.Inference;
using Ergon.Units;

namespace Ergon.Tests.Runtime;

/// <summary>A model that is placed by plans, on two clusters of this machine's processors.</summary>
[Collection("clusters")] // one test looks at the threads of all
public sealed class PlannedModelTests : IDisposable
{
    private const int Load = 32; // so many that arithmetic decides, which two devices divide

    private readonly TemporaryFolder _folder = new();
    private readonly Clock _time = new();
    private readonly CapturedMachine _machine = new();
    private readonly string _path;
    private readonly ModelDescription _model;
    private double _celsius = 50;

    public PlannedModelTests()
    {
        _path = new RandomModel("llama", GgmlType.F32).Write(_folder.Path);
        _model = ModelDescription.Read(GgufFile.Open(_path));
    }

    // Time that tests let pass; nothing happens by itself.
    private sealed class Clock : TimeProvider
    {
        private long _now = 1;

        public override long TimestampFrequency => 1000;

        public override long GetTimestamp() => _now;

        public void Pass(double seconds) => _now += (long)(seconds * 1000);

        public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period) => new Still();

        private sealed class Still : ITimer
        {
            public bool Change(TimeSpan dueTime, TimeSpan period) => true;

            public void Dispose()
            {
            }

            public ValueTask DisposeAsync() => ValueTask.CompletedTask;
        }
    }

    [Fact]
    public void A_plan_written_to_a_file_is_the_plan_that_runs()
    {
        var (problem, outcome) = Planned(PlanOf()).Search(Clusters(), PlanPolicy.Latency, 4);
        var plan = ExecutionPlan.Of(problem, outcome.Chosen!, _model.File.Fingerprint());
        var path = _folder.File("plan.json", System.Text.Json.JsonSerializer.SerializeToUtf8Bytes(plan, PlanJson.Default.ExecutionPlan));
        var read = ExecutionPlan.Read(path);
        Assert.Equal(plan.Runs, read.Runs);
        Assert.Equal(outcome.Chosen!.Genes[problem.Units..problem.Places], read.GenesIn(problem)![problem.Units..problem.Places]);
        var placements = read.Placements(_model, name => Clusters().First(d => d.Name == name));
        Assert.Null(Placement.WhyNoCover(placements, _model.LayerCount));
    }

    [Fact]
    public void Phases_on_devices_of_their_own_become_tiers_and_what_they_share_is_one()
    {
        var plan = PlanOf(new("prefill", "embedding", "1.attention", "CPU:0"), new("prefill", "1.feedforward", "head", "CPU:1"), new("decode", "embedding", "head", "CPU:1"));
        var placements = plan.Placements(_model, name => Clusters().First(d => d.Name == name));
        Assert.True(plan.HasPhases);
        Assert.Equal([(0, 6, 0), (0, 6, 1), (6, 11, null)], placements.Select(p => (p.Stages.First, p.Stages.End, p.Tier)));
        Assert.Equal([[0], [1], [1]], placements.Select(p => p.Cpus));
    }

    [Fact]
    public void What_follows_the_last_attention_has_the_device_of_decoding_in_a_plan_that_runs()
    {
        var problem = new PlanProblem(ModelOutline.Of(_model), [.. Clusters().Select(d => d.Profile)], new Workload());
        var genes = new byte[problem.Genes];
        genes.AsSpan(problem.Units, problem.Units).Fill(1);
        var state = new PlanState(problem);
        state.Load(genes);
        var plan = state.Evaluate();
        var outcome = new PlanOutcome { Front = [plan], Chosen = plan, Reason = "", Evaluations = 1 };
        var runs = ExecutionPlan.Runnable(problem, outcome, PlanPolicy.Energy).Chosen!;
        Assert.Equal([0, 0, 0, 0, 0, 0, 1, 1], runs.Genes[..problem.Units]);
        Assert.NotEqual(plan.Score.Seconds, runs.Score.Seconds);
        // A limit that the form that runs passes is seen.
        var tight = new PlanProblem(problem.Model, problem.Profiles, problem.Workload, new PlanLimits { MaxLatency = new Seconds((plan.Latency.Value + runs.Latency.Value) / 2) });
        var none = ExecutionPlan.Runnable(tight, outcome, PlanPolicy.Energy);
        Assert.Equal(runs.Latency > plan.Latency, none.Chosen is null);
    }

    [Theory]
    [InlineData("{\"simulated\":true}", "devices of the catalogue")]
    [InlineData("{}", "is no plan")]
    [InlineData("[1]", "is no plan")]
    [InlineData("{\"plan\":null}", "is no plan")]
    [InlineData("not json", "is no plan")]
    public void A_file_that_is_no_plan_is_refused(string text, string part) =>
        Assert.Contains(part, Assert.Throws<ErgonException>(() => ExecutionPlan.Read(_folder.File("x.json", System.Text.Encoding.UTF8.GetBytes(text)))).Message, StringComparison.Ordinal);

    [Fact]
    public void A_plan_that_does_not_fit_is_refused_in_a_sentence()
    {
        Says("another file", PlanOf(new PlannedRun("decode", "embedding", "head", "CPU:0")) with { Fingerprint = "00" });
        Says("names 'layer 3', but a model of 3 layers has", PlanOf(new PlannedRun("decode", "embedding", "layer 3", "CPU:0")));
        Says("names '3.attention'", PlanOf(new PlannedRun("decode", "embedding", "3.attention", "CPU:0")));
        Says("covers 10 of 11 stages", PlanOf(new PlannedRun("decode", "embedding", "2", "CPU:0")));
        Assert.Contains("is no plan", Assert.Throws<ErgonException>(() => ExecutionPlan.Read(_folder.File("null.json", """{"model":"a","fingerprint":"","layers":1,"batch":1,"in_flight":1,"runs":[null]}"""u8.ToArray()))).Message, StringComparison.Ordinal);
        Says("run 1 to head of decode does not follow", PlanOf(new("decode", "embedding", "embedding", "CPU:0"), new("decode", "1", "head", "CPU:0")));
        Assert.Contains("on Vulkan7, which is not among the devices CPU:0, CPU:1", Assert.Throws<ErgonException>(() => Planned(PlanOf(new PlannedRun("decode", "embedding", "head", "Vulkan7")))).Message, StringComparison.Ordinal);

        void Says(string part, ExecutionPlan plan) =>
            Assert.Contains(part, Assert.Throws<ErgonException>(() => plan.Placements(_model, name => Clusters().First(d => d.Name == name))).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Clusters_of_a_processor_share_its_memory_idle_power_and_cooling()
    {
        var store = new CalibrationStore(_folder.Path);
        var whole = Assert.Single(LocalDevice.Named("CPU", null, store, _machine.Files));
        var clusters = LocalDevice.Named("CPU:0, CPU:1", null, store, _machine.Files);
        Assert.Equal(["CPU:0", "CPU:1"], clusters.Select(c => c.Profile.Name));
        var cores = CpuTopology.PhysicalCores();
        Assert.All(clusters, c => Assert.Equal(whole.Profile.IdlePower.Value / cores, c.Profile.IdlePower.Value, 1e-9));
        Assert.All(clusters, c => Assert.Equal(whole.Profile.PeakAt(GgmlType.F16, 512) / cores, c.Profile.PeakAt(GgmlType.F16, 512), 1.0));
        Assert.All(clusters, c => Assert.Equal(whole.Profile.Pool, c.Profile.Pool));
        // At full power a cluster is as hot as the whole processor.
        double Rise(DeviceProfile p) => p.MaxPower.Value * p.ThermalResistance.Value;
        Assert.All(clusters, c => Assert.Equal(Rise(whole.Profile), Rise(c.Profile), 1e-6));
        Assert.All(clusters, c => c.Profile.Validated());
        Assert.Equal("CPU:1", Assert.Single(clusters[0].Profile.Links).To);
    }

    [Theory]
    [InlineData("TPU9", "no device 'TPU9'")]
    [InlineData(" , ", "must be real, or names")]
    [InlineData("CPU:0,CPU:0", "share processors")]
    [InlineData("CPU,CPU:0", "share processors")]
    [InlineData("CPU:9999", "names the cluster 'CPU:9999'")]
    [InlineData("CPU:0+0", "each once")]
    [InlineData("CPU:", "names the cluster 'CPU:'")]
    [InlineData("CPU:1-0", "names the cluster")]
    public void Devices_that_cannot_be_are_refused(string names, string part) =>
        Assert.Contains(part, Assert.Throws<ErgonException>(() => LocalDevice.Named(names, null, new CalibrationStore(_folder.Path), _machine.Files)).Message, StringComparison.Ordinal);

    [Fact]
    public void Time_beyond_the_profile_is_learned_for_few_and_for_many_rows_apart()
    {
        var device = Clusters()[0];
        var residuals = new Residuals(ModelOutline.Of(_model), GgmlType.F16);
        Assert.Equal(new Residual(1, 1), residuals.Of(device));
        foreach (var (rows, factor) in ((int, double)[])[(1, 3), (64, 0.5)])
        {
            var costs = PassCost.Of(ModelOutline.Of(_model), [new SequencePass(rows, 10, 1)]);
            var predicted = EnergyModel.PassTime(device.Profile, costs.Select(c => EnergyModel.Draw(device.Profile, c))).Value;
            for (var i = 0; i < 5; i++)
            {
                var ticks = (long)(factor * predicted * System.Diagnostics.Stopwatch.Frequency);
                residuals.Note(new PassReport([new SegmentReport("CPU", StageRange.Whole(_model), rows, 0, ticks, 0, 0, 0)], [new PassPart(0, rows, rows > 1, 10)], 0), [device]);
                Thread.Sleep(12);
            }
        }
        var (few, many, _) = residuals.Of(device);
        Assert.Equal(3, few, 0.02);
        Assert.Equal(0.5, many, 0.02);
        var corrected = residuals.Corrected(device);
        Assert.Equal(device.Profile.PeakAt(GgmlType.F16, 1) / few, corrected.PeakAt(GgmlType.F16, 1), 1.0);
        Assert.Equal(device.Profile.PeakAt(GgmlType.F16, 512) / many, corrected.PeakAt(GgmlType.F16, 512), 1.0);
        // A device that nobody saw is as it was.
        var other = Clusters()[1];
        Assert.Same(other.Profile, residuals.Corrected(other));
    }

    [Fact]
    public void Time_that_each_graph_takes_is_told_from_time_that_grows_with_the_work()
    {
        var device = Clusters()[0];
        var residuals = new Residuals(ModelOutline.Of(_model), GgmlType.F16);
        for (var i = 0; i < 20; i++)
        {
            // Parts of the model of several lengths.
            var stages = new StageRange(0, 4 + (i % 3 * 3), _model.LayerCount);
            var costs = PassCost.Of(ModelOutline.Of(_model), [new SequencePass(1, 10, 1)]);
            var seconds = 0.005 + (2 * costs[..stages.End].Sum(c => EnergyModel.Draw(device.Profile, c).Time.Value));
            residuals.Note(new PassReport([new SegmentReport("CPU", stages, 1, 0, (long)(seconds * System.Diagnostics.Stopwatch.Frequency), 0, 0, 0)], [new PassPart(0, 1, false, 10)], 0), [device]);
            Thread.Sleep(12);
        }
        var (few, many, dispatch) = residuals.Of(device);
        Assert.Equal((2, 1), (Math.Round(few, 1), many));
        Assert.Equal(0.005, dispatch!.Value, 1e-4);
        Assert.Equal(dispatch, residuals.Corrected(device).Dispatch!.Value);
    }

    [Fact]
    public void A_plan_pays_for_each_graph_that_it_cuts_the_model_into()
    {
        var outline = ModelOutline.Of(_model);
        var devices = Clusters().Select(d => d.Profile).ToArray();
        PlanProblem Problem(double dispatch) => new(outline, [.. devices.Select(d => d with { Dispatch = new Coefficient(dispatch, Origin.Measured, "test") })], new Workload { Prompt = 0, Tokens = 10 }, null, Granularity.Layer);
        double Seconds(PlanProblem problem, params byte[] genes)
        {
            var state = new PlanState(problem);
            state.Load([.. genes, 0, 0]);
            return state.Evaluate().Score.Seconds;
        }
        Assert.Equal(0.001, Seconds(Problem(0.001), 0, 0, 0, 0, 0) - Seconds(Problem(0), 0, 0, 0, 0, 0), 1e-9);
        Assert.Equal(0.003, Seconds(Problem(0.001), 0, 0, 1, 1, 0) - Seconds(Problem(0), 0, 0, 1, 1, 0), 1e-9);
    }

    [Fact]
    public async Task A_device_that_gets_hot_is_left_in_the_middle_of_generations_and_taken_again_when_it_is_cool()
    {
        // Only the second cluster's temperature is limited.
        var devices = SlowClusters();
        var limit = devices[1].Profile.LimitTemperature.Value;
        devices[0] = devices[0] with { Profile = devices[0].Profile with { LimitTemperature = devices[0].Profile.LimitTemperature with { Value = 500 } } };
        using var planned = Planned(Halves, devices, new PlanOptions { Objective = PlanPolicy.Latency, Prompt = 0, Tokens = 200 });
        var said = new List<string>();
        planned.Changed += said.Add;
        Run(planned);
        var alone = await GenerateAsync(planned, 0);
        var running = Enumerable.Range(0, Load).Select(i => GenerateAsync(planned, i)).ToArray();
        _celsius = limit - 2;
        Assert.True(await planned.CheckAsync(), string.Join("; ", said));
        Assert.Equal(["CPU:0"], planned.Current.Devices);
        await planned.Told;
        Assert.Contains("CPU:1 is left, because it is at", Assert.Single(said), StringComparison.Ordinal);
        // Still warm: it would be hot again at once.
        _celsius = limit - 8;
        Assert.False(await MovesUnderLoadAsync(planned));
        _celsius = limit - 20;
        Assert.True(await MovesUnderLoadAsync(planned, attempts: 20));
        Assert.Contains("CPU:1", planned.Current.Devices);
        await planned.Told;
        Assert.Contains("better in latency", said[^1], StringComparison.Ordinal);
        Assert.Equal(alone, (await Task.WhenAll(running))[0]);
    }

    [Fact]
    public async Task A_plan_that_is_little_better_or_comes_too_soon_is_left_alone()
    {
        using var planned = Planned(PlanOf(new PlannedRun("decode", "embedding", "head", "CPU:0")), null, new PlanOptions { Objective = PlanPolicy.Latency, Prompt = 0, Tokens = 200, LeastGain = 0.3 });
        Run(planned);
        await GenerateAsync(planned, 0);
        // Both clusters are alike, so no plan for one sequence is a third better.
        _time.Pass(2);
        Assert.False(await planned.CheckAsync());
        _time.Pass(60);
        Assert.False(await planned.CheckAsync());
        await GenerateAsync(planned, 0);
        Assert.False(await planned.CheckAsync());
        Assert.Equal(["CPU:0"], planned.Current.Devices);
    }

    [Fact]
    public async Task More_generations_at_a_time_are_given_both_devices()
    {
        using var planned = Planned(PlanOf(new PlannedRun("decode", "embedding", "head", "CPU:0")), null, new PlanOptions { Objective = PlanPolicy.Latency, Prompt = 0, Tokens = 100 });
        Run(planned);
        Assert.True(await MovesUnderLoadAsync(planned, attempts: 20));
        Assert.Equal(["CPU:0", "CPU:1"], planned.Current.Devices.Order());
        Assert.True(planned.Current.InFlight == 2, PlannedModel.Describe(planned.Current));
    }

    [Fact]
    public async Task A_device_that_fails_is_left_and_tried_again_later()
    {
        var opens = false;
        using var planned = Planned(Halves, null, new PlanOptions { Objective = PlanPolicy.Latency, Prompt = 0, Tokens = 200 }, _ => opens);
        var said = new List<string>();
        planned.Changed += said.Add;
        Run(planned);
        var alone = await GenerateAsync(planned, 0);
        var passes = 0;
        await planned.Model.InvokeAsync(engine => ((Engine)engine).SegmentBegins = stages =>
        {
            if (stages.EndsModel && ++passes == 20)
                throw new NativeException("The device is gone.");
        });
        Assert.Equal(alone, (await Task.WhenAll(GenerateAsync(planned, 0), GenerateAsync(planned, 1)))[0]);
        Assert.Equal(["CPU:0"], planned.Current.Devices);
        await planned.Told;
        Assert.Contains("because CPU:1 failed: The device is gone.", Assert.Single(said), StringComparison.Ordinal);
        // Not back after half a minute, so it is asked again after twice as long.
        Assert.False(await MovesUnderLoadAsync(planned, 31));
        opens = true;
        Assert.False(await MovesUnderLoadAsync(planned, 40));
        Assert.True(await MovesUnderLoadAsync(planned, 25, attempts: 20));
        Assert.Contains("CPU:1", planned.Current.Devices);
    }

    [Fact]
    public void Battery_power_and_plugs_are_seen()
    {
        var watch = new ConditionWatch(_machine.Files, () => [], _time);
        Assert.False(watch.Read([]).OnBattery);
        _machine.Write($"{CapturedMachine.Battery}/type", "Battery").Write($"{CapturedMachine.Battery}/status", "Discharging");
        Assert.True(watch.Read([]).OnBattery);
        _machine.Write("sys/class/power_supply/AC/type", "Mains").Write("sys/class/power_supply/AC/online", 1);
        Assert.False(watch.Read([]).OnBattery);
        _machine.Write("sys/class/power_supply/AC/online", 0);
        Assert.True(watch.Read([]).OnBattery);
        // A mouse has a battery of its own.
        _machine.Write("sys/class/power_supply/hidpp_battery_0/type", "Battery").Write("sys/class/power_supply/hidpp_battery_0/status", "Discharging").Write("sys/class/power_supply/hidpp_battery_0/scope", "Device");
        _machine.Write($"{CapturedMachine.Battery}/status", "Charging");
        Assert.False(watch.Read([]).OnBattery);
    }

    [Fact]
    public void Generations_of_the_last_seconds_are_the_load()
    {
        var watch = new ConditionWatch(_machine.Files, () => [], _time);
        watch.Note(new PassReport([], [new(0, 1, false), new(3, 1, false)], 0));
        _time.Pass(2);
        watch.Note(new PassReport([], [new(3, 1, false)], 0));
        Assert.Equal(2, watch.Read([]).Sequences);
        _time.Pass(2);
        Assert.Equal(1, watch.Read([]).Sequences);
        _time.Pass(2);
        Assert.Equal(0, watch.Read([]).Sequences);
    }

    [Theory]
    [InlineData(1000, 0, 1e-6, true)] // a link beats arithmetic
    [InlineData(1000, 0, 1e-2, false)] // and a slow one does not
    [InlineData(500, 500, 1e-2, true)] // unless tokens would be computed one by one
    [InlineData(2, 0, 1e-6, false)] // nor for so few that the first byte takes longer
    public void A_cache_is_copied_where_that_is_sooner_than_computing_it_anew(int prompt, int generated, double copy, bool keeps) =>
        Assert.Equal(keeps, new MoveCost(copy, PerRow: 1e-3, PerToken: 0.1, Start: 0.01).Keeps(prompt, generated));

    [Fact]
    public async Task Sequences_whose_cache_is_not_worth_its_way_are_computed_again_with_the_same_tokens()
    {
        using var planned = Planned(Halves);
        Run(planned);
        var alone = await GenerateAsync(planned, 0);
        using var passed = new SemaphoreSlim(0);
        planned.Model.PassCompleted += _ => passed.Release();
        var running = GenerateAsync(planned, 0);
        for (var i = 0; i < 20; i++)
            Assert.True(await passed.WaitAsync(TimeSpan.FromSeconds(20)));
        var prompts = 0;
        planned.Model.PassCompleted += pass => prompts += pass.Parts.Count(p => p.IsPrompt);
        await planned.Model.MoveAsync(new DeviceChange(PlanOf(new PlannedRun("decode", "embedding", "head", "CPU:1")).Placements(_model, name => Clusters().First(d => d.Name == name))), (_, _) => false);
        Assert.Equal(alone, await running);
        Assert.Equal(1, prompts);
    }

    private LocalDevice[] Clusters() => [.. LocalDevice.Named("CPU:0,CPU:1", null, new CalibrationStore(_folder.Path), _machine.Files)];

    private ExecutionPlan PlanOf(params PlannedRun[] runs) => new(_model.Name, Convert.ToHexStringLower(_model.File.Fingerprint()), _model.LayerCount, 1, 1, runs.Length > 0 ? runs : [new("decode", "embedding", "head", "CPU:0")]);

    // Said to be so slow that the way between them is nothing beside what this small model takes.
    private LocalDevice[] SlowClusters() => [.. Clusters().Select(d => d with { Profile = d.Profile.Slowed(100, 100, "test") })];

    private PlannedModel Planned(ExecutionPlan? plan, LocalDevice[]? devices = null, PlanOptions? options = null, Func<LocalDevice, bool>? opens = null) => new(_model, devices ?? SlowClusters(), new ModelOptions(),
        (options ?? new PlanOptions()) with { Plan = plan, Learns = false, SearchBudget = TimeSpan.FromSeconds(20) }, new ConditionWatch(_machine.Files, () => [new Temperature("cpu", new Celsius(_celsius), null)], _time, opens), _time);

    private ExecutionPlan Halves => PlanOf(new("decode", "embedding", "0", "CPU:0"), new("decode", "1", "head", "CPU:1")) with { InFlight = 2 };

    private void Run(PlannedModel planned) => planned.Run(_path, new ModelOptions { ContextLength = 256, MaxSequences = (2 * Load) + 1 }, monitor: null, default);

    // Whether the model moves after some time, while many generations run: on a busy machine a search may outlive these.
    private async Task<bool> MovesUnderLoadAsync(PlannedModel planned, double seconds = 60, int attempts = 1)
    {
        _time.Pass(seconds);
        for (var moved = false; attempts > 0; attempts--)
        {
            var running = Enumerable.Range(0, Load).Select(i => GenerateAsync(planned, i)).ToArray();
            while (!moved && !Array.TrueForAll(running, r => r.IsCompleted))
            {
                moved = await planned.CheckAsync();
                await Task.Delay(1);
            }
            await Task.WhenAll(running);
            if (moved)
                return true;
        }
        return false;
    }

    private static async Task<int[]> GenerateAsync(PlannedModel planned, int seed)
    {
        using var session = planned.Model.CreateSession();
        var tokens = new List<int>();
        await foreach (var token in session.GenerateAsync([5 + seed, 9], new GenerationOptions { MaxTokens = 100, IgnoreEndOfGeneration = true }))
        {
            if (token.Id >= 0)
                tokens.Add(token.Id);
        }
        return [.. tokens];
    }

    public void Dispose()
    {
        _folder.Dispose();
        _machine.Dispose();
    }
}
