using System.Globalization;
using Ergon.Planning;

namespace Ergon.Cli.Bench;

/// <summary><c>ergon dev plan-bench</c>: the planner against every plan, the exact chains, other searches, the clock, impossible problems and wrong profiles. All problems are drawn, so all figures are simulated.</summary>
internal static class PlanBench
{
    private const int LargeLayers = 80, LargeDevices = 8;

    /// <summary>The share of exhaustive search's hypervolume, one number a problem.</summary>
    public static IReadOnlyList<double> AgainstExhaustive(int problems, int mostDevices, int mostUnits)
    {
        var random = new Random(1);
        var shares = new List<double>();
        while (shares.Count < problems)
        {
            // Two phases have twice the places of one.
            var phases = random.Next(4) == 0 ? 2 : 1;
            var problem = RandomProblem.Of(random, Math.Max(1, random.Next(3, mostUnits + 1) / phases - 2), random.Next(2, mostDevices + 1), phases: phases);
            var all = Baselines.Exhaustive(problem);
            if (all.Front.Count == 0)
                continue;
            var volumes = Hypervolume.Of(Scores(Pgsam.Run(problem, PlanSeeds.Of(problem), new())), Scores(all));
            shares.Add(volumes[0] / volumes[1]);
        }
        return shares;
    }

    /// <summary>A search's best energy, latency and their product over that of the exact chains.</summary>
    public sealed record ChainRatios(double[] Seeded, double[] WithoutChains, double[] Unseeded);

    /// <summary>On problems of so many layers cut in halves; limits are memories alone.</summary>
    public static IReadOnlyList<ChainRatios> AgainstChains(int problems, int layers, int devices)
    {
        var random = new Random(2);
        var ratios = new List<ChainRatios>();
        while (ratios.Count < problems)
        {
            // Every other one with memories that bind.
            var problem = RandomProblem.Of(random, layers, devices, Granularity.HalfLayer, tight: ratios.Count % 2 == 1);
            if (problem.Workload.InFlight > 1 || problem.Limits != new PlanLimits())
                continue;
            // More prices than the seeds have: the hull's corners for the product.
            var chains = new ChainOptimum(problem);
            var exact = ((Chain?[])[chains.Cheapest(), chains.Fastest()]).OfType<Chain>().Concat(chains.Between(64)).Select(c => Score(problem, [.. c.Devices, .. problem.Levels.Select(l => (byte)(l - 1))])).Where(s => s.IsFeasible).ToArray();
            if (exact.Length == 0)
                continue;
            double[] Ratio(IEnumerable<byte[]> seeds) => Scores(Pgsam.Run(problem, seeds, new())) is { Count: > 0 } found
                ? [.. Objectives.Select(o => found.Min(o) / exact.Min(o))] : [double.PositiveInfinity, double.PositiveInfinity, double.PositiveInfinity];
            var alone = PlanSeeds.Alone(problem).Append(PlanSeeds.Greedy(problem, PlanPolicy.Energy)).Append(PlanSeeds.Greedy(problem, PlanPolicy.Latency)).ToArray();
            ratios.Add(new(Ratio(PlanSeeds.Of(problem)), Ratio(alone), Ratio([])));
        }
        return ratios;
    }

    /// <summary>Mean hypervolumes, scaled by the union's, and how often the chosen plan was worse than greedy's.</summary>
    public sealed record Contest(int Problems, double Pgsam, double Nsga2, double Random, double Seeds, double PgsamUnseeded, double Nsga2Unseeded, int Wins, int WorseThanGreedy);

    /// <summary>All given the same seeds and evaluations.</summary>
    public static Contest AgainstOthers(int problems, int evaluations)
    {
        var random = new Random(3);
        var volumes = new List<double[]>();
        var worse = 0;
        while (volumes.Count < problems)
        {
            var problem = RandomProblem.Of(random, random.Next(8, 49), random.Next(2, 9), random.Next(2) == 0 ? Granularity.Layer : Granularity.HalfLayer, random.Next(1, 3));
            var (seeds, seed) = (PlanSeeds.Of(problem).ToArray(), volumes.Count);
            var options = new SearchOptions { Seed = seed, Evaluations = evaluations, Stagnation = evaluations };
            var pgsam = Scores(Pgsam.Run(problem, seeds, options));
            if (pgsam.Count == 0)
                continue;
            var all = Hypervolume.Of(pgsam, Scores(Baselines.Nsga2(problem, seeds, evaluations, seed)), Scores(Baselines.RandomSearch(problem, seeds, evaluations, seed)),
                Scores(Baselines.RandomSearch(problem, seeds, seeds.Length, seed)), Scores(Pgsam.Run(problem, [], options)), Scores(Baselines.Nsga2(problem, [], evaluations, seed)));
            volumes.Add([.. all.Select(v => v / all.Max())]);
            foreach (var (policy, objective) in ((PlanPolicy, Func<PlanScore, double>)[])[(PlanPolicy.Energy, s => s.Joules), (PlanPolicy.Latency, s => s.Seconds), (PlanPolicy.Edp, s => s.Joules * s.Seconds)])
            {
                var greedy = Score(problem, PlanSeeds.Greedy(problem, policy));
                if (greedy.IsFeasible && objective(pgsam[Planner.Choose(pgsam, policy)]) > objective(greedy) * (1 + 1e-9))
                    worse++;
            }
        }
        double Mean(int i) => volumes.Average(v => v[i]);
        return new(problems, Mean(0), Mean(1), Mean(2), Mean(3), Mean(4), Mean(5), volumes.Count(v => v[0] >= v[1] && v[0] >= v[2]), worse);
    }

