using Ergon.Cost;
using Ergon.Devices.Profiles;
using Ergon.Models;
using Ergon.Planning;
using Ergon.Units;

namespace Ergon.Tests.Planning;

public sealed class PlanStateTests
{
    private static DeviceProfile Cpu { get; } = ProfileCatalogue.Named("Core Ultra 9 285HX CPU");

    private static DeviceProfile Npu { get; } = ProfileCatalogue.Named("Core Ultra 9 285HX NPU");

    private static DeviceProfile Gpu { get; } = ProfileCatalogue.Named("NVIDIA RTX PRO 5000 Blackwell laptop");

    private static ModelOutline Model(string name) => PublishedModel.Named(name).Outline(QuantizationMix.All.First(m => m.Name == "q4_0"));

    private static PlanProblem Decode(string model, PlanLimits? limits, params DeviceProfile[] devices) => new(Model(model), devices, new Workload { Prompt = 0, Tokens = 128 }, limits, Granularity.Layer);

    private static PlanEvaluation Evaluate(PlanProblem problem, params byte[] places)
    {
        var state = new PlanState(problem);
        state.Load([.. places, .. problem.Levels.Select(l => (byte)(l - 1))]);
        return state.Evaluate();
    }

    [Fact]
    public void One_device_costs_what_the_energy_equation_says()
    {
        var problem = Decode("llama-3.2-1b", null, Gpu);
        var plan = Evaluate(problem, new byte[problem.Places]);
        // The same from stages: 128 passes, each in the middle of the answer.
        var draws = PassCost.Of(Model("llama-3.2-1b"), [SequencePass.Decode(64)]).Select(c => EnergyModel.Draw(Gpu, c)).ToArray();
        var time = new Seconds(draws.Sum(d => d.Time.Value));
        var dynamic = draws.Aggregate(Joules.Zero, (e, d) => e + (d.DynamicPower * d.Time)) / time;
        var steady = EnergyModel.Steady(Gpu, dynamic + new Watts(Gpu.StaticPower), new Celsius(25));
        Assert.Equal(time.Value, plan.Score.Seconds, 12);
        Assert.Equal(EnergyModel.Energy(Gpu, draws, steady.Temperature!.Value, time).Value, plan.Score.Joules, 9);
        Assert.Equal(steady.Temperature.Value.Value, plan.Loads[0].Temperature!.Value.Value, 6);
        Assert.Equal(0, plan.Score.Underutilisation, 9);
        Assert.Null(plan.Binding);
    }

    [Fact]
    public void A_seam_takes_its_links_time_and_energy()
    {
        var linked = Gpu with { Links = [new LinkProfile(Npu.Name, new(1e6, Origin.Estimate, "test"), new(0.25, Origin.Estimate, "test"), new(0.5, Origin.Estimate, "test"))] };
        PlanEvaluation Cut(DeviceProfile gpu)
        {
            var problem = Decode("llama-3.2-1b", null, gpu, Npu);
            return Evaluate(problem, [.. Enumerable.Range(0, problem.Places).Select(p => (byte)(p < 9 ? 0 : 1))]);
        }
        var (free, charged) = (Cut(linked with { Links = [linked.Links[0] with { Latency = linked.Links[0].Latency with { Value = 0 }, Bandwidth = linked.Links[0].Bandwidth with { Value = 1e30 }, EnergyPerByte = linked.Links[0].EnergyPerByte with { Value = 0 } }] }), Cut(linked));
        // A row of 2048 values in F32 for each token.
        Assert.Equal(0.25 + (8192 / 1e6), charged.Score.Seconds - free.Score.Seconds, 9);
        Assert.Equal(1, charged.Seams);
        Assert.True(charged.Score.Joules - free.Score.Joules > 0.5 * 8192);
    }

    [Fact]
    public void A_device_that_computes_nothing_is_off_unless_it_runs_the_machine()
    {
        var problem = Decode("llama-3.2-1b", null, Gpu, Npu);
        var alone = Evaluate(Decode("llama-3.2-1b", null, Gpu), new byte[problem.Places]);
        Assert.Equal(alone.Score.Joules, Evaluate(problem, new byte[problem.Places]).Score.Joules, 12);
        // The processor idles beside it: its static power and its leakage at the temperature of that.
        var hosted = Evaluate(Decode("llama-3.2-1b", null, Gpu, Cpu), new byte[problem.Places]);
        var idle = new Watts(Cpu.StaticPower) + EnergyModel.Steady(Cpu, new Watts(Cpu.StaticPower), new Celsius(25)).Leakage;
        Assert.Equal(idle.Value * alone.Score.Seconds, hosted.Score.Joules - alone.Score.Joules, 9);
    }

    [Fact]
    public void Passes_in_flight_overlap_until_the_busiest_device_is_full()
    {
        var problem = new PlanProblem(Model("llama-3.2-1b"), [Gpu, Npu], new Workload { Prompt = 0, Tokens = 128, InFlight = 2 }, null, Granularity.Layer);
        byte[] cut = [.. Enumerable.Range(0, problem.Places).Select(p => (byte)(p < 17 ? 0 : 1))];
        var (one, two) = (Evaluate(Decode("llama-3.2-1b", null, Gpu, Npu), cut), Evaluate(problem, cut));
        var longest = one.Loads.Max(l => l.Busy) * one.Score.Seconds;
        Assert.InRange(two.Score.Seconds, longest, one.Score.Seconds * 0.999);
        Assert.Equal(2 * two.Score.Seconds, two.Latency.Value, 12);
    }

