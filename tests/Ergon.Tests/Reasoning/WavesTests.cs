using Ergon.Cost;
using Ergon.Devices.Profiles;
using Ergon.Models;
using Ergon.Native;
using Ergon.Reasoning;
using Ergon.Reasoning.Cascades;
using Ergon.Reasoning.Stopping;
using Ergon.Runtime;
using Ergon.Units;

namespace Ergon.Tests.Reasoning;

public sealed class WavesTests
{
    // One row takes 1 J and 1 s; each further one what is given.
    private static Func<int, (Joules, Seconds)> Each(double further) => rows => (new Joules(1 + ((rows - 1) * further)), new Seconds(1 + ((rows - 1) * further)));

    private static Tally Tally(int budget, params IEnumerable<Draw> draws)
    {
        var tally = new Tally(budget);
        foreach (var draw in draws)
            tally.Add(draw);
        return tally;
    }

    private static int Choose(IStoppingPolicy policy, double further, int most = 16, Tally? tally = null) => Waves.Choose(tally ?? new Tally(16), policy, most, judged: false, Each(further));

    [Fact]
    public void Where_rows_share_the_reading_waves_are_wide_and_where_they_share_nothing_one() =>
        Assert.Equal((16, 1), (Choose(new Likely(0.1), 0.001), Choose(new Likely(0.1), 1)));

    [Fact]
    public void The_likelier_the_end_the_narrower_the_wave()
    {
        int[] widths = [.. new[] { 0.02, 0.1, 0.3, 0.6, 0.95 }.Select(p => Choose(new Likely(p), 0.2))];
        Assert.Equal(widths.OrderDescending(), widths);
        Assert.Equal((16, 1), (widths[0], widths[^1]));
    }

    [Fact]
    public void A_policy_that_draws_all_has_the_widest_wave() =>
        Assert.Equal((16, 5, 3), (Choose(new FixedBudget(), 0.9), Choose(new BestOfN(), 0.9, tally: Tally(8, new("1"), new("1"), new("2"))), Choose(new FixedBudget(), 0.9, most: 3)));

    [Fact]
    public void Draws_that_cannot_end_it_run_at_once()
    {
        // The certificate needs seven that agree, whatever comes: nothing before is in vain, and little after.
        Assert.Equal(7, Choose(new Certificate(0.05), 0.9));
        Assert.Equal(4, Choose(new Certificate(0.05), 0.9, tally: Tally(16, new("1"), new("1"), new("1"))));
    }

    [Fact]
    public void Widths_are_those_of_an_exhaustive_search()
    {
        var random = new Random(3);
        for (var round = 0; round < 200; round++)
        {
            double[] costs = [.. Enumerable.Range(0, 5).Select(_ => 0.2 + random.NextDouble()).Order()];
            var (end, left) = (0.05 + (0.9 * random.NextDouble()), 5);
            // Every way of dividing what is left into waves, in joules that are expected.
            var best = Divided(left).MinBy(Expected)!;
            var chosen = Waves.Choose(new Tally(left), new Likely(end), left, judged: false, rows => (new Joules(costs[rows - 1]), new Seconds(1)));
            var least = Divided(left).Where(d => d[0] == chosen).Min(Expected);
            Assert.InRange(least, Expected(best), Expected(best) * 1.0101);

            double Expected(int[] waves)
            {
                var (sum, goesOn) = (0.0, 1.0);
                foreach (var w in waves)
                {
                    sum += goesOn * costs[w - 1];
                    goesOn *= Math.Pow(1 - end, w);
                }
                return sum;
            }
        }

        static IEnumerable<int[]> Divided(int left) => left == 0 ? [[]] : Enumerable.Range(1, left).SelectMany(w => Divided(left - w).Select(rest => (int[])[w, .. rest]));
    }

