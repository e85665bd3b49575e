namespace Ergon.Reasoning.Selection;

/// <summary>P(right) = 1 / (1 + e^-(intercept + sum of coefficient x feature)).</summary>
/// <param name="Features">The features' names, in order.</param>
/// <param name="Intercept">At features of 0.</param>
/// <param name="Coefficients">One for each feature.</param>
internal sealed record LogisticModel(IReadOnlyList<string> Features, double Intercept, IReadOnlyList<double> Coefficients)
{
    /// <summary>Fits by Newton's iteration (IRLS) with a ridge, which keeps coefficients finite where the outcomes can be separated.</summary>
    /// <param name="features">Names.</param>
    /// <param name="rows">One row of features for each outcome; finite.</param>
    /// <param name="right">The outcomes, 0 to 1.</param>
    /// <param name="ridge">Added to the negative log-likelihood: ridge/2 x the sum of squared coefficients of standardised features; the intercept is free.</param>
    /// <exception cref="ErgonException">There are no outcomes, or as many rows as there must be, or a feature is not finite.</exception>
    public static LogisticModel Fit(IReadOnlyList<string> features, IReadOnlyList<double[]> rows, IReadOnlyList<bool> right, double ridge = 1)
    {
        if (rows.Count == 0 || rows.Count != right.Count)
            throw new ErgonException($"There are {right.Count} outcomes for {rows.Count} rows of features; log one outcome for each draw, and at least one.");
        if (rows.FirstOrDefault(r => r.Length != features.Count || r.Any(x => !double.IsFinite(x))) is { } bad)
            throw new ErgonException(FormattableString.Invariant($"A row of features is ({string.Join(", ", bad)}), but must be {features.Count} finite numbers."));
        var n = features.Count + 1;
        // Standardised, one ridge fits all units.
        double[] mean = [.. features.Select((_, i) => rows.Average(r => r[i]))];
        double[] scale = [.. features.Select((_, i) => Math.Sqrt(rows.Average(r => (r[i] - mean[i]) * (r[i] - mean[i])))).Select(s => s > 1e-12 ? s : 1)];
        double[][] z = [.. rows.Select(r => (double[])[1, .. r.Select((x, i) => (x - mean[i]) / scale[i])])];
        var w = new double[n];
        var loss = Total(w);
        for (var iteration = 0; iteration < 100; iteration++)
        {
            var hessian = new double[n, n];
            var gradient = new double[n];
            for (var row = 0; row < z.Length; row++)
            {
                var p = Sigmoid(Dot(w, z[row]));
                for (var i = 0; i < n; i++)
                {
                    gradient[i] += ((right[row] ? 1 : 0) - p) * z[row][i];
                    for (var j = 0; j <= i; j++)
                        hessian[i, j] += p * (1 - p) * z[row][i] * z[row][j];
                }
            }
            for (var i = 0; i < n; i++)
            {
                // A trace of it on the intercept: outcomes that are all alike have no finite one.
                var own = i == 0 ? 1e-6 : ridge;
                gradient[i] -= own * w[i];
                hessian[i, i] += own;
            }
            var step = LinearSolver.Solve(hessian, gradient) ?? throw new ErgonException("The features cannot be told apart; use a ridge above 0.");
            var length = 1.0;
            double[] next;
            double nextLoss;
            // A full step may overshoot where outcomes are nearly separated.
            while ((nextLoss = Total(next = [.. w.Zip(step, (a, b) => a + (length * b))])) > loss + 1e-12 && length > 1e-6)
                length /= 2;
            var change = loss - nextLoss;
            (w, loss) = (next, nextLoss);
            if (change < 1e-10 * (1 + Math.Abs(loss)))
                break;
        }
        double[] coefficients = [.. w.Skip(1).Zip(scale, (a, s) => a / s)];
        return new LogisticModel(features, w[0] - coefficients.Zip(mean, (a, m) => a * m).Sum(), coefficients);

        double Total(double[] weights)
        {
            var sum = 0.5 * ((1e-6 * weights[0] * weights[0]) + (ridge * weights.Skip(1).Sum(x => x * x)));
            for (var row = 0; row < z.Length; row++)
                sum += Loss(Dot(weights, z[row]), right[row]);
            return sum;
        }
    }