    [Fact]
    public void Sums_after_many_moves_are_those_of_the_plan_alone()
    {
        var random = new Random(1);
        for (var i = 0; i < 40; i++)
        {
            var problem = RandomProblem.Of(random, random.Next(1, 12), random.Next(1, 6), i % 2 == 0 ? Granularity.Layer : Granularity.HalfLayer, random.Next(1, 3));
            var (moved, fresh) = (new PlanState(problem), new PlanState(problem));
            for (var move = 0; move < 300; move++)
            {
                var gene = random.Next(problem.Genes);
                moved.Set(gene, (byte)random.Next(gene < problem.Places ? problem.Devices : problem.Levels[gene - problem.Places]));
            }
            fresh.Load(moved.Genes);
            var (a, b) = (moved.Score(), fresh.Score());
            for (var o = 0; o < PlanScore.Count; o++)
                Assert.Equal(b[o], a[o], 1e-9 * Math.Abs(b[o]));
            Assert.Equal(b.Excess, a.Excess, 1e-9);
            Assert.Equal(fresh.Evaluate().Binding is null, b.IsFeasible);
        }
    }

    [Fact]
    public void A_model_that_both_phases_keep_on_a_device_is_there_once()
    {
        var problem = new PlanProblem(Model("llama-3.2-1b"), [Gpu, Npu], new Workload(), null, Granularity.Layer);
        byte[] Phases(byte prefill, byte decode) => [.. Enumerable.Repeat(prefill, problem.Units), .. Enumerable.Repeat(decode, problem.Units)];
        var (same, apart) = (Evaluate(problem, Phases(0, 0)), Evaluate(problem, Phases(1, 0)));
        // Weights, the tied matrix once, and 768 cells.
        var expected = Model("llama-3.2-1b").WeightBytes + (768 * Model("llama-3.2-1b").CacheBytes(Ergon.Native.GgmlType.F16)) + problem.Overhead;
        Assert.Equal(expected, same.Loads[0].Resident.Value, 1.0);
        Assert.Equal(0, same.Loads[1].Resident.Value);
        Assert.Equal(same.Loads[0].Resident, apart.Loads[0].Resident);
        Assert.Equal(same.Loads[0].Resident, apart.Loads[1].Resident);
    }

    [Fact]
    public void The_limit_that_binds_is_named_with_its_number()
    {
        string Binding(PlanLimits limits, string model = "llama-3.2-1b") => Decode(model, limits, Gpu) is var problem ? Evaluate(problem, new byte[problem.Places]).Binding! : "";
        Assert.Contains("memory: 'NVIDIA RTX PRO 5000", Binding(new(), "llama-3.1-70b"), StringComparison.Ordinal);
        Assert.Contains("power cap", Binding(new() { PowerCap = new(20) }), StringComparison.Ordinal);
        Assert.Contains("where 20.0 W are allowed", Binding(new() { PowerCap = new(20) }), StringComparison.Ordinal);
        Assert.Contains("latency", Binding(new() { MaxLatency = new(1e-4) }), StringComparison.Ordinal);
        Assert.Contains("at or below 40 °C", Binding(new() { MaxTemperature = new(40) }), StringComparison.Ordinal);
    }

    [Fact]
    public void Devices_that_share_a_memory_fill_it_together()
    {
        // About 34 GB of 64 and 26 of 32, each below its own nine tenths; together they are one memory of 64 GB.
        var problem = new PlanProblem(Model("llama-3.1-70b"), [Cpu, Npu], new Workload { Tokens = 60_000, Prompt = 0 }, null, Granularity.Layer);
        var plan = Evaluate(problem, [.. Enumerable.Range(0, problem.Places).Select(p => (byte)(p < 46 ? 0 : 1))]);
        Assert.True(plan.Loads[0].Resident.Value < 0.9 * 64e9 && plan.Loads[1].Resident.Value < 0.9 * 32e9);
        Assert.Contains("pool '285hx'", plan.Binding, StringComparison.Ordinal);
    }

    [Fact]
    public void Nonsense_is_refused_with_the_remedy()
    {
        var e = Assert.Throws<ErgonException>(() => new PlanProblem(Model("llama-3.2-1b"), [Gpu, Gpu], new Workload()));
        Assert.Contains("named twice", e.Message, StringComparison.Ordinal);
        Assert.Contains("1 to 16", Assert.Throws<ErgonException>(() => new PlanProblem(Model("llama-3.2-1b"), [], new Workload())).Message, StringComparison.Ordinal);
        Assert.Contains("need 768", Assert.Throws<ErgonException>(() => new PlanProblem(Model("llama-3.2-1b"), [Gpu], new Workload { Context = 100 })).Message, StringComparison.Ordinal);
    }
}
