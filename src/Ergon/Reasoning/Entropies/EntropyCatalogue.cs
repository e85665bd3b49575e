namespace Ergon.Reasoning.Entropies;

/// <summary>The published entropies of a distribution, each with what is known of merging its states.</summary>
/// <remarks>
/// A sum of f(p) with f(a+b) at most f(a) + f(b) is monotone; p^q is on that side for q below 1 and on the other above 1,
/// and every f with f(p)/p falling is. Most proofs below are one of these, or an increasing function of such a sum.
/// </remarks>
internal static class EntropyCatalogue
{
    public static Entropy Shannon { get; } = Plain("Shannon", "-sum p ln p", "Shannon 1948", p => Sum(p, x => -x * Math.Log(x)));

    public static Entropy Hartley { get; } = Plain("Hartley", "ln of how many p > 0", "Hartley 1928", p => Math.Log(Sum(p, _ => 1)));

    public static Entropy Min { get; } = Plain("min", "-ln max p", "Renyi 1961, order infinity", p => -Math.Log(Max(p)));

    public static Entropy Collision { get; } = Plain("collision", "-ln sum p^2", "Renyi 1961, order 2", p => -Math.Log(PowerSum(p, 2)));

    public static Entropy GiniSimpson { get; } = Plain("Gini-Simpson", "1 - sum p^2", "Gini 1912, Simpson 1949", p => 1 - PowerSum(p, 2));

    public static Entropy Exponential { get; } = Plain("Pal-Pal exponential", "sum p e^(1-p) - 1", "Pal and Pal 1991", p => Sum(p, x => x * Math.Exp(1 - x)) - 1);

    public static Entropy Renyi { get; } = Order("Renyi", "ln(sum p^q) / (1-q)", "Renyi 1961", (p, q) => LogPowerSum(p, q) / (1 - q));

    public static Entropy HavrdaCharvat { get; } = Order("Havrda-Charvat", "(sum p^q - 1) / (2^(1-q) - 1)", "Havrda and Charvat 1967", (p, q) => (PowerSum(p, q) - 1) / (Math.Pow(2, 1 - q) - 1));

    public static Entropy Tsallis { get; } = Order("Tsallis", "(1 - sum p^q) / (q-1)", "Tsallis 1988", (p, q) => (1 - PowerSum(p, q)) / (q - 1));

    public static Entropy RNorm { get; } = Order("Arimoto (R-norm)", "q/(q-1) (1 - (sum p^q)^(1/q))", "Arimoto 1971, Boekee and van der Lubbe 1980", (p, q) => q / (q - 1) * (1 - Math.Pow(PowerSum(p, q), 1 / q)));

    public static Entropy LandsbergVedral { get; } = Order("Landsberg-Vedral", "(1/sum p^q - 1) / (q-1)", "Landsberg and Vedral 1998", (p, q) => ((1 / PowerSum(p, q)) - 1) / (q - 1));

    public static Entropy Abe { get; } = Order("Abe", "-sum (p^q - p^(1/q)) / (q - 1/q)", "Abe 1997", (p, q) => (PowerSum(p, 1 / q) - PowerSum(p, q)) / (q - (1 / q)));

    public static Entropy Hill { get; } = Order("Hill number", "(sum p^q)^(1/(1-q))", "Hill 1973", (p, q) => Math.Exp(LogPowerSum(p, q) / (1 - q)));

    public static Entropy SharmaMittal { get; } = new(
        new("Sharma-Mittal", "((sum p^q)^((1-r)/(1-q)) - 1) / (1-r)", "q > 0, q != 1, r != 1", "Sharma and Mittal 1975", Monotonicity.Proven),
        (p, a) => (Math.Pow(PowerSum(p, a[0]), (1 - a[1]) / (1 - a[0])) - 1) / (1 - a[1]), 2, a => a[0] > 0 && a[0] != 1 && a[1] != 1);

    public static Entropy Gaussian { get; } = new(
        new("Gaussian", "(e^((1-r) H) - 1) / (1-r), H Shannon's", "r != 1", "Frank and Daffertshofer 2000", Monotonicity.Proven),
        (p, a) => (Math.Exp((1 - a[0]) * Sum(p, x => -x * Math.Log(x))) - 1) / (1 - a[0]), 1, a => a[0] != 1);

    public static Entropy Kaniadakis { get; } = new(
        new("Kaniadakis", "-sum (p^(1+k) - p^(1-k)) / 2k", "0 < k < 1", "Kaniadakis 2001", Monotonicity.Proven),
        (p, a) => (PowerSum(p, 1 - a[0]) - PowerSum(p, 1 + a[0])) / (2 * a[0]), 1, a => a[0] is > 0 and < 1);