    /// <summary>Milliseconds of processor time of planning, tables, seeds, search and report together, at 80 layers in halves on 8 devices, without a budget.</summary>
    public static IReadOnlyList<double> Times(int problems, int phases)
    {
        var random = new Random(4);
        var times = new List<double>();
        for (var i = 0; i < problems; i++)
        {
            var drawn = RandomProblem.Of(random, LargeLayers, LargeDevices, Granularity.HalfLayer, phases);
            var began = Environment.CpuUsage.TotalTime;
            Planner.Plan(new PlanProblem(drawn.Model, drawn.Profiles, drawn.Workload, drawn.Limits, drawn.Granularity), PlanPolicy.Energy);
            times.Add((Environment.CpuUsage.TotalTime - began).TotalMilliseconds);
        }
        return times;
    }

    /// <summary>What became of drawn problems, many of them impossible.</summary>
    /// <param name="Problems">How many.</param>
    /// <param name="Plans">Plans returned.</param>
    /// <param name="Infeasible">Of them, those that pass a limit when scored anew.</param>
    /// <param name="Impossible">Problems without a plan.</param>
    /// <param name="Unnamed">Of them, those without a limit named.</param>
    /// <param name="Wrong">Of those looked at in full, problems that do have a plan.</param>
    /// <param name="Checked">How many were looked at in full.</param>
    public sealed record Feasibility(int Problems, long Plans, int Infeasible, int Impossible, int Unnamed, int Wrong, int Checked);

    /// <summary>Each with a search of few evaluations; every so many impossible ones are searched in full.</summary>
    public static Feasibility Impossible(int problems, int checkEvery)
    {
        var random = new Random(5);
        var (plans, infeasible, impossible, unnamed, wrong, looked) = (0L, 0, 0, 0, 0, 0);
        for (var i = 0; i < problems; i++)
        {
            var problem = RandomProblem.Of(random, random.Next(1, 6), random.Next(1, 4));
            var outcome = Planner.Plan(problem, PlanPolicy.Balanced, new() { Seed = i, Evaluations = 500 });
            plans += outcome.Front.Count;
            infeasible += outcome.Front.Count(p => p.Binding is not null || !Score(problem, p.Genes).IsFeasible);
            if (outcome.Front.Count > 0)
                continue;
            unnamed += outcome.Reason.Contains("memory:", StringComparison.Ordinal) || outcome.Reason.Contains("temperature:", StringComparison.Ordinal)
                || outcome.Reason.Contains("power cap:", StringComparison.Ordinal) || outcome.Reason.Contains("latency:", StringComparison.Ordinal) ? 0 : 1;
            if (impossible++ % checkEvery != 0)
                continue;
            looked++;
            wrong += Baselines.Exhaustive(problem).Front.Count > 0 ? 1 : 0;
        }
        return new(problems, plans, infeasible, impossible, unnamed, wrong, looked);
    }

    /// <summary>How much more the plan made with wrong profiles costs than the plan made with the true ones, for energy, latency and product; and plans that the true devices cannot hold.</summary>
    public static (double[] Mean, double[] Worst, int Infeasible) Regret(int seeds, double noise)
    {
        var random = new Random(6);
        var regrets = new List<double[]>();
        var infeasible = 0;
        while (regrets.Count < seeds)
        {
            var problem = RandomProblem.Of(random, random.Next(8, 33), random.Next(2, 6), phases: random.Next(1, 3), tight: false);
            var truth = Scores(Pgsam.Run(problem, PlanSeeds.Of(problem), new()));
            var believed = new PlanProblem(problem.Model, [.. problem.Profiles.Select(d => RandomProblem.Noisy(d, random, noise))], problem.Workload, problem.Limits, problem.Granularity);
            var plans = Pgsam.Run(believed, PlanSeeds.Of(believed), new()).Front;
            if (truth.Count == 0 || plans.Count == 0)
                continue;
            var real = Policies.Select(p => Score(problem, plans[Planner.Choose([.. plans.Select(f => f.Score)], p)].Genes)).ToArray();
            infeasible += real.Count(s => !s.IsFeasible);
            regrets.Add([.. Objectives.Select((o, i) => Math.Max(0, (o(real[i]) / truth.Min(o)) - 1))]);
        }
        return ([.. Objectives.Select((_, i) => regrets.Average(r => r[i]))], [.. Objectives.Select((_, i) => regrets.Max(r => r[i]))], infeasible);
    }

