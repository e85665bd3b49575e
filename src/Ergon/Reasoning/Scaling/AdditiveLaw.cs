namespace Ergon.Reasoning.Scaling;

/// <summary>y = c1 x1 + c2 x2 + ...: time or joules as the sum of what each kind of work takes.</summary>
/// <param name="Coefficients">One for each x, 0 or more: no work gives time back.</param>
internal sealed record AdditiveLaw(IReadOnlyList<double> Coefficients)
{
    private const int MostKinds = 10;

    /// <summary>y at these x.</summary>
    public double At(params ReadOnlySpan<double> x)
    {
        var y = 0.0;
        for (var i = 0; i < Coefficients.Count; i++)
            y += Coefficients[i] * x[i];
        return y;
    }

    /// <summary>Fits by least squares of relative errors, of all choices of kinds of work whose coefficients come out above 0 the best: the exact solution, since kinds are few.</summary>
    /// <param name="x">One row for each measurement, 0 or more; ten columns at most.</param>
    /// <param name="y">Above 0.</param>
    /// <exception cref="ErgonException">A value is out of range, or the measurements are fewer than the kinds of work.</exception>
    public static AdditiveLaw Fit(IReadOnlyList<double[]> x, IReadOnlyList<double> y)
    {
        if (x.Count != y.Count || x.Any(r => r.Length is 0 or > MostKinds || r.Any(v => !(v >= 0 && double.IsFinite(v)))) || y.Any(v => !(v > 0 && double.IsFinite(v))))
            throw new ErgonException($"An additive law is fitted to as many x as y, of at most {MostKinds} kinds, x from 0 on and y above 0.");
        var kinds = x.Count == 0 ? 1 : x[0].Length;
        if (x.Count < kinds)
            throw new ErgonException($"{x.Count} measurements do not determine {kinds} coefficients; measure more.");
        // Kinds are counted in anything from passes to bytes: brought to one scale, so that the sums stay exact. A kind that nothing has costs nothing.
        double[] scale = [.. Enumerable.Range(0, kinds).Select(k => Enumerable.Range(0, x.Count).Max(i => x[i][k] / y[i]))];
        var (best, least) = (new double[kinds], double.MaxValue);
        for (var choice = 1; choice < 1 << kinds; choice++)
        {
            int[] chosen = [.. Enumerable.Range(0, kinds).Where(k => (choice >> k & 1) != 0)];
            if (chosen.Any(k => scale[k] == 0) || Solve(chosen) is not { } solved || solved.Any(c => c < 0))
                continue;
            var error = x.Zip(y, (r, v) => (chosen.Select((k, j) => solved[j] * r[k] / scale[k]).Sum() / v) - 1).Sum(e => e * e);
            if (error >= least)
                continue;
            (least, best) = (error, new double[kinds]);
            for (var j = 0; j < chosen.Length; j++)
                best[chosen[j]] = solved[j] / scale[chosen[j]];
        }
        return new AdditiveLaw(best);

        double[]? Solve(int[] chosen)
        {
            var n = chosen.Length;
            var (a, b) = (new double[n, n], new double[n]);
            for (var r = 0; r < x.Count; r++)
            {
                double[] row = [.. chosen.Select(k => x[r][k] / scale[k] / y[r])];
                for (var i = 0; i < n; i++)
                {
                    b[i] += row[i];
                    for (var j = 0; j <= i; j++)
                        a[i, j] += row[i] * row[j];
                }
            }
            return LinearSolver.Solve(a, b);
        }
    }
}
