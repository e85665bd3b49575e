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
                Assert.Equal(always ? 1 : 0, fit.At(1e6, 8, 40), 0.02);
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