    public static Verb CreateVerb(Terminal terminal)
    {
        var quick = new System.CommandLine.Option<bool>("--quick") { Description = "A tenth of the problems" };
        return new Verb("plan-bench", "Measure the planner on drawn problems", "ergon dev plan-bench --quick") { quick }.Does(parsed =>
        {
            var part = parsed.GetValue(quick) ? 10 : 1;
            void Line(string name, bool met, FormattableString text) => terminal.Out.WriteLine($"{name,-22}{(met ? "met     " : "MISSED  ")}{text.ToString(CultureInfo.InvariantCulture)}");

            var shares = AgainstExhaustive(100 / part, 4, 8);
            Line("exhaustive", shares.Average() >= 0.99 && shares.Min() >= 0.95, $"hypervolume over exhaustive search's: mean {shares.Average():F4} (bar 0.99), worst {shares.Min():F4} (bar 0.95), {shares.Count} problems, at most 4 devices x 8 units");

            var chains = AgainstChains(20 / part, LargeLayers, LargeDevices);
            var worst = chains.Max(c => c.Seeded.Max());
            Line("exact chains", worst <= 1.01, $"{LargeLayers} layers x {LargeDevices} devices over the exact optimum, worst of {chains.Count}: {worst:F4} (bar 1.01); without chains as seeds {Median(chains, c => c.WithoutChains):F3} in the median, {chains.Max(c => c.WithoutChains.Max()):F3} worst; unseeded {Median(chains, c => c.Unseeded):F3}, {chains.Max(c => c.Unseeded.Max()):F3}");

            var contest = AgainstOthers(50 / part, 20_000);
            Line("other searches", contest.Pgsam > contest.Nsga2 && contest.Pgsam > contest.Random && contest.WorseThanGreedy == 0,
                $"mean hypervolume, 20000 evaluations, {contest.Problems} problems: PGSAM {contest.Pgsam:F4}, NSGA-II {contest.Nsga2:F4}, random {contest.Random:F4}; seeds alone {contest.Seeds:F4}; unseeded PGSAM {contest.PgsamUnseeded:F4}, NSGA-II {contest.Nsga2Unseeded:F4}; first in {contest.Wins}; worse than greedy {contest.WorseThanGreedy}");

            // What runs for the first time is compiled first.
            Times(6, 2);
            var (one, two) = (Times(20 / part, 1), Times(20 / part, 2));
            Line("planning time", one.Concat(two).Max() <= 200, $"{LargeLayers} layers x {LargeDevices} devices, ms of one core: decode median {one.Order().ElementAt(one.Count / 2):F0}, worst {one.Max():F0}; with prefill median {two.Order().ElementAt(two.Count / 2):F0}, worst {two.Max():F0} (bar 200)");

            var f = Impossible(100_000 / part, 20);
            Line("feasibility", f is { Infeasible: 0, Unnamed: 0, Wrong: 0 }, $"{f.Problems} problems, {f.Plans} plans, {f.Infeasible} infeasible; {f.Impossible} problems impossible, {f.Unnamed} without a named limit; {f.Wrong} of {f.Checked} searched in full have a plan after all");

            var (mean, most, lost) = Regret(200 / part, 0.3);
            Line("regret", mean.Max() <= 0.1, $"profiles off by up to 30 %, mean over {200 / part} seeds: energy {100 * mean[0]:F1} %, latency {100 * mean[1]:F1} %, product {100 * mean[2]:F1} % (bar 10 %); worst {100 * most[0]:F0}, {100 * most[1]:F0}, {100 * most[2]:F0} %; {lost} plans beyond the true devices' limits");
            return Exit.Ok;
        });
    }

    private static readonly PlanPolicy[] Policies = [PlanPolicy.Energy, PlanPolicy.Latency, PlanPolicy.Edp];

    private static readonly Func<PlanScore, double>[] Objectives = [s => s.Joules, s => s.Seconds, s => s.Joules * s.Seconds];

    private static double Median(IReadOnlyList<ChainRatios> ratios, Func<ChainRatios, double[]> of) => ratios.SelectMany(of).Order().ElementAt(3 * ratios.Count / 2);

    private static IReadOnlyList<PlanScore> Scores(SearchResult result) => [.. result.Front.Select(f => f.Score)];

    private static PlanScore Score(PlanProblem problem, byte[] genes)
    {
        var state = new PlanState(problem);
        state.Load(genes);
        return state.Score();
    }
}