    /// <summary>How likely features are right, 0 to 1.</summary>
    public double Probability(ReadOnlySpan<double> row)
    {
        if (row.Length != Coefficients.Count)
            throw new ArgumentException($"There are {row.Length} features, but the model has {Coefficients.Count}.", nameof(row));
        var sum = Intercept;
        for (var i = 0; i < row.Length; i++)
            sum += Coefficients[i] * row[i];
        return Sigmoid(sum);
    }

    /// <summary>Expected calibration error: predictions in bins of equal width, the mean distance between a bin's mean prediction and its share of right ones, weighted by its size (Guo et al. 2017).</summary>
    /// <param name="predictions">0 to 1.</param>
    /// <param name="right">One outcome for each.</param>
    /// <param name="bins">Default 10.</param>
    public static double CalibrationError(IReadOnlyList<double> predictions, IReadOnlyList<bool> right, int bins = 10)
    {
        ArgumentOutOfRangeException.ThrowIfNotEqual(right.Count, predictions.Count);
        ArgumentOutOfRangeException.ThrowIfZero(predictions.Count);
        ArgumentOutOfRangeException.ThrowIfLessThan(bins, 1);
        var (sums, hits) = (new double[bins], new int[bins]);
        for (var i = 0; i < predictions.Count; i++)
        {
            var bin = Math.Clamp((int)(predictions[i] * bins), 0, bins - 1);
            sums[bin] += predictions[i];
            hits[bin] += right[i] ? 1 : 0;
        }
        // Size x |mean - share| = |sum - hits|.
        return sums.Zip(hits, (s, h) => Math.Abs(s - h)).Sum() / predictions.Count;
    }

    /// <summary>What <see cref="CalibrationError"/> is expected to be of predictions that are perfectly calibrated: few outcomes in a bin are never its mean exactly. Reported beside an error, never taken off it.</summary>
    /// <param name="predictions">0 to 1.</param>
    /// <param name="bins">Default 10.</param>
    public static double ChanceError(IReadOnlyList<double> predictions, int bins = 10) =>
        predictions.GroupBy(p => Math.Clamp((int)(p * bins), 0, bins - 1)).Sum(bin => Distance([.. bin])) / predictions.Count;

    // The expected distance of the number of hits from its mean.
    private static double Distance(double[] chances)
    {
        const int Exact = 4096; // beyond, the sum is as good as normal
        var mean = chances.Sum();
        if (chances.Length > Exact)
            return Math.Sqrt(2 / Math.PI * chances.Sum(p => p * (1 - p)));
        var hits = new double[chances.Length + 1];
        hits[0] = 1;
        for (var i = 0; i < chances.Length; i++)
        {
            for (var k = i + 1; k > 0; k--)
                hits[k] = (hits[k] * (1 - chances[i])) + (hits[k - 1] * chances[i]);
            hits[0] *= 1 - chances[i];
        }
        return hits.Select((h, k) => h * Math.Abs(k - mean)).Sum();
    }

    /// <summary>-ln of the probability of an outcome at some log-odds, without overflow.</summary>
    internal static double Loss(double odds, bool right) => Math.Max(right ? -odds : odds, 0) + Math.Log(1 + Math.Exp(-Math.Abs(odds)));

    internal static double Sigmoid(double x) => x >= 0 ? 1 / (1 + Math.Exp(-x)) : Math.Exp(x) / (1 + Math.Exp(x));

    internal static double Dot(double[] a, double[] b)
    {
        var sum = 0.0;
        for (var i = 0; i < a.Length; i++)
            sum += a[i] * b[i];
        return sum;
    }
}
