namespace Ergon.Reasoning.Scaling;

/// <summary>y = c x1^e1 x2^e2 ...: time or joules against samples, parameters and tokens.</summary>
/// <param name="Factor">c.</param>
/// <param name="Exponents">One for each x.</param>
internal sealed record PowerLaw(double Factor, IReadOnlyList<double> Exponents)
{
    /// <summary>y at these x.</summary>
    public double At(params ReadOnlySpan<double> x)
    {
        var y = Factor;
        for (var i = 0; i < Exponents.Count; i++)
            y *= Math.Pow(x[i], Exponents[i]);
        return y;
    }

    /// <summary>Fits by least squares of logarithms, so that relative errors count alike.</summary>
    /// <param name="x">One row for each measurement; above 0.</param>
    /// <param name="y">Above 0.</param>
    /// <exception cref="ErgonException">A value is not above 0, or the measurements do not determine the exponents.</exception>
    public static PowerLaw Fit(IReadOnlyList<double[]> x, IReadOnlyList<double> y)
    {
        if (x.Count != y.Count || x.Any(r => r.Any(v => !(v > 0 && double.IsFinite(v)))) || y.Any(v => !(v > 0 && double.IsFinite(v))))
            throw new ErgonException("A power law is fitted to as many x as y, all above 0.");
        var line = Line([.. x.Select(r => (double[])[1, .. r.Select(v => Math.Log(v))])], [.. y.Select(v => Math.Log(v))]);
        return new PowerLaw(Math.Exp(line[0]), line[1..]);
    }

    /// <summary>Coefficients of a line through rows, by least squares.</summary>
    /// <exception cref="ErgonException">The rows do not determine them.</exception>
    internal static double[] Line(double[][] rows, double[] y)
    {
        var n = rows.Length == 0 ? 1 : rows[0].Length;
        var (a, b) = (new double[n, n], new double[n]);
        for (var r = 0; r < rows.Length; r++)
        {
            for (var i = 0; i < n; i++)
            {
                b[i] += rows[r][i] * y[r];
                for (var j = 0; j <= i; j++)
                    a[i, j] += rows[r][i] * rows[r][j];
            }
        }
        return LinearSolver.Solve(a, b) ?? throw new ErgonException($"{rows.Length} measurements do not determine {n} coefficients; vary each quantity by itself.");
    }
}
