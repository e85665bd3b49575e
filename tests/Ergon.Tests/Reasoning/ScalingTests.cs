using Ergon.Reasoning;
using Ergon.Reasoning.Scaling;

namespace Ergon.Tests.Reasoning;

public sealed class ScalingTests
{
    // Each task has a probability of its own, from Beta(p, 1) or Beta(1, q).
    private static SampledRun Run(int tasks, int draws, Func<Random, double> probability, int seed, double parameters = 1e6)
    {
        var random = new Random(seed);
        return new SampledRun(parameters, 40, [.. Enumerable.Range(0, tasks).Select(_ =>
        {
            var p = probability(random);
            return (bool[])[.. Enumerable.Range(0, draws).Select(_ => random.NextDouble() < p)];
        })]);
    }

    [Theory]
    [InlineData(0.5, 1)]
    [InlineData(1, 3)]
    public void The_beta_of_the_tasks_is_found_and_foretells_more_draws(double a, double b)
    {
        // x^(1/a) is Beta(a, 1); 1 - x^(1/b) is Beta(1, b).
        var run = Run(2000, 64, r => b == 1 ? Math.Pow(r.NextDouble(), 1 / a) : 1 - Math.Pow(r.NextDouble(), 1 / b), seed: 1);
        var report = CoverageReport.Of(CoverageLaw.BetaBinomial, [run], seen: 8, asked: 64, replicates: 40);
        Assert.Equal(a, report.Fit.Parameters[0], 0.15 * a);
        Assert.Equal(b, report.Fit.Parameters[1], 0.15 * b);
        Assert.InRange(report.Fit.Parameters[0], report.Intervals[0].Low, report.Intervals[0].High);
        Assert.InRange(report.WorstError, 0, 0.02);
        Assert.InRange(report.HeldOut[0].Measured, report.HeldOut[0].Low - 0.02, report.HeldOut[0].High + 0.02);
    }

    [Fact]
    public void The_lower_part_of_a_curve_foretells_the_rest_where_the_law_is_its_own()
    {
        // Chances from a beta distribution with q = 1, whose quantiles are powers.
        var random = new Random(4);
        var run = new SampledRun(1e6, 30, [.. Enumerable.Range(0, 4000).Select(_ => Math.Pow(random.NextDouble(), 1 / 0.6)).Select(chance => (bool[])[.. Enumerable.Range(0, 32).Select(_ => random.NextDouble() < chance)])]);
        var fit = CoverageFit.OfCurve(CoverageLaw.BetaBinomial, run, most: 8);
        Assert.Equal(run.Coverage(32, 32), fit.At(1e6, 32, 30), 0.01);
        Assert.Equal(0.6, fit.Parameters[0], 0.06);
        Assert.Equal(1, fit.Parameters[1], 0.1);
        Assert.Throws<ErgonException>(() => CoverageFit.OfCurve(CoverageLaw.Brown, run, most: 2));
    }

    // A share solved always or never, the others with chances from a beta distribution or all the same: what no law with two parameters describes.
    public static TheoryData<string, Func<Random, double>> Hardness() => new()
    {
        { "a third never", r => r.Next(3) == 0 ? 0 : Math.Sqrt(r.NextDouble()) },
        { "half always, half rarely", r => r.Next(2) == 0 ? 1 : 0.03 },
        { "an easy and a hard kind", r => r.Next(2) == 0 ? 0.6 + (0.4 * r.NextDouble()) : Math.Pow(r.NextDouble(), 3) / 4 },
        { "one chance for all", _ => 0.08 },
        { "beta", r => Math.Pow(r.NextDouble(), 2) },
    };

    [Theory]
    [MemberData(nameof(Hardness))]
    public void A_mixture_of_chances_foretells_four_times_the_draws_of_tasks_of_any_hardness(string _, Func<Random, double> probability)
    {
        var run = Run(3000, 32, probability, seed: 8);
        var fit = CoverageFit.OfCurve(CoverageLaw.Mixture, run, most: 8);
        // One chance between two of the grid's is the hardest.
        Assert.Equal(run.Coverage(16, 32), fit.At(1, 16, 1), 0.015);
        Assert.Equal(run.Coverage(32, 32), fit.At(1, 32, 1), 0.02);
        Assert.Equal(run.Coverage(16, 32), CoverageFit.Fit(CoverageLaw.Mixture, [run], 8).At(1, 16, 1), 0.02);
        Assert.Equal(1, fit.Parameters.Sum(), 1e-9);
        Assert.All(fit.Parameters, w => Assert.InRange(w, 0, 1));
    }

