using Ergon.Cli.Bench;
using Ergon.Planning;

namespace Ergon.Tests.Planning;

public sealed class PlannerTests
{
    private static PlanScore Score(double joules, double seconds, double unused = 0.5) => new(joules, seconds, unused, 0);

    [Fact]
    public void The_front_of_small_problems_is_that_of_all_plans()
    {
        var shares = PlanBench.AgainstExhaustive(12, 3, 6);
        Assert.All(shares, s => Assert.InRange(s, 0.95, 1 + 1e-6));
        Assert.True(shares.Average() >= 0.99);
    }

    [Fact]
    public void Chains_of_80_layers_on_8_devices_are_at_most_a_percent_from_the_exact_optimum() =>
        Assert.All(PlanBench.AgainstChains(2, 80, 8), c => Assert.All(c.Seeded, ratio => Assert.InRange(ratio, 0, 1.01)));

    [Fact]
    public void The_search_gains_on_its_seeds_more_than_chance_does_and_loses_to_greedy_nowhere()
    {
        var contest = PlanBench.AgainstOthers(8, 5_000);
        Assert.True(contest.Pgsam > contest.Random && contest.Pgsam > contest.Nsga2, contest.ToString());
        Assert.Equal(0, contest.WorseThanGreedy);
        Assert.True(contest.Seeds < contest.Pgsam);
    }

    [Fact]
    public void Plans_keep_every_limit_and_impossible_problems_say_which_one_binds()
    {
        var f = PlanBench.Impossible(1_500, 5);
        Assert.True(f is { Infeasible: 0, Unnamed: 0, Wrong: 0 }, f.ToString());
        // Neither side of the claim is empty.
        Assert.True(f.Plans > 1_000 && f.Impossible > 100, f.ToString());
    }

    [Fact]
    public void Profiles_that_are_off_by_thirty_percent_cost_a_tenth_in_the_mean_at_most() =>
        Assert.All(PlanBench.Regret(10, 0.3).Mean, regret => Assert.InRange(regret, 0, 0.1));

    [Fact]
    public void The_exact_chain_is_the_best_of_all_chains()
    {
        var random = new Random(8);
        for (var i = 0; i < 30; i++)
        {
            // Up to eight units, so that vectors of four and eight numbers are full at times.
            var problem = RandomProblem.Of(random, random.Next(1, 7), 3);
            var chains = new ChainOptimum(problem);
            var all = Every(problem).Where(c => IsChain(c)).ToArray();
            foreach (var (perJoule, perSecond) in ((double, double)[])[(0, 1), (1, 0), (1, 20)])
            {
                // Prices of the best plan against those of every chain that a device's memory holds, each chain solved alone.
                var best = chains.Solve(7, perJoule, perSecond);
                var least = all.Select(c => chains.Of(c)).Where(c => chains.Holds(c.Devices)).Select(c => (perJoule * c.Joules) + (perSecond * c.Seconds)).DefaultIfEmpty(double.NaN).Min();
                Assert.Equal(least, best is null ? double.NaN : (perJoule * best.Joules) + (perSecond * best.Seconds), 1e-9 * (double.IsNaN(least) ? 0 : least));
            }
            var cheapest = chains.Cheapest();
            var cheapestOfAll = all.Select(c => chains.Of(c)).Where(c => chains.Holds(c.Devices)).Select(Energy).DefaultIfEmpty(double.NaN).Min();
            Assert.Equal(cheapestOfAll, cheapest is null ? double.NaN : Energy(cheapest), 1e-9 * (double.IsNaN(cheapestOfAll) ? 0 : cheapestOfAll));

            double Energy(Chain c) => c.Joules + (chains.Power(c.Devices.Aggregate(0u, (set, d) => set | (1u << d))) * c.Seconds);
        }
    }

    [Fact]
    public void A_tie_in_one_objective_leaves_the_amount_of_domination_to_the_others()
    {
        Assert.Equal(0.25, Score(1, 1).Amount(Score(2, 1), [4, 8, 1]), 12);
        Assert.Equal(Math.Sqrt(0.25 * 0.5), Score(1, 1).Amount(Score(2, 5), [4, 8, 1]), 12);
    }

    [Fact]
    public void Moves_go_to_one_phase_or_to_both_alike_and_can_be_taken_back()
    {
        var random = new Random(21);
        var problem = RandomProblem.Of(random, 12, 4, Granularity.HalfLayer, phases: 2);
        var (state, archive) = (new PlanState(problem), new PlanArchive());
        foreach (var seed in PlanSeeds.Of(problem))
        {
            state.Load(seed);
            archive.Add(state.Score() with { Excess = 0 }, seed);
        }
        var moves = new PlanMoves(problem, state, random);
        var (alike, single) = (0, 0);
        for (var i = 0; i < 5_000; i++)
        {
            byte[] before = [.. state.Genes];
            moves.Propose(archive);
            bool Changed(int gene) => state.Genes[gene] != before[gene];
            if (Enumerable.Range(0, problem.Units).Any(Changed) && Enumerable.Range(0, problem.Units).All(u => Changed(u) == Changed(u + problem.Units)))
                alike++;
            else if (Enumerable.Range(0, problem.Units).Any(Changed) != Enumerable.Range(problem.Units, problem.Units).Any(Changed))
                single++;
            if (i % 3 == 0)
                continue;
            moves.Undo();
            Assert.Equal(before, state.Genes.ToArray());
        }
        Assert.InRange(alike, 500, 4_000);
        Assert.InRange(single, 500, 4_000);
    }

