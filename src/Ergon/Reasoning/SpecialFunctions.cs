namespace Ergon.Reasoning;

/// <summary>The gamma and beta functions, to about 13 digits.</summary>
internal static class SpecialFunctions
{
    private const double Precision = 1e-16;

    // Lanczos' approximation with g = 7 and nine terms.
    private static readonly double[] s_lanczos =
    [
        0.99999999999980993, 676.5203681218851, -1259.1392167224028, 771.32342877765313, -176.61502916214059,
        12.507343278686905, -0.13857109526572012, 9.9843695780195716e-6, 1.5056327351493116e-7,
    ];

    /// <summary>ln Γ(x) for x above 0.</summary>
    public static double LogGamma(double x)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(x);
        if (x < 0.5)
            return Math.Log(Math.PI / Math.Sin(Math.PI * x)) - LogGamma(1 - x);
        var (sum, t) = (s_lanczos[0], x + 6.5);
        for (var i = 1; i < s_lanczos.Length; i++)
            sum += s_lanczos[i] / (x - 1 + i);
        return (0.5 * Math.Log(2 * Math.PI)) + ((x - 0.5) * Math.Log(t)) - t + Math.Log(sum);
    }

    /// <summary>ln B(a, b) for a and b above 0.</summary>
    public static double LogBeta(double a, double b) => LogGamma(a) + LogGamma(b) - LogGamma(a + b);

    /// <summary>The upper incomplete Γ(a, x), the integral of t^(a-1) e^-t from x on; a above 0, x 0 or more, infinity included.</summary>
    public static double UpperGamma(double a, double x)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(a);
        ArgumentOutOfRangeException.ThrowIfNegative(x);
        if (double.IsPositiveInfinity(x))
            return 0;
        if (x == 0)
            return Math.Exp(LogGamma(a));
        var scale = Math.Exp((a * Math.Log(x)) - x);
        // Each of the two converges fast on its side of a + 1.
        return x < a + 1 ? Math.Exp(LogGamma(a)) - (scale * LowerSeries(a, x)) : scale * UpperFraction(a, x);
    }

    private static double LowerSeries(double a, double x)
    {
        double term = 1 / a, sum = term;
        for (var n = 1; Math.Abs(term) > Precision * Math.Abs(sum); n++)
            sum += term *= x / (a + n);
        return sum;
    }

    // Lentz's evaluation of 1/(x+1-a- 1(1-a)/(x+3-a- 2(2-a)/(x+5-a- ...))).
    private static double UpperFraction(double a, double x)
    {
        const double tiny = 1e-300;
        double b = x + 1 - a, c = 1 / tiny, d = 1 / b, value = d;
        for (var n = 1; n < 10_000; n++)
        {
            var numerator = -n * (n - a);
            b += 2;
            d = (numerator * d) + b;
            d = 1 / (Math.Abs(d) < tiny ? tiny : d);
            c = b + (numerator / c);
            c = Math.Abs(c) < tiny ? tiny : c;
            value *= c * d;
            if (Math.Abs((c * d) - 1) < Precision * 4)
                break;
        }
        return value;
    }
}
