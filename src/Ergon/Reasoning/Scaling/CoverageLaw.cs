namespace Ergon.Reasoning.Scaling;

/// <summary>Outcomes of repeated sampling with one model.</summary>
/// <param name="Parameters">N, of the model.</param>
/// <param name="Tokens">T, of a draw on average.</param>
/// <param name="Tasks">For each task, whether each draw was right, in the order of drawing.</param>
internal sealed record SampledRun(double Parameters, double Tokens, IReadOnlyList<bool[]> Tasks)
{
    /// <summary>Mean unbiased pass@k over the tasks, from their first <paramref name="draws"/> draws.</summary>
    /// <exception cref="ErgonException">A task has fewer draws.</exception>
    public double Coverage(int k, int draws) => Tasks.Average(t => PassAtK.Estimate(draws, Right(t, draws), k));

    /// <summary>[draws + 1]: how many tasks have so many right ones among their first <paramref name="draws"/> draws.</summary>
    /// <exception cref="ErgonException">A task has fewer draws.</exception>
    public double[] Counts(int draws)
    {
        var counts = new double[draws + 1];
        foreach (var task in Tasks)
            counts[Right(task, draws)]++;
        return counts;
    }

    /// <summary>[draws + 1]: the same in the mean over all ways to take so many of each task's draws (hypergeometric).</summary>
    /// <exception cref="ErgonException">A task has fewer draws.</exception>
    public double[] ExpectedCounts(int draws)
    {
        var counts = new double[draws + 1];
        foreach (var task in Tasks)
        {
            var (all, right) = (task.Length, Right(task, Math.Max(draws, task.Length)));
            for (var c = Math.Max(0, draws - all + right); c <= Math.Min(draws, right); c++)
                counts[c] += Math.Exp(LogChoose(right, c) + LogChoose(all - right, draws - c) - LogChoose(all, draws));
        }
        return counts;
    }

    private static double LogChoose(int n, int k) => SpecialFunctions.LogGamma(n + 1) - SpecialFunctions.LogGamma(k + 1) - SpecialFunctions.LogGamma(n - k + 1);

    /// <summary>How many of a task's first draws are right.</summary>
    public static int Right(bool[] task, int draws) => task.Length >= draws ? task.AsSpan(..draws).Count(true)
        : throw new ErgonException($"A task has {task.Length} draws, but {draws} are needed; sample each as often.");
}

/// <summary>How the share of tasks that some draw solves grows with the draws.</summary>
internal enum CoverageLaw
{
    /// <summary>QEIL v1: C = 1 - exp(-alpha N^bN S^bS T^d); an exponent of what does not vary over the runs is 0. Parameters: ln alpha, bN, bS, d.</summary>
    Qeil,

    /// <summary>Brown et al. 2024: C = exp(a S^b), one model. Parameters: a, b.</summary>
    Brown,

    /// <summary>Each task is solved by a draw with a probability of its own, from a beta distribution: C = 1 - B(p, q+S) / B(p, q), one model. Parameters: p, q.</summary>
    BetaBinomial,

    /// <summary>Each task has a probability of its own, from a distribution of any form (<see cref="ChanceMixture"/>), one model. Parameters: the share of tasks at each of its chances. Ergon's own.</summary>
    Mixture,
}

/// <summary>A fitted law.</summary>
/// <param name="Law">Which.</param>
/// <param name="Parameters">As the law names them.</param>
internal sealed record CoverageFit(CoverageLaw Law, IReadOnlyList<double> Parameters)
{
    /// <summary>The parameters for people: of the mixture, how many tasks are how hard.</summary>
    public string Description => Law == CoverageLaw.Mixture
        ? FormattableString.Invariant($"{Share(0, 0.01):P0} of problems solved by less than 1 % of draws, {Share(0.01, 0.1):P0} by 1 to 10 %, {Share(0.1, 0.9):P0} by 10 to 90 %, {Share(0.9, 1):P0} by more")
        : string.Join(" ", Parameters.Select(p => FormattableString.Invariant($"{p:G3}")));

    private double Share(double from, double to) => ChanceMixture.Share(Parameters, from, to);

    /// <summary>The coverage of S draws that the law gives.</summary>
    public double At(double parameters, double samples, double tokens) => Law switch
    {
        CoverageLaw.Qeil => 1 - Math.Exp(-Math.Exp(Parameters[0] + (Parameters[1] * Math.Log(parameters)) + (Parameters[2] * Math.Log(samples)) + (Parameters[3] * Math.Log(tokens)))),
        CoverageLaw.Brown => Math.Exp(Parameters[0] * Math.Pow(samples, Parameters[1])),
        CoverageLaw.Mixture => ChanceMixture.Coverage(Parameters, samples),
        _ => 1 - Math.Exp(SpecialFunctions.LogBeta(Parameters[0], Parameters[1] + samples) - SpecialFunctions.LogBeta(Parameters[0], Parameters[1])),
    };

    /// <summary>Fits a law to the first draws of each task: least squares on the coverage of 1, 2, 4, ... of them, for the beta-binomial and the mixture the likelihood of the counts.</summary>
    /// <param name="law">Which.</param>
    /// <param name="runs">One, or several for QEIL's.</param>
    /// <param name="draws">How many first draws are seen, 2 or more.</param>
    /// <exception cref="ErgonException">There are no tasks, too few draws, or several runs for a law of one.</exception>
    public static CoverageFit Fit(CoverageLaw law, IReadOnlyList<SampledRun> runs, int draws)
    {
        if (runs.Count == 0 || runs.Any(r => r.Tasks.Count == 0))
            throw new ErgonException("There are no tasks to fit a law to; sample some.");
        if (draws < 2)
            throw new ErgonException($"The law is fitted to {draws} draws a task, but needs 2 or more.");
        if (law != CoverageLaw.Qeil && runs.Count > 1)
            throw new ErgonException($"The law {law} is of one model, but there are {runs.Count} runs; fit each by itself.");
        if (law == CoverageLaw.BetaBinomial)
            return new CoverageFit(law, FitBeta(runs[0].Counts(draws)));
        if (law == CoverageLaw.Mixture)
            return new CoverageFit(law, ChanceMixture.Fit(runs[0].Counts(draws)));
        return OfPoints(law, [.. runs.SelectMany(r => Powers(draws).Select(k => (r.Parameters, (double)k, r.Tokens, r.Coverage(k, draws))))]);
    }

