namespace Ergon.Reasoning.Scaling;

/// <summary>Percentile intervals by drawing the units of a sample anew (Efron 1979). Pure; seeded.</summary>
internal static class Bootstrap
{
    /// <summary>95 % intervals of figures over a sample.</summary>
    /// <param name="units">How many units (tasks, measurements) there are.</param>
    /// <param name="figures">Computes the figures from drawn indices, as many as units; may throw <see cref="ErgonException"/> where the draw determines none.</param>
    /// <param name="replicates">Draws of the whole sample.</param>
    /// <param name="seed">Of them.</param>
    /// <exception cref="ErgonException">More than half of the replicates determine no figures.</exception>
    public static (double Low, double High)[] Intervals(int units, Func<int[], double[]> figures, int replicates = 1000, int seed = 1)
    {
        var random = new Random(seed);
        List<double[]> all = [];
        for (var r = 0; r < replicates; r++)
        {
            int[] drawn = [.. Enumerable.Range(0, units).Select(_ => random.Next(units))];
            try
            {
                all.Add(figures(drawn));
            }
            catch (ErgonException) when (all.Count >= (r / 2) - 10)
            {
                // A draw of one measurement over and over: rare, unless there are few.
            }
        }
        return all.Count <= replicates / 2 ? throw new ErgonException($"{units} units are too few for intervals; measure more.")
            : [.. Enumerable.Range(0, all[0].Length).Select(i =>
            {
                double[] sorted = [.. all.Select(f => f[i]).Order()];
                return (sorted[(int)(0.025 * (sorted.Length - 1))], sorted[(int)Math.Ceiling(0.975 * (sorted.Length - 1))]);
            })];
    }
}

/// <summary>A law fitted to the first draws and asked about more than it saw.</summary>
/// <param name="Fit">The law.</param>
/// <param name="Intervals">Of its parameters, by bootstrap over tasks.</param>
/// <param name="HeldOut">For each run: draws asked about, coverage measured, coverage predicted with its interval.</param>
internal sealed record CoverageReport(CoverageFit Fit, IReadOnlyList<(double Low, double High)> Intervals, IReadOnlyList<(int Samples, double Measured, double Predicted, double Low, double High)> HeldOut)
{
    /// <summary>The largest distance between measured and predicted coverage, 0 to 1.</summary>
    public double WorstError => HeldOut.Max(h => Math.Abs(h.Measured - h.Predicted));

    /// <summary>Fits on the first <paramref name="seen"/> draws of each task and predicts <paramref name="asked"/>, all of which every task has.</summary>
    public static CoverageReport Of(CoverageLaw law, IReadOnlyList<SampledRun> runs, int seen, int asked, int replicates = 200, int seed = 1)
    {
        var fit = CoverageFit.Fit(law, runs, seen);
        // The same tasks are drawn for every model: they share what makes a task hard. Runs over different tasks share nothing but the count.
        var units = runs.Min(r => r.Tasks.Count);
        var intervals = Bootstrap.Intervals(units, drawn =>
        {
            var again = CoverageFit.Fit(law, [.. runs.Select(r => r with { Tasks = [.. drawn.Select(i => r.Tasks[i])] })], seen);
            return [.. again.Parameters, .. runs.Select(r => again.At(r.Parameters, asked, r.Tokens))];
        }, replicates, seed);
        var n = fit.Parameters.Count;
        return new CoverageReport(fit, intervals[..n],
            [.. runs.Select((r, i) => (asked, r.Coverage(asked, asked), fit.At(r.Parameters, asked, r.Tokens), intervals[n + i].Low, intervals[n + i].High))]);
    }
}