    [Fact]
    public void A_cascade_expects_to_draw_on_as_long_as_it_has_learned_to()
    {
        var tally = Tally(16, new Draw(null, Evidence: 0), new Draw(null, Evidence: 0));
        var state = CascadeState.OfWords() with { Gains = new StageGains() };
        var cascade = new Cascade(state);
        // Nothing learned: by the rule of succession.
        Assert.Equal(1.0 / 4, ((IStoppingPolicy)cascade).EndsWith(tally, 0), 12);
        for (var i = 0; i < 1000; i++)
            state.Gains.Learn(Ergon.Reasoning.Stage.Form, state.Selector.Confidence(tally), 2, 0, 10.0 / 16);
        // Ten draws, once that is learned.
        Assert.Equal(0.1, ((IStoppingPolicy)cascade).EndsWith(tally, 0), 1e-2);
    }

    private static Coefficient Of(double value) => new(value, Origin.Estimate, "test");

    // Bandwidth for a pass in a millisecond each 1e-3 of it; arithmetic as given.
    private static DeviceProfile Device(double flops, double bandwidth) => ProfileCatalogue.Named("Raspberry Pi 5") with
    {
        Peaks = [new PeakRate(GgmlType.F16, 1, Of(flops))],
        Bandwidth = Of(bandwidth), Efficiency = Of(1), Launch = Of(0), IdlePower = Of(2), MaxPower = Of(8), ComputePower = Of(3), MemoryPower = Of(3),
    };

    private static ModelOutline Llama { get; } = PublishedModel.Named("llama-3.2-1b").Outline(QuantizationMix.All.First(m => m.Name == "f16"));

    [Fact]
    public void Reading_weights_is_shared_by_rows_and_arithmetic_is_not()
    {
        var reading = DecodeCost.Of(Device(1e15, 10e9), Llama);
        Assert.InRange(reading.At(16, 64).Energy / reading.At(1, 64).Energy, 1, 1.1);
        Assert.Equal(8, Waves.Choose(new Tally(16), new Likely(0.1), 8, judged: false, rows => reading.At(rows, 64)));
        var arithmetic = DecodeCost.Of(Device(10e9, 1e15), Llama);
        Assert.Equal(16, arithmetic.At(16, 64).Energy / arithmetic.At(1, 64).Energy, 1e-2);
        Assert.Equal(1, Waves.Choose(new Tally(16), new Likely(0.1), 8, judged: false, rows => arithmetic.At(rows, 64)));
    }

    [Fact]
    public void Weights_that_a_cache_keeps_are_not_read_again()
    {
        var device = Device(100e9, 10e9);
        var (memory, cached) = (DecodeCost.Of(device, Llama), DecodeCost.Of(device, Llama, isCached: true));
        // 2.5 GB at 10 GB/s, and 2.5 GFLOP at 100 GFLOP/s.
        Assert.Equal(0.247, memory.At(1, 64).Time.Value, 5e-3);
        Assert.Equal(0.025, cached.At(1, 64).Time.Value, 2e-3);
        Assert.Equal(8, cached.At(8, 64).Time / cached.At(1, 64).Time, 0.1);
    }

    [Fact]
    public void What_passes_took_corrects_what_the_profile_says()
    {
        var cost = DecodeCost.Of(Device(1e15, 10e9), Llama);
        var (one, four) = (cost.At(1, 64).Time.Value, cost.At(4, 64).Time.Value);
        // The first of a width prepares its graph.
        int Width() => Waves.Choose(new Tally(4), new Likely(0.6), 4, judged: false, rows => cost.At(rows, 64));
        Assert.Equal(4, Width());
        cost.Note(1, 100);
        Assert.Equal(one, cost.At(1, 64).Time.Value);
        cost.Note(1, 3 * one);
        Assert.Equal((3 * one, 3 * four), (cost.At(1, 64).Time.Value, cost.At(4, 64).Time.Value));
        // Seen: rows take what as many passes take, whatever the profile says, and so nothing is gained at once.
        foreach (var rows in new[] { 2, 4 })
        {
            cost.Note(rows, 1);
            cost.Note(rows, 3 * rows * one);
        }
        Assert.Equal(12 * one, cost.At(4, 64).Time.Value, 1e-9);
        Assert.Equal(1, Width());
    }

    private sealed class Likely(double end) : IStoppingPolicy
    {
        public string Name => "likely";

        public string? Stop(Tally tally) => "it may";

        public double EndsWith(Tally tally, int further) => end;
    }
}