    public static Entropy VarmaA { get; } = new(
        new("Varma, first kind", "ln(sum p^(q-m+1)) / (m-q)", "m >= 1, m-1 < q < m", "Varma 1966", Monotonicity.Proven),
        (p, a) => Math.Log(PowerSum(p, a[0] - a[1] + 1)) / (a[1] - a[0]), 2, a => a[1] >= 1 && a[0] > a[1] - 1 && a[0] < a[1]);

    public static Entropy VarmaB { get; } = new(
        new("Varma, second kind", "ln(sum p^(q/m)) / (m (m-q))", "m >= 1, 0 < q < m", "Varma 1966", Monotonicity.Proven),
        (p, a) => Math.Log(PowerSum(p, a[0] / a[1])) / (a[1] * (a[1] - a[0])), 2, a => a[1] >= 1 && a[0] > 0 && a[0] < a[1]);

    public static Entropy Curado { get; } = new(
        new("Curado", "sum (1 - e^(-bp)) + e^-b - 1", "b > 0", "Curado 1999", Monotonicity.Proven),
        (p, a) => Sum(p, a[0], (x, b) => 1 - Math.Exp(-b * x)) + Math.Exp(-a[0]) - 1, 1, a => a[0] > 0);

    public static Entropy Ubriaco { get; } = new(
        new("Ubriaco", "sum p (-ln p)^q", "0 < q <= 1", "Ubriaco 2009", Monotonicity.Proven),
        // A p of 1 + rounding has a logarithm above 0.
        (p, a) => Sum(p, a[0], (x, q) => x * Math.Pow(Math.Max(0, -Math.Log(x)), q)), 1, a => a[0] is > 0 and <= 1);

    public static Entropy AnteneodoPlastino { get; } = new(
        new("Anteneodo-Plastino", "sum (Gamma(1+1/h, -ln p) - p Gamma(1+1/h))", "h >= 0.02", "Anteneodo and Plastino 1999", Monotonicity.Proven),
        (p, a) => Sum(p, 1 + (1 / a[0]), (x, s) => SpecialFunctions.UpperGamma(s, Math.Max(0, -Math.Log(x))) - (x * SpecialFunctions.UpperGamma(s, 0))), 1,
        // Below, Gamma(1+1/h) leaves 64-bit numbers too few digits.
        a => a[0] >= 0.02);

    public static Entropy HanelThurner { get; } = new(
        new("Hanel-Thurner", "(e sum Gamma(d+1, 1 - c ln p) - c) / (1 - c + cd)", "0 < c <= 1, 0 <= d <= 50, not (1, 0)", "Hanel and Thurner 2011", Monotonicity.Proven),
        (p, a) =>
        {
            var (c, d) = (a[0], a[1]);
            return ((Math.E * Sum(p, a[0], a[1], (x, c, d) => SpecialFunctions.UpperGamma(d + 1, 1 - (c * Math.Min(0, Math.Log(x)))))) - c) / (1 - c + (c * d));
        },
        2, a => a[0] is > 0 and <= 1 && a[1] is >= 0 and <= 50 && 1 - a[0] + (a[0] * a[1]) > 0);

    public static Entropy SharmaTaneja { get; } = new(
        new("Sharma-Taneja", "(sum p^q - sum p^r) / (2^(1-q) - 2^(1-r))", "q, r > 0, q != r", "Sharma and Taneja 1975", Monotonicity.Conditional, "an order at most 1"),
        // For q < r and q <= 1, (p^q - p^r) / p falls: its slope is -(1-q) p^(q-2) + (1-r) p^(r-2).
        (p, a) => (PowerSum(p, a[0]) - PowerSum(p, a[1])) / (Math.Pow(2, 1 - a[0]) - Math.Pow(2, 1 - a[1])), 2, TwoOrders, a => Math.Min(a[0], a[1]) <= 1);

    public static Entropy Kapur { get; } = new(
        new("Kapur", "ln(sum p^q / sum p^r) / (r-q)", "q, r > 0, q != r", "Kapur 1967", Monotonicity.Conditional, "one order at most 1, the other at least 1"),
        (p, a) => (LogPowerSum(p, a[0]) - LogPowerSum(p, a[1])) / (a[1] - a[0]), 2, TwoOrders, a => Math.Min(a[0], a[1]) <= 1 && Math.Max(a[0], a[1]) >= 1);