    [Fact]
    public void Momentum_leaves_every_kind_of_change_and_every_device_a_share()
    {
        var random = new Random(22);
        var problem = RandomProblem.Of(random, 12, 4, Granularity.HalfLayer, phases: 1);
        var (state, archive) = (new PlanState(problem), new PlanArchive());
        var moves = new PlanMoves(problem, state, random);
        // Only what puts units to device 2 is rewarded: it comes to be proposed more often, and the others never stop.
        int[] Proposed()
        {
            var counts = new int[problem.Devices];
            for (var i = 0; i < 4_000; i++)
            {
                byte[] before = [.. state.Genes];
                moves.Propose(archive);
                var to = Enumerable.Range(0, problem.Places).Where(g => state.Genes[g] != before[g]).Select(g => (int)state.Genes[g]).Distinct().ToArray();
                if (to is [var device])
                    counts[device]++;
                if (to is [2])
                    moves.Learn();
                moves.Undo();
            }
            return counts;
        }
        Proposed();
        // The start is all on device 0, so only the others can be put anywhere.
        var counts = Proposed();
        Assert.True(counts[2] > 2 * counts[1] && counts[2] > 2 * counts[3], string.Join(' ', counts));
        Assert.All([counts[1], counts[3]], c => Assert.True(c > 4_000 * 0.1 / problem.Devices * 0.2, string.Join(' ', counts)));
    }

    [Fact]
    public void The_same_seed_gives_the_same_plans()
    {
        var problems = Enumerable.Range(0, 5).Select(i => RandomProblem.Of(new Random(i), 12, 4, Granularity.HalfLayer, phases: 2)).ToArray();
        string Genes(int seed) => string.Join(' ', problems.SelectMany(p => Pgsam.Run(p, [], new() { Seed = seed, Evaluations = 2_000 }).Front.Select(f => Convert.ToHexString(f.Genes))));
        Assert.Equal(Genes(7), Genes(7));
        Assert.NotEqual(Genes(7), Genes(8));
    }

    [Fact]
    public void A_budget_ends_the_search_with_what_it_has()
    {
        var problem = RandomProblem.Of(new Random(3), 12, 4, Granularity.HalfLayer, phases: 2, tight: false);
        var clock = new SteppingTime();
        var outcome = Planner.Plan(problem, PlanPolicy.Energy, new() { Budget = TimeSpan.FromSeconds(30), Clock = clock });
        Assert.NotNull(outcome.Chosen);
        Assert.True(outcome.Evaluations < 5_000, outcome.Evaluations.ToString(System.Globalization.CultureInfo.InvariantCulture));
    }

    [Fact]
    public void Each_policy_takes_its_plan_of_the_front()
    {
        // Products 100, 80, 60, 65; squared distances of the shares of the ranges 1, 0.16, 0.64, 1.
        PlanScore[] front = [Score(10, 10), Score(20, 4), Score(50, 1.2), Score(65, 1)];
        PlanPolicy[] policies = [PlanPolicy.Energy, PlanPolicy.Balanced, PlanPolicy.Edp, PlanPolicy.Latency];
        Assert.Equal([0, 1, 2, 3], policies.Select(p => Planner.Choose(front, p)));
    }

    [Fact]
    public void Hypervolume_is_the_volume_of_boxes()
    {
        // Ranges 0 to 1 in each: the ends count to 1.1. Two plans and what each alone leaves out.
        PlanScore[] both = [new(0, 1, 0, 0), new(1, 0, 1, 0)];
        var volumes = Hypervolume.Of(both, [both[0]], [both[1]]);
        Assert.Equal(1.1 * 0.1 * 1.1, volumes[1], 9);
        Assert.Equal(0.1 * 1.1 * 0.1, volumes[2], 9);
        Assert.Equal(volumes[1] + volumes[2] - (0.1 * 0.1 * 0.1), volumes[0], 9);
    }

    private static IEnumerable<byte[]> Every(PlanProblem problem)
    {
        var chain = new byte[problem.Units];
        while (true)
        {
            yield return [.. chain];
            var unit = 0;
            for (; unit < chain.Length && chain[unit] == problem.Devices - 1; unit++)
                chain[unit] = 0;
            if (unit == chain.Length)
                yield break;
            chain[unit]++;
        }
    }

    private static bool IsChain(byte[] devices) => devices.Where((d, i) => i == 0 || devices[i - 1] != d).GroupBy(d => d).All(g => g.Count() == 1);

    // Every look at the clock takes a second.
    private sealed class SteppingTime : TimeProvider
    {
        private long _now;

        public override long TimestampFrequency => 1;

        public override long GetTimestamp() => _now++;
    }
}