    [Fact]
    public void A_mixture_finds_the_share_that_is_never_solved_where_the_beta_binomial_promises_too_much()
    {
        var run = Run(3000, 64, r => r.Next(4) == 0 ? 0 : 0.2 + (0.6 * r.NextDouble()), seed: 9);
        var mixture = CoverageFit.OfCurve(CoverageLaw.Mixture, run, most: 16);
        Assert.Equal(0.25, ChanceMixture.Share(mixture.Parameters, 0, 0.02), 0.02);
        Assert.Equal(0.75, ChanceMixture.Share(mixture.Parameters, 0.12, 0.9), 0.02);
        Assert.Equal(run.Coverage(64, 64), mixture.At(1, 64, 1), 0.02);
        Assert.True(CoverageFit.OfCurve(CoverageLaw.BetaBinomial, run, most: 16).At(1, 64, 1) > run.Coverage(64, 64) + 0.04);
    }

    [Fact]
    public void Counts_of_parts_of_the_draws_are_those_of_all_ways_to_take_them()
    {
        // 2 right of 4: of the six pairs one has none, four one, one both.
        SampledRun run = new(1, 1, [[true, false, true, false], [false, false, false, false]]);
        Assert.Equal([1 + (1 / 6.0), 4 / 6.0, 1 / 6.0], run.ExpectedCounts(2).Select(c => Math.Round(c, 12)), (a, b) => Math.Abs(a - b) < 1e-9);
        Assert.Equal([1.0, 1, 0], run.Counts(2));
        Assert.Equal([1.0, 0, 1, 0, 0], run.ExpectedCounts(4).Select(c => Math.Round(c, 9)));
    }

    [Fact]
    public void Of_a_thousand_draws_the_mixture_is_still_finite()
    {
        var run = Run(40, 1000, r => r.NextDouble(), 10);
        var fit = CoverageFit.Fit(CoverageLaw.Mixture, [run], 1000);
        Assert.Equal(run.Coverage(1, 1000), fit.At(1, 1, 1), 0.03);
    }

    [Fact]
    public void Qeils_law_is_found_in_coverage_that_follows_it()
    {
        // P(no draw of S right) = exp(-x S) with one x for all tasks of a model: 1 - p = e^-x.
        SampledRun[] runs = [.. new[] { 1e6, 4e6, 16e6 }.Select((n, i) => Run(4000, 16, _ => 1 - Math.Exp(-0.001 * Math.Sqrt(n / 1e4)), i, n))];
        var fit = CoverageFit.Fit(CoverageLaw.Qeil, runs, 16);
        Assert.Equal(0.5, fit.Parameters[1], 0.06); // N
        Assert.Equal(1, fit.Parameters[2], 0.06); // S
        Assert.Equal(0, fit.Parameters[3]); // tokens did not vary
        Assert.Equal(runs[1].Coverage(8, 16), fit.At(4e6, 8, 40), 0.01);
    }

    [Fact]
    public void Browns_law_follows_a_curve_of_tasks_of_all_hardnesses()
    {
        var run = Run(4000, 8, r => Math.Pow(r.NextDouble(), 2.2), 5);
        var fit = CoverageFit.Fit(CoverageLaw.Brown, [run], 8);
        foreach (var k in new[] { 1, 2, 4, 8 })
            Assert.Equal(run.Coverage(k, 8), fit.At(1, k, 1), 0.01);
        Assert.True(fit.Parameters[0] < 0 && fit.Parameters[1] < 0);
    }

    [Fact]
    public void A_power_law_is_found_exactly_and_its_noise_widens_the_interval()
    {
        var random = new Random(3);
        double[][] x = [.. Enumerable.Range(0, 60).Select(_ => (double[])[1 + random.Next(16), 1 + (random.NextDouble() * 500)])];
        double[] y = [.. x.Select(r => 3 * Math.Pow(r[0], 0.8) * Math.Pow(r[1], 1.1))];
        var exact = PowerLaw.Fit(x, y);
        Assert.Equal((3.0, 0.8, 1.1), (Math.Round(exact.Factor, 9), Math.Round(exact.Exponents[0], 9), Math.Round(exact.Exponents[1], 9)));
        Assert.Equal(y[7], exact.At(x[7]), 1e-9 * y[7]);
        double[] noisy = [.. y.Select(v => v * (0.9 + (0.2 * random.NextDouble())))];
        var interval = Bootstrap.Intervals(x.Length, drawn => [.. PowerLaw.Fit([.. drawn.Select(i => x[i])], [.. drawn.Select(i => noisy[i])]).Exponents], 300)[0];
        Assert.InRange(0.8, interval.Low, interval.High);
        Assert.InRange(interval.High - interval.Low, 0.005, 0.1);
    }

