using Ergon.Cli.Bench;
using Ergon.Cost;
using Ergon.Models;
using Ergon.Planning;

namespace Ergon.Tests.Cli;

public sealed class QeilTests
{
    private static readonly Ergon.Planning.Workload Short = new() { Prompt = 64, Tokens = 64 };

    [Theory]
    [InlineData("granite-4.0-350m", 0.352e9)]
    [InlineData("lfm2-2.6b", 2.57e9)]
    public void A_published_shape_has_the_published_number_of_parameters(string model, double parameters)
    {
        var outline = PublishedModel.Named(model).Outline(QuantizationMix.All.First(m => m.Name == "f16"));
        var counted = outline.Weights.Where(w => w.Role != WeightRole.Output || !outline.TiedOutput).Sum(w => (double)w.RowLength * w.Rows * w.Experts);
        Assert.InRange(counted, 0.99 * parameters, 1.01 * parameters);
    }

    [Fact]
    public void No_device_alone_and_no_greedy_plan_is_better_in_what_a_plan_is_asked_for()
    {
        foreach (var (model, mix) in Qeil.Models.Where(m => m.Model is "gpt2" or "llama-3.1-8b"))
        {
            var rows = Qeil.Rows(Qeil.Problem(model, mix, Qeil.Devices, Short));
            Assert.Equal(9, rows.Count);
            var feasible = rows.Take(5).Where(r => r.Plan.Binding is null).ToArray();
            Assert.NotEmpty(feasible);
            Assert.All(feasible, r => Assert.True(rows.First(p => p.Name == "PGSAM energy").Joules <= r.Joules * (1 + 1e-9), r.Name));
            Assert.All(feasible, r => Assert.True(rows.First(p => p.Name == "PGSAM latency").Seconds <= r.Seconds * (1 + 1e-9), r.Name));
        }
    }

    [Fact]
    public void Decoding_on_the_card_costs_what_its_power_and_bandwidth_say_by_hand()
    {
        // Decode alone of 8 GB and more of weights: each byte once a token, at memory's power, the card's idle power and the processor's.
        var problem = Qeil.Problem("llama-3.1-8b", "f16", Qeil.Devices, new() { Prompt = 0, Tokens = 64 });
        var (gpu, cpu) = (Qeil.Devices[0], Qeil.Devices[2]);
        var bytes = problem.Model.WeightBytes - (128256.0 * 4096 * 2);
        var joules = bytes / gpu.EffectiveBandwidth * (gpu.MemoryPower.Value + gpu.IdlePower.Value + cpu.IdlePower.Value);
        // Arithmetic, launches and warmer silicon come on top.
        Assert.InRange(Qeil.Rows(problem)[0].Joules / joules, 1, 1.15);
    }

    [Fact]
    public void The_factor_that_is_needed_is_where_the_claim_begins_to_hold()
    {
        PlanProblem With(double factor) => Qeil.Problem("llama-3.1-8b", "q4_0", [Qeil.Devices[0] with { Efficiency = Qeil.Devices[0].Efficiency with { Value = factor * Qeil.Devices[0].Efficiency.Value } }, .. Qeil.Devices.Skip(1)], Short);
        double Left(double factor) => Qeil.Rows(With(factor)) is var rows ? rows.Min(r => r.Joules) / rows[0].Joules : 0;
        var needed = Qeil.Needed(With)!.Value;
        Assert.InRange(needed, 0, 1);
        Assert.True(Left(needed) <= Qeil.EnergyLeft && Left(needed * 1.1) > Qeil.EnergyLeft);
    }
}
