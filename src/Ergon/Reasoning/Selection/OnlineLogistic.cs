namespace Ergon.Reasoning.Selection;

/// <summary>How sure a logistic model has become of its coefficients since it was fitted.</summary>
/// <param name="Outcomes">Problems that taught it.</param>
/// <param name="Precision">The lower triangle, row by row, of the matrix of what these problems told, intercept first, coefficients times the scale of their features.</param>
internal sealed record LearnedOutcomes(long Outcomes, IReadOnlyList<double> Precision);

/// <summary>
/// A logistic model that learns from outcomes one problem at a time: what it knew is a normal prior, and each problem moves its coefficients to where prior
/// and outcome together are likeliest, and adds to the prior the curvature of the parabola that bounds the outcome's loss there (Jaakkola and Jordan 2000; the
/// loss's own is near 0 where the model is sure, so that one surprise would count for more than hundreds of confirmations). Before the first, the prior is a ridge
/// at the coefficients that it begins with; what old problems told fades with <see cref="Memory"/>. The same outcomes in the same order give the same model, whether
/// or not it was written and read between. Thread-safe. Ergon's own use of these.
/// </summary>
internal sealed class OnlineLogistic
{
    /// <summary>Problems after which what one told counts for 1/e.</summary>
    public const double Memory = 1000;

    private const double Ridge = 1;
    private readonly Lock _gate = new();
    private readonly double[] _scales; // of the intercept, then of each feature
    private readonly double[,] _told;
    private long _outcomes;
    private volatile LogisticModel _model;

    /// <param name="model">What it begins with.</param>
    /// <param name="scales">How far each feature commonly goes from its mean; above 0.</param>
    /// <param name="before">What it has learned before; <see langword="null"/> for nothing.</param>
    /// <exception cref="ErgonException">That is of another number of features, or no precision.</exception>
    public OnlineLogistic(LogisticModel model, IReadOnlyList<double> scales, LearnedOutcomes? before = null)
    {
        (_model, _scales) = (model, [1, .. scales]);
        var n = _scales.Length;
        _told = new double[n, n];
        if (before is null)
            return;
        if (before.Outcomes < 0 || before.Precision?.Count != n * (n + 1) / 2 || !before.Precision.All(double.IsFinite))
            throw new ErgonException($"What the selector has learned is no matrix of {n} rows; leave it out of the file, or fit the selector again.");
        _outcomes = before.Outcomes;
        for (int i = 0, k = 0; i < n; i++)
        {
            for (var j = 0; j <= i; j++)
                _told[i, j] = before.Precision[k++];
        }
        if (LinearSolver.Solve(Prior(), new double[n]) is null)
            throw new ErgonException("What the selector has learned is no precision, which would be positive; leave it out of the file, or fit the selector again.");
    }

    /// <summary>As it is now.</summary>
    public LogisticModel Model => _model;

    /// <summary>What was learned; <see langword="null"/> for nothing.</summary>
    public LearnedOutcomes? Learned
    {
        get
        {
            lock (_gate)
                return _outcomes == 0 ? null : new LearnedOutcomes(_outcomes, [.. Enumerable.Range(0, _scales.Length).SelectMany(i => Enumerable.Range(0, i + 1).Select(j => _told[i, j]))]);
        }
    }

    /// <summary>Learns from one problem.</summary>
    /// <param name="rows">Features, whether what they are of was right, and how much that counts.</param>
    public void Learn(IReadOnlyList<(double[] Row, bool Right, double Weight)> rows)
    {
        if (rows.Count == 0)
            return;
        lock (_gate)
        {
            var n = _scales.Length;
            for (var i = 0; i < n; i++)
            {
                for (var j = 0; j <= i; j++)
                    _told[i, j] *= 1 - (1 / Memory);
            }
            double[][] z = [.. rows.Select(r => (double[])[1, .. r.Row.Select((x, i) => x / _scales[i + 1])])];
            double[] start = [_model.Intercept, .. _model.Coefficients.Select((c, i) => c * _scales[i + 1])], w = start;
            var prior = Prior();
            var loss = Loss(w);
            for (var iteration = 0; iteration < 50; iteration++)
            {
                var (hessian, slope) = (Prior(), new double[n]);
                for (var i = 0; i < n; i++)
                {
                    for (var j = 0; j < n; j++)
                        slope[i] -= At(prior, i, j) * (w[j] - start[j]);
                }
                Add(hessian, slope);
                var step = LinearSolver.Solve(hessian, slope)!; // positive: the prior is
                var length = 1.0;
                double[] next;
                double nextLoss;
                while ((nextLoss = Loss(next = [.. w.Zip(step, (a, b) => a + (length * b))])) > loss + 1e-12 && length > 1e-6)
                    length /= 2;
                var change = loss - nextLoss;
                (w, loss) = (next, nextLoss);
                if (change < 1e-12)
                    break;
            }
            Add(_told, null);
            _outcomes++;
            _model = _model with { Intercept = w[0], Coefficients = [.. w.Skip(1).Select((a, i) => a / _scales[i + 1])] };

            double Loss(double[] at)
            {
                var sum = 0.0;
                for (var i = 0; i < n; i++)
                {
                    for (var j = 0; j < n; j++)
                        sum += 0.5 * (at[i] - start[i]) * At(prior, i, j) * (at[j] - start[j]);
                }
                for (var row = 0; row < z.Length; row++)
                    sum += rows[row].Weight * LogisticModel.Loss(LogisticModel.Dot(at, z[row]), rows[row].Right);
                return sum;
            }

            // The rows' curvature onto a lower triangle and their slope, or without one the curvature of the bound.
            void Add(double[,] lower, double[]? slope)
            {
                for (var row = 0; row < z.Length; row++)
                {
                    var odds = LogisticModel.Dot(w, z[row]);
                    var p = LogisticModel.Sigmoid(odds);
                    var curvature = slope is not null ? p * (1 - p) : Math.Abs(odds) < 1e-3 ? 0.25 : Math.Tanh(odds / 2) / (2 * odds);
                    for (var i = 0; i < n; i++)
                    {
                        if (slope is not null)
                            slope[i] += rows[row].Weight * ((rows[row].Right ? 1 : 0) - p) * z[row][i];
                        for (var j = 0; j <= i; j++)
                            lower[i, j] += rows[row].Weight * curvature * z[row][i] * z[row][j];
                    }
                }
            }
        }
    }

    // Its lower triangle.
    private double[,] Prior()
    {
        var prior = (double[,])_told.Clone();
        for (var i = 0; i < _scales.Length; i++)
            prior[i, i] += Ridge;
        return prior;
    }

    private static double At(double[,] lower, int i, int j) => i >= j ? lower[i, j] : lower[j, i];
}