    [Fact]
    public void An_additive_law_is_found_exactly_and_gives_nothing_back()
    {
        var random = new Random(5);
        double[][] x = [.. Enumerable.Range(0, 40).Select(_ => (double[])[1 + random.Next(30), 1e9 * random.NextDouble(), 1e11 * random.NextDouble()])];
        var law = AdditiveLaw.Fit(x, [.. x.Select(r => (0.002 * r[0]) + (r[1] / 1e10))]);
        Assert.Equal((0.002, 1e-10), (Math.Round(law.Coefficients[0], 9), Math.Round(law.Coefficients[1], 15)));
        Assert.InRange(law.Coefficients[2], 0, 1e-18);
        Assert.Equal(0.002 + 0.1, law.At(1, 1e9, 0), 1e-9);
        // What would fit best with a part below 0 has none of it.
        var slower = AdditiveLaw.Fit(x, [.. x.Select(r => (0.02 * r[0]) + (r[1] / 1e10) - (r[2] / 1e13))]);
        Assert.Equal(0, slower.Coefficients[2]);
        Assert.All(slower.Coefficients, c => Assert.True(c >= 0));
        // A kind of work that no measurement has costs nothing.
        Assert.Equal(0, AdditiveLaw.Fit([.. x.Select(r => (double[])[r[0], 0])], [.. x.Select(r => r[0])]).Coefficients[1]);
    }

    [Fact]
    public void The_bootstrap_interval_of_a_mean_is_its_standard_errors()
    {
        var random = new Random(4);
        double[] sample = [.. Enumerable.Range(0, 400).Select(_ => random.NextDouble())];
        var interval = Bootstrap.Intervals(400, drawn => [drawn.Average(i => sample[i])])[0];
        // 2 x 1.96 / sqrt(12 x 400)
        Assert.Equal(0.0566, interval.High - interval.Low, 0.008);
        Assert.InRange(sample.Average(), interval.Low, interval.High);
        Assert.Equal(interval, Bootstrap.Intervals(400, drawn => [drawn.Average(i => sample[i])])[0]);
    }

    [Fact]
    public void Held_out_draws_are_not_seen_by_the_fit()
    {
        var run = Run(200, 16, r => r.NextDouble(), 6);
        SampledRun changed = run with { Tasks = [.. run.Tasks.Select(t => (bool[])[.. t[..4], .. t[4..].Select(x => !x)])] };
        foreach (var law in Enum.GetValues<CoverageLaw>())
            Assert.Equal(CoverageFit.Fit(law, [run], 4).Parameters, CoverageFit.Fit(law, [changed], 4).Parameters);
    }

    [Fact]
    public void Curves_at_their_ends_are_fitted_with_finite_parameters()
    {
        foreach (var law in Enum.GetValues<CoverageLaw>())
        {
            foreach (var always in new[] { true, false })
            {
                var fit = CoverageFit.Fit(law, [Run(50, 8, _ => always ? 1.1 : -1, 7)], 8);
                Assert.All(fit.Parameters, p => Assert.True(double.IsFinite(p)));
                // A mixture keeps one task's worth of doubt.
                Assert.Equal(always ? 1 : 0, fit.At(1e6, 8, 40), law == CoverageLaw.Mixture ? 0.03 : 0.02);
            }
        }
    }

    [Fact]
    public void What_cannot_be_fitted_is_refused()
    {
        Assert.Contains("no tasks", Assert.Throws<ErgonException>(() => CoverageFit.Fit(CoverageLaw.Brown, [], 4)).Message, StringComparison.Ordinal);
        Assert.Contains("has 3 draws", Assert.Throws<ErgonException>(() => CoverageFit.Fit(CoverageLaw.Brown, [Run(5, 3, _ => 0.5, 1)], 4)).Message, StringComparison.Ordinal);
        Assert.Contains("do not determine", Assert.Throws<ErgonException>(() => PowerLaw.Fit([[2], [2], [2]], [1, 1, 1])).Message, StringComparison.Ordinal);
        Assert.Contains("above 0", Assert.Throws<ErgonException>(() => PowerLaw.Fit([[0], [2]], [1, 1])).Message, StringComparison.Ordinal);
        Assert.Contains("above 0", Assert.Throws<ErgonException>(() => AdditiveLaw.Fit([[1], [2]], [1, 0])).Message, StringComparison.Ordinal);
        Assert.Contains("1 measurements do not determine 2", Assert.Throws<ErgonException>(() => AdditiveLaw.Fit([[1, 2]], [1])).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Least_squares_solves_what_has_a_known_solution()
    {
        Assert.Equal([1.0, 2], LinearSolver.Solve(new double[,] { { 4, 2 }, { 2, 3 } }, [8, 8])!.Select(v => Math.Round(v, 12)));
        Assert.Null(LinearSolver.Solve(new double[,] { { 1, 1 }, { 1, 1 } }, [1, 2]));
        // Rosenbrock's valley ends at (1, 1).
        var x = LinearSolver.LeastSquares(v => [1 - v[0], 10 * (v[1] - (v[0] * v[0]))], [-1.2, 1]);
        Assert.Equal((1.0, 1.0), (Math.Round(x[0], 6), Math.Round(x[1], 6)));
    }
}
