using Ergon.Reasoning.Selection;
using Ergon.Reasoning.Stopping;

namespace Ergon.Tests.Reasoning;

public sealed class SelectionTests
{
    [Fact]
    public void The_model_that_made_the_outcomes_is_found_again_and_is_calibrated()
    {
        var random = new Random(1);
        var truth = new LogisticModel(["a", "b"], -0.5, [2, -30]);
        double[][] rows = [.. Enumerable.Range(0, 20_000).Select(_ => (double[])[random.NextDouble() * 3, random.NextDouble() * 0.1])];
        bool[] right = [.. rows.Select(r => random.NextDouble() < truth.Probability(r))];
        var fitted = LogisticModel.Fit(["a", "b"], rows[..10_000], right[..10_000], ridge: 1e-3);
        Assert.Equal(truth.Intercept, fitted.Intercept, 0.2);
        Assert.Equal(2, fitted.Coefficients[0], 0.2);
        Assert.Equal(-30, fitted.Coefficients[1], 4.0);
        Assert.InRange(LogisticModel.CalibrationError([.. rows[10_000..].Select(r => fitted.Probability(r))], right[10_000..]), 0, 0.02);
    }

    [Fact]
    public void The_fit_is_the_minimum_of_its_loss()
    {
        var random = new Random(2);
        double[][] rows = [.. Enumerable.Range(0, 50).Select(_ => (double[])[random.NextDouble() - 0.5])];
        bool[] right = [.. rows.Select(r => random.NextDouble() < 0.5 + r[0])];
        var mean = rows.Average(r => r[0]);
        var deviation = Math.Sqrt(rows.Average(r => (r[0] - mean) * (r[0] - mean)));
        var fit = LogisticModel.Fit(["x"], rows, right, ridge: 2);
        var best = Loss(fit.Intercept, fit.Coefficients[0]);
        foreach (var (a, b) in new[] { (0.01, 0.0), (-0.01, 0), (0, 0.05), (0, -0.05) })
            Assert.True(Loss(fit.Intercept + a, fit.Coefficients[0] + b) > best);

        double Loss(double intercept, double slope) => (slope * deviation * slope * deviation) // ridge/2 = 1
            + rows.Zip(right, (r, y) => Math.Log(1 + Math.Exp((y ? -1 : 1) * (intercept + (slope * r[0]))))).Sum();
    }

    [Fact]
    public void Outcomes_that_are_separated_or_all_alike_have_a_finite_fit()
    {
        double[][] rows = [.. Enumerable.Range(0, 20).Select(i => (double[])[i, 7])];
        var separated = LogisticModel.Fit(["x", "constant"], rows, [.. rows.Select(r => r[0] >= 10)]);
        Assert.True(separated.Probability([19, 7]) > 0.9 && separated.Probability([0, 7]) < 0.1);
        Assert.Equal(0, separated.Coefficients[1], 9);
        var alike = LogisticModel.Fit(["x", "constant"], rows, [.. rows.Select(_ => true)]);
        Assert.InRange(alike.Probability([10, 7]), 0.99, 1);
    }

    [Theory]
    [InlineData(new[] { 0.9, 0.9, 0.9, 0.9 }, new[] { true, true, true, true }, 0.1)]
    [InlineData(new[] { 0.95, 0.05 }, new[] { false, true }, 0.95)]
    [InlineData(new[] { 0.5, 0.5, 1 }, new[] { true, false, true }, 0)]
    public void Calibration_error_by_hand(double[] predictions, bool[] right, double error) => Assert.Equal(error, LogisticModel.CalibrationError(predictions, right), 12);

    // The right answer has clean steps more often, and is not always the most frequent.
    private static (Tally Tally, string Gold)[] Log(int seed, int problems)
    {
        var random = new Random(seed);
        return [.. Enumerable.Range(0, problems).Select(_ =>
        {
            var tally = new Tally(9);
            var skill = random.NextDouble();
            for (var i = 0; i < 9; i++)
            {
                var right = random.NextDouble() < skill;
                tally.Add(new Draw(right ? "gold" : $"wrong{random.Next(2)}", Evidence: random.NextDouble() < (right ? 0.95 : 0.25) ? 1 : 0.5, LogProbability: -random.NextDouble() - (right ? 0 : 0.3)));
            }
            return (tally, "gold");
        })];
    }

    [Fact]
    public void Evidence_beats_counting_where_it_says_more()
    {
        var (selector, error) = Arde.Fit(Log(1, 400));
        var others = Log(2, 400);
        var chosen = others.Count(o => selector.Choose(o.Tally)!.Value.Answer == o.Gold);
        var majority = others.Count(o => o.Tally.Winner == o.Gold);
        Assert.True(chosen > majority + 20, $"{chosen} against the majority's {majority} of 400");
        Assert.InRange(error, 0, 0.05);
    }

    [Fact]
    public void A_verifiers_word_is_final()
    {
        var selector = Arde.Fit(Log(1, 50)).Selector;
        var tally = new Tally(4);
        tally.Add(new Draw("popular", Verified: false, Evidence: 1));
        tally.Add(new Draw("popular", Evidence: 1));
        tally.Add(new Draw("rare", Evidence: 0.5));
        Assert.Equal("rare", selector.Choose(tally)!.Value.Answer);
        Assert.Equal(0, selector.Confidence(tally, "popular"));
        tally.Add(new Draw("popular", Verified: true));
        Assert.Equal(("popular", 1.0), selector.Choose(tally));
        Assert.Equal((0.0, 0.0), (selector.Confidence(tally, "unheard of"), selector.Confidence(new Tally(1))));
    }

    [Fact]
    public void Features_that_are_missing_are_named() => Assert.Multiple(
        () => Assert.Contains("0 rows", Assert.Throws<ErgonException>(() => LogisticModel.Fit(["x"], [], [])).Message, StringComparison.Ordinal),
        () => Assert.Contains("(NaN)", Assert.Throws<ErgonException>(() => LogisticModel.Fit(["x"], [[double.NaN]], [true])).Message, StringComparison.Ordinal));
}