    public static Entropy Shafee { get; } = new(
        new("Shafee", "-sum p^q ln p", "q > 0", "Shafee 2007", Monotonicity.Conditional, "q at most 1"),
        (p, a) => Sum(p, a[0], (x, q) => -Math.Pow(x, q) * Math.Log(x)), 1, a => a[0] > 0, a => a[0] <= 1);

    public static Entropy AczelDaroczy { get; } = new(
        new("Aczel-Daroczy", "-sum p^q ln p / sum p^q", "q > 0", "Aczel and Daroczy 1963", Monotonicity.Conditional, "q = 1, which is Shannon's"),
        (p, a) => Sum(p, a[0], (x, q) => -Math.Pow(x, q) * Math.Log(x)) / PowerSum(p, a[0]), 1, a => a[0] > 0, a => a[0] == 1);

    public static Entropy Burg { get; } = Broken("Burg", "sum ln p", "Burg 1967", "merging a and b always raises it: ln(a+b) > ln a + ln b", p => Sum(p, Math.Log));

    public static Entropy Onicescu { get; } = Broken("Onicescu energy", "sum p^2", "Onicescu 1966", "an energy: merging always raises it", p => PowerSum(p, 2));

    public static Entropy Evenness { get; } = Broken("normalised Shannon", "-sum p ln p / ln n", "Pielou 1966", "n falls as well", p => p.Length == 1 ? 0 : Sum(p, x => -x * Math.Log(x)) / Math.Log(p.Length));

    public static Entropy Varentropy { get; } = Broken("varentropy", "sum p ln^2 p - H^2", "Kontoyiannis and Verdu 2013", "0 for every uniform distribution", p =>
    {
        var h = Sum(p, x => -x * Math.Log(x));
        return Sum(p, h, (x, h) => x * (-Math.Log(x) - h) * (-Math.Log(x) - h));
    });

    /// <summary>All of them.</summary>
    public static IReadOnlyList<Entropy> All { get; } =
    [
        Shannon, Hartley, Min, Collision, GiniSimpson, Exponential, Renyi, HavrdaCharvat, Tsallis, RNorm, LandsbergVedral, Abe, Hill,
        SharmaMittal, Gaussian, Kaniadakis, VarmaA, VarmaB, Curado, Ubriaco, AnteneodoPlastino, HanelThurner,
        SharmaTaneja, Kapur, Shafee, AczelDaroczy, Burg, Onicescu, Evenness, Varentropy,
    ];

    private static bool TwoOrders(ReadOnlySpan<double> a) => a[0] > 0 && a[1] > 0 && a[0] != a[1];

    private static Entropy Plain(string name, string formula, string reference, Func<ReadOnlySpan<double>, double> value) =>
        new(new(name, formula, "", reference, Monotonicity.Proven), (p, _) => value(p));

    private static Entropy Order(string name, string formula, string reference, Func<ReadOnlySpan<double>, double, double> value) =>
        new(new(name, formula, "q > 0, q != 1", reference, Monotonicity.Proven), (p, a) => value(p, a[0]), 1, a => a[0] > 0 && a[0] != 1);

    private static Entropy Broken(string name, string formula, string reference, string why, Func<ReadOnlySpan<double>, double> value) =>
        new(new(name, formula, "", reference, Monotonicity.No, why), (p, _) => value(p));

    private static double Sum(ReadOnlySpan<double> p, Func<double, double> f) => Sum(p, 0, 0, (x, _, _) => f(x));

    private static double Sum(ReadOnlySpan<double> p, double a, Func<double, double, double> f) => Sum(p, a, 0, (x, a, _) => f(x, a));

    private static double Sum(ReadOnlySpan<double> p, double a, double b, Func<double, double, double, double> f)
    {
        var sum = 0.0;
        foreach (var x in p)
            sum += x > 0 ? f(x, a, b) : 0;
        return sum;
    }

    private static double PowerSum(ReadOnlySpan<double> p, double q) => Sum(p, q, Math.Pow);

    // Large orders leave powers too small for 64 bits, but not their ratios.
    private static double LogPowerSum(ReadOnlySpan<double> p, double q)
    {
        var max = Max(p);
        return (q * Math.Log(max)) + Math.Log(Sum(p, q, max, (x, q, max) => Math.Pow(x / max, q)));
    }

    private static double Max(ReadOnlySpan<double> p)
    {
        var max = 0.0;
        foreach (var x in p)
            max = Math.Max(max, x);
        return max;
    }
}
