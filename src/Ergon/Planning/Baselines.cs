namespace Ergon.Planning;

/// <summary>Searches to compare <see cref="Pgsam"/> with, all in evaluations of the same <see cref="PlanState"/>.</summary>
internal static class Baselines
{
    private const int Population = 100;

    /// <summary>Every plan. Only for small problems.</summary>
    public static SearchResult Exhaustive(PlanProblem problem)
    {
        var (state, archive) = (new PlanState(problem), new PlanArchive(int.MaxValue / 2));
        var nearest = (Excess: double.MaxValue, Genes: Array.Empty<byte>());
        int Values(int gene) => gene < problem.Places ? problem.Devices : problem.Levels[gene - problem.Places];
        for (var gene = 0; gene < problem.Genes; gene++)
            state.Set(gene, 0);
        for (var count = 1; ; count++)
        {
            // Sums must not drift over a million steps.
            if (count % 1024 == 0)
                state.Load([.. state.Genes]);
            var score = state.Score();
            archive.Add(score, state.Genes);
            if (score.Excess < nearest.Excess)
                nearest = (score.Excess, [.. state.Genes]);
            var gene = 0;
            for (; gene < problem.Genes && state.Genes[gene] == Values(gene) - 1; gene++)
                state.Set(gene, 0);
            if (gene == problem.Genes)
                break;
            state.Set(gene, (byte)(state.Genes[gene] + 1));
        }
        return Result(archive, nearest.Genes, state.Evaluations);
    }

    /// <summary>Drawn plans: every other one unit by unit, the rest in runs of units.</summary>
    public static SearchResult RandomSearch(PlanProblem problem, IEnumerable<byte[]> seeds, int evaluations, int seed)
    {
        var (random, state, archive) = (new Random(seed), new PlanState(problem), new PlanArchive());
        var nearest = (Excess: double.MaxValue, Genes: Array.Empty<byte>());
        foreach (var genes in seeds.Concat(Enumerable.Repeat(0, evaluations).Select((_, i) => Drawn(problem, random, runs: i % 2 == 0))).Take(evaluations))
        {
            state.Load(genes);
            var score = state.Score();
            archive.Add(score, genes);
            if (score.Excess < nearest.Excess)
                nearest = (score.Excess, genes);
        }
        return Result(archive, nearest.Genes, state.Evaluations);
    }

    /// <summary>NSGA-II (Deb et al., IEEE TEVC 2002): ranks by domination, limits first, crowding distance, binary tournaments, one- and two-point crossover, flips.</summary>
    public static SearchResult Nsga2(PlanProblem problem, IEnumerable<byte[]> seeds, int evaluations, int seed)
    {
        var (random, state, archive) = (new Random(seed), new PlanState(problem), new PlanArchive());
        var parents = seeds.Take(evaluations).Select(Judge).ToList();
        while (parents.Count < Population && state.Evaluations < evaluations)
            parents.Add(Judge(Drawn(problem, random, runs: parents.Count % 2 == 0)));
        var (ranks, crowding) = Rank(parents);
        while (state.Evaluations < evaluations)
        {
            var children = new List<(PlanScore Score, byte[] Genes)>();
            while (children.Count < Population && state.Evaluations < evaluations)
                children.Add(Judge(Child(Tournament(), Tournament())));
            var all = parents.Concat(children).ToList();
            (ranks, crowding) = Rank(all);
            var kept = Enumerable.Range(0, all.Count).OrderBy(i => ranks[i]).ThenByDescending(i => crowding[i]).Take(Population).ToArray();
            (parents, ranks, crowding) = ([.. kept.Select(i => all[i])], [.. kept.Select(i => ranks[i])], [.. kept.Select(i => crowding[i])]);
        }
        return Result(archive, parents.MinBy(p => p.Score.Excess).Genes, state.Evaluations);

        (PlanScore Score, byte[] Genes) Judge(byte[] genes)
        {
            state.Load(genes);
            var score = state.Score();
            archive.Add(score, genes);
            return (score, genes);
        }

        byte[] Tournament()
        {
            var (a, b) = (random.Next(parents.Count), random.Next(parents.Count));
            return parents[ranks[a] < ranks[b] || (ranks[a] == ranks[b] && crowding[a] > crowding[b]) ? a : b].Genes;
        }

        byte[] Child(byte[] a, byte[] b)
        {
            byte[] child = [.. a];
            var (from, end) = (random.Next(problem.Genes), random.Next(problem.Genes) + 1);
            if (random.Next(10) < 9)
                b.AsSpan(Math.Min(from, end), Math.Abs(end - from)).CopyTo(child.AsSpan(Math.Min(from, end)));
            for (var gene = 0; gene < child.Length; gene++)
            {
                if (random.NextDouble() < 1.0 / child.Length)
                    child[gene] = (byte)random.Next(gene < problem.Places ? problem.Devices : problem.Levels[gene - problem.Places]);
            }
            return child;
        }
    }

    // Feasible before infeasible, less excess before more, then domination.
    private static bool Beats(in PlanScore a, in PlanScore b) =>
        a.IsFeasible && b.IsFeasible ? a.Dominates(b) : a.Excess < b.Excess;

    private static (int[] Ranks, double[] Crowding) Rank(List<(PlanScore Score, byte[] Genes)> plans)
    {
        var (ranks, crowding) = (new int[plans.Count], new double[plans.Count]);
        var left = Enumerable.Range(0, plans.Count).ToList();
        for (var rank = 0; left.Count > 0; rank++)
        {
            var best = left.Where(i => !left.Any(j => Beats(plans[j].Score, plans[i].Score))).ToArray();
            var scores = best.Select(i => plans[i].Score).ToArray();
            double[] ranges = [.. Enumerable.Range(0, PlanScore.Count).Select(o => scores.Max(s => s[o]) - scores.Min(s => s[o]))];
            foreach (var (i, distance) in best.Zip(PlanArchive.Crowding(scores, ranges)))
                (ranks[i], crowding[i]) = (rank, distance);
            left.RemoveAll(best.Contains);
        }
        return (ranks, crowding);
    }

    private static byte[] Drawn(PlanProblem problem, Random random, bool runs)
    {
        var genes = new byte[problem.Genes];
        for (var place = 0; place < problem.Places; place++)
            genes[place] = runs && place > 0 && random.Next(Math.Max(2, problem.Units / 3)) > 0 ? genes[place - 1] : (byte)random.Next(problem.Devices);
        for (var d = 0; d < problem.Devices; d++)
            genes[problem.Places + d] = (byte)random.Next(problem.Levels[d]);
        return genes;
    }

    private static SearchResult Result(PlanArchive archive, byte[] nearest, int evaluations) =>
        new([.. archive.Members.OrderBy(m => m.Score.Joules)], archive.Members.Count > 0 ? null : nearest, evaluations);
}
