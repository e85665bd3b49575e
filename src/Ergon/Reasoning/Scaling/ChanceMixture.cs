namespace Ergon.Reasoning.Scaling;

/// <summary>
/// How the tasks of a run share out over chances of being solved by a draw, supposing nothing of that distribution's form: weights of fixed
/// chances under which the counts of right draws are likeliest (Kiefer and Wolfowitz 1956; Laird 1978), with a prior that spreads
/// <see cref="Prior"/> task more evenly over them. The grid and the prior are Ergon's own. Pure.
/// </summary>
internal static class ChanceMixture
{
    /// <summary>How many tasks the prior counts as: it decides where draws cannot, between a small chance and none.</summary>
    public const double Prior = 1;

    private const int Most = 2000;

    // Tasks that change place in a step; less moves the coverage of twice the draws by a tenth of a point at most.
    private const double Still = 1e-2;

    /// <summary>
    /// The chances: even steps of the log-odds from -7 to 7, 0.0009 to 0.9991. Fewer draws than a thousand tell nothing below or above apart; steps of a half
    /// are finer than what hundreds of draws tell apart.
    /// </summary>
    public static IReadOnlyList<double> Chances { get; } = [.. Enumerable.Range(-14, 29).Select(i => 1 / (1 + Math.Exp(-i / 2.0)))];

    /// <summary>The share of tasks at each of the <see cref="Chances"/>.</summary>
    /// <param name="counts">[draws + 1]: how many tasks, whole or in expectation, have so many right draws.</param>
    public static double[] Fit(double[] counts)
    {
        var (draws, tasks, size) = (counts.Length - 1, counts.Sum(), Chances.Count);
        // Counts that did not occur weigh nothing.
        int[] seen = [.. Enumerable.Range(0, counts.Length).Where(c => counts[c] > 0)];
        double[][] likelihood = [.. seen.Select(c =>
        {
            double[] logarithms = [.. Chances.Select(p => (c * Math.Log(p)) + ((draws - c) * Math.Log(1 - p)))];
            // Of each count only proportions matter; of a thousand draws the likelihood itself is too small for a number.
            var most = logarithms.Max();
            return (double[])[.. logarithms.Select(l => Math.Exp(l - most))];
        })];
        double[] weights = [.. Enumerable.Repeat(1.0 / size, size)];
        var next = new double[size];
        for (var (step, moved) = (0, double.MaxValue); step < Most && moved > Still; step++)
        {
            // Expectation and maximisation: each task's place is shared out as its count makes likely.
            Array.Fill(next, Prior / size);
            for (var s = 0; s < seen.Length; s++)
            {
                var (row, all) = (likelihood[s], 0.0);
                for (var i = 0; i < size; i++)
                    all += weights[i] * row[i];
                var each = counts[seen[s]] / all;
                for (var i = 0; i < size; i++)
                    next[i] += each * weights[i] * row[i];
            }
            moved = 0;
            for (var i = 0; i < size; i++)
            {
                next[i] /= tasks + Prior;
                moved = Math.Max(moved, tasks * Math.Abs(next[i] - weights[i]));
                weights[i] = next[i];
            }
        }
        return weights;
    }

    /// <summary>Coverage of so many draws: the share of tasks that at least one of them solves.</summary>
    public static double Coverage(IReadOnlyList<double> weights, double samples) => 1 - weights.Zip(Chances, (w, p) => w * Math.Pow(1 - p, samples)).Sum();

    /// <summary>The share of tasks with a chance of at least <paramref name="from"/> and less than <paramref name="to"/>.</summary>
    public static double Share(IReadOnlyList<double> weights, double from, double to) => weights.Zip(Chances).Where(w => w.Second >= from && w.Second < to).Sum(w => w.First);
}
