namespace Ergon.Reasoning;

/// <summary>Solves small symmetric positive definite systems, those of least squares.</summary>
internal static class LinearSolver
{
    /// <summary>x of A x = b by Cholesky's decomposition.</summary>
    /// <param name="a">[n, n], row by row; only the lower triangle is read.</param>
    /// <param name="b">[n]</param>
    /// <returns><see langword="null"/> where A is not positive definite to rounding.</returns>
    public static double[]? Solve(double[,] a, double[] b)
    {
        var n = b.Length;
        var l = new double[n, n];
        for (var i = 0; i < n; i++)
        {
            for (var j = 0; j <= i; j++)
            {
                var sum = a[i, j];
                for (var k = 0; k < j; k++)
                    sum -= l[i, k] * l[j, k];
                if (i != j)
                    l[i, j] = sum / l[j, j];
                else if (sum > 1e-13 * Math.Abs(a[i, i]))
                    l[i, i] = Math.Sqrt(sum);
                else
                    return null;
            }
        }
        var x = (double[])b.Clone();
        for (var i = 0; i < n; i++)
        {
            for (var k = 0; k < i; k++)
                x[i] -= l[i, k] * x[k];
            x[i] /= l[i, i];
        }
        for (var i = n - 1; i >= 0; i--)
        {
            for (var k = i + 1; k < n; k++)
                x[i] -= l[k, i] * x[k];
            x[i] /= l[i, i];
        }
        return x;
    }

    /// <summary>The parameters that minimise the sum of squares of what <paramref name="residuals"/> gives, from a start, by Levenberg and Marquardt with numeric slopes.</summary>
    /// <param name="residuals">The same number of them for any parameters; not finite where the parameters are out of range.</param>
    /// <param name="start">Where to begin; finite residuals.</param>
    public static double[] LeastSquares(Func<double[], double[]> residuals, double[] start)
    {
        var x = (double[])start.Clone();
        var r = residuals(x);
        var cost = r.Sum(v => v * v);
        var damping = 1e-3;
        for (var iteration = 0; iteration < 200 && damping < 1e12; iteration++)
        {
            var n = x.Length;
            var slopes = new double[n][];
            for (var i = 0; i < n; i++)
            {
                var h = 1e-6 * Math.Max(1e-3, Math.Abs(x[i]));
                double[] up = [.. x], down = [.. x];
                up[i] += h;
                down[i] -= h;
                slopes[i] = [.. residuals(up).Zip(residuals(down), (u, d) => (u - d) / (2 * h))];
            }
            var a = new double[n, n];
            var b = new double[n];
            for (var i = 0; i < n; i++)
            {
                for (var j = 0; j <= i; j++)
                    a[i, j] = slopes[i].Zip(slopes[j], (u, v) => u * v).Sum();
                a[i, i] += damping * (a[i, i] + 1e-12);
                b[i] = -slopes[i].Zip(r, (u, v) => u * v).Sum();
            }
            double[]? next = Solve(a, b) is { } step ? [.. x.Zip(step, (u, v) => u + v)] : null;
            var nextResiduals = next is null ? null : residuals(next);
            var nextCost = nextResiduals?.Sum(v => v * v) ?? double.NaN;
            if (!(nextCost <= cost))
            {
                damping *= 10;
                continue;
            }
            var done = cost - nextCost <= 1e-14 * (cost + 1e-300);
            (x, r, cost, damping) = (next!, nextResiduals!, nextCost, Math.Max(1e-12, damping / 10));
            if (done)
                break;
        }
        return x;
    }
}