    /// <summary>
    /// Fits a law to the lower part of one model's coverage curve, each point of which all draws estimate: least squares on 1, 2, 4, ... draws, for the
    /// mixture the likelihood of the counts that so many of a task's draws have in the mean, which say as much as that part of the curve does.
    /// </summary>
    /// <param name="law">Which.</param>
    /// <param name="run">The model's draws.</param>
    /// <param name="most">The highest number of draws whose coverage is seen, 4 or more.</param>
    /// <exception cref="ErgonException">There are no tasks, or too few points.</exception>
    public static CoverageFit OfCurve(CoverageLaw law, SampledRun run, int most)
    {
        if (run.Tasks.Count == 0 || most < 4)
            throw new ErgonException($"A curve of {most} draws of {run.Tasks.Count} tasks has too few points for a law; sample more.");
        if (law == CoverageLaw.Mixture)
            return new CoverageFit(law, ChanceMixture.Fit(run.ExpectedCounts(most)));
        return OfPoints(law, [.. Powers(most).Select(k => (run.Parameters, (double)k, run.Tokens, run.Coverage(k, run.Tasks.Min(t => t.Length))))]);
    }

    private static CoverageFit OfPoints(CoverageLaw law, (double N, double S, double T, double C)[] points)
    {
        if (law == CoverageLaw.BetaBinomial)
        {
            var beta = LinearSolver.LeastSquares(x => [.. points.Select(p => new CoverageFit(law, [Math.Exp(Math.Clamp(x[0], -7, 7)), Math.Exp(Math.Clamp(x[1], -7, 7))]).At(p.N, p.S, p.T) - p.C)], [0, 0]);
            return new CoverageFit(law, [Math.Exp(Math.Clamp(beta[0], -7, 7)), Math.Exp(Math.Clamp(beta[1], -7, 7))]);
        }
        if (law == CoverageLaw.Brown)
        {
            var line = PowerLaw.Line([.. points.Select(p => (double[])[1, Math.Log(p.S)])], [.. points.Select(p => Math.Log(-Math.Log(Inside(p.C))))]);
            var brown = LinearSolver.LeastSquares(x => [.. points.Select(p => Math.Exp(-Math.Exp(x[0]) * Math.Pow(p.S, x[1])) - p.C)], line);
            return new CoverageFit(law, [-Math.Exp(brown[0]), brown[1]]);
        }
        bool[] varies = [true, Varies(p => p.N), Varies(p => p.S), Varies(p => p.T)];
        double[][] rows = [.. points.Select(p => ((double[])[1, Math.Log(p.N), Math.Log(p.S), Math.Log(p.T)]).Where((_, i) => varies[i]).ToArray())];
        var start = PowerLaw.Line(rows, [.. points.Select(p => Math.Log(-Math.Log(1 - Inside(p.C))))]);
        var fitted = LinearSolver.LeastSquares(x => [.. rows.Zip(points, (row, p) => 1 - Math.Exp(-Math.Exp(row.Zip(x, (u, v) => u * v).Sum())) - p.C)], start);
        var next = 0;
        return new CoverageFit(law, [.. varies.Select(v => v ? fitted[next++] : 0)]);

        bool Varies(Func<(double N, double S, double T, double C), double> of) => points.Max(of) > points.Min(of) * (1 + 1e-9);
    }

    // 1, 2, 4, ... and the number itself.
    private static IEnumerable<int> Powers(int draws)
    {
        for (var k = 1; k < draws; k *= 2)
            yield return k;
        yield return draws;
    }

    // Where all or no tasks are solved, logarithms end; the least squares that follow do not need them.
    private static double Inside(double coverage) => Math.Clamp(coverage, 1e-4, 1 - 1e-4);

    /// <summary>The beta distribution under which the counts are likeliest: a search over ln p and ln q, halving its steps.</summary>
    private static double[] FitBeta(double[] counts)
    {
        var draws = counts.Length - 1;
        var (p, q) = (0.0, 0.0);
        var best = Likelihood(p, q);
        for (var step = 1.0; step > 1e-4;)
        {
            var improved = false;
            foreach (var (dp, dq) in new[] { (step, 0.0), (-step, 0), (0, step), (0, -step), (step, step), (-step, -step) })
            {
                // Beyond e^7 the distribution is a point to any number of tasks.
                if (Math.Abs(p + dp) > 7 || Math.Abs(q + dq) > 7 || Likelihood(p + dp, q + dq) is var likelihood && likelihood <= best)
                    continue;
                (p, q, best, improved) = (p + dp, q + dq, Likelihood(p + dp, q + dq), true);
            }
            if (!improved)
                step /= 2;
        }
        return [Math.Exp(p), Math.Exp(q)];

        double Likelihood(double lnP, double lnQ)
        {
            var (a, b) = (Math.Exp(lnP), Math.Exp(lnQ));
            var sum = -counts.Sum() * SpecialFunctions.LogBeta(a, b);
            for (var c = 0; c <= draws; c++)
                sum += counts[c] == 0 ? 0 : counts[c] * SpecialFunctions.LogBeta(a + c, b + draws - c);
            return sum;
        }
    }
}
