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
    public void What_chance_alone_gives_a_perfect_predictor_is_the_mean_over_all_its_outcomes()
    {
        double[] predictions = [0.5, 0.52, 0.58, 0.91, 0.07];
        var mean = 0.0;
        for (var outcomes = 0; outcomes < 32; outcomes++)
        {
            bool[] right = [.. predictions.Select((_, i) => (outcomes >> i & 1) == 1)];
            mean += predictions.Zip(right, (p, r) => r ? p : 1 - p).Aggregate(1.0, (a, b) => a * b) * LogisticModel.CalibrationError(predictions, right);
        }
        Assert.Equal(mean, LogisticModel.ChanceError(predictions), 12);
        // Many outcomes leave little to chance, and as much by the sum that is exact as by the normal one.
        var (exact, normal) = (LogisticModel.ChanceError([.. Enumerable.Repeat(0.31, 4000)]), LogisticModel.ChanceError([.. Enumerable.Repeat(0.31, 5000)]));
        Assert.Equal(exact * Math.Sqrt(4000 / 5000.0), normal, 1e-5);
    }

    // Draws of a right plan slip often, and then come to no right answer; those of a wrong plan never hold throughout. With share the answer of a plan that holds is right.
    private static (Tally Tally, string Gold)[] Plans(int seed, int problems, double share = 1, double luck = 0.4, double worst = 1 / 3.0)
    {
        var random = new Random(seed);
        return [.. Enumerable.Range(0, problems).Select(_ =>
        {
            var tally = new Tally(12);
            var (skill, gold) = (random.NextDouble() * random.NextDouble(), random.NextDouble() < share ? "gold" : "another");
            for (var i = 0; i < 12; i++)
            {
                var clean = random.NextDouble() < skill;
                // A wrong step may still come to the right answer.
                var lucky = random.NextDouble() < luck;
                tally.Add(new Draw(clean || lucky ? "gold" : $"wrong{random.Next(4)}", Evidence: clean ? 1 : random.Next(2) == 0 ? worst : 2 / 3.0, LogProbability: -0.02 * random.NextDouble() - (clean ? 0 : 0.04 * random.NextDouble())));
            }
            // Whose steps never hold is right as seldom as any.
            return (tally, tally.Draws.Any(d => d.Evidence == 1) || random.Next(10) == 0 ? gold : "another");
        })];
    }

    private static double Error(Arde selector, (Tally Tally, string Gold)[] log)
    {
        var chosen = log.Select(l => (Choice: selector.Choose(l.Tally), l.Gold)).Where(c => c.Choice is not null).Select(c => (c.Choice!.Value.Probability, Right: c.Choice.Value.Answer == c.Gold)).ToArray();
        return LogisticModel.CalibrationError([.. chosen.Select(c => c.Probability)], [.. chosen.Select(c => c.Right)]);
    }

    [Fact]
    public void The_chosen_answers_confidence_is_calibrated_where_one_clean_draw_says_more_than_the_mean_of_many()
    {
        var (log, others) = (Plans(1, 400, luck: 0.1, worst: 0), Plans(2, 1000, luck: 0.1, worst: 0));
        var selector = Arde.Fit(log.Select(l => (l.Tally, l.Gold))).Selector;
        Assert.InRange(Error(selector, others), 0, 0.03);
        // What was fitted before clean draws were told apart is calibrated over all answers, and not over those that it chooses.
        double[][] rows = [.. log.SelectMany(l => Arde.Rows(l.Tally, 0)).Select(r => r[..4])];
        var coarse = new Arde(LogisticModel.Fit([.. Arde.Features.Take(4)], rows, [.. log.SelectMany(l => l.Tally.Answers.Select(a => a == l.Gold))]), 0);
        Assert.True(Error(coarse, others) > 0.03 && Error(coarse, others) > 2 * Error(selector, others), $"{Error(coarse, others)} against {Error(selector, others)}");
    }

    [Fact]
    public void A_selector_that_learns_online_is_calibrated_again_where_relations_have_shifted()
    {
        var selector = Ergon.Reasoning.Cascades.CascadeState.OfWords().Selector;
        var (stream, others) = (Plans(3, 600, share: 0.6), Plans(4, 2000, share: 0.6));
        Assert.True(Error(selector, others) > 0.2, $"{Error(selector, others)}");
        foreach (var (tally, gold) in stream)
            selector.Learn([tally], a => a == gold);
        Assert.InRange(Error(selector, others), 0, 0.05);
        Assert.Equal(stream.Length, selector.Learned!.Outcomes);
    }

    [Fact]
    public void A_selector_that_learns_what_it_knows_does_not_get_worse()
    {
        var selector = Arde.Fit(Plans(1, 400).Select(l => (l.Tally, l.Gold))).Selector;
        var others = Plans(2, 2000);
        var before = Error(selector, others);
        foreach (var (tally, gold) in Plans(5, 400))
        {
            selector.Learn([tally], a => a == gold);
            Assert.InRange(Error(selector, others[..200]), 0, 0.06);
        }
        Assert.InRange(Error(selector, others), 0, before + 0.01);
    }

    [Fact]
    public void A_few_false_outcomes_do_not_throw_it_off_and_true_ones_put_it_right()
    {
        var selector = Arde.Fit(Plans(1, 400).Select(l => (l.Tally, l.Gold))).Selector;
        foreach (var (tally, gold) in Plans(5, 200))
            selector.Learn([tally], a => a == gold);
        var clear = Plans(6, 50).Where(l => l.Tally.Draws.Count(d => d.Evidence == 1) > 3).Select(l => l.Tally).ToArray();
        Assert.NotEmpty(clear);
        Assert.All(clear, t => Assert.True(selector.Confidence(t) > 0.97));
        foreach (var (tally, _) in Plans(7, 5))
            selector.Learn([tally], _ => false);
        Assert.All(clear, t => Assert.True(selector.Confidence(t) > 0.6, $"{selector.Confidence(t)}"));
        foreach (var (tally, gold) in Plans(8, 100))
            selector.Learn([tally], a => a == gold);
        Assert.All(clear, t => Assert.True(selector.Confidence(t) > 0.9, $"{selector.Confidence(t)}"));
    }

    [Fact]
    public void A_problem_counts_once_however_many_tallies_it_has()
    {
        var (once, often) = (Ergon.Reasoning.Cascades.CascadeState.OfWords().Selector, Ergon.Reasoning.Cascades.CascadeState.OfWords().Selector);
        foreach (var (tally, gold) in Plans(3, 40, share: 0.5))
        {
            once.Learn([tally], a => a == gold);
            often.Learn([tally, tally, tally], a => a == gold);
        }
        Assert.Equal(once.Model.Intercept, often.Model.Intercept, 6);
        Assert.All(once.Model.Coefficients.Zip(often.Model.Coefficients), c => Assert.Equal(c.First, c.Second, 1e-5));
        // A problem without an answer tells nothing of answers.
        once.Learn([new Tally(1)], _ => true);
        Assert.Equal(40, once.Learned!.Outcomes);
    }

    [Fact]
    public void Features_that_are_missing_are_named() => Assert.Multiple(
        () => Assert.Contains("0 rows", Assert.Throws<ErgonException>(() => LogisticModel.Fit(["x"], [], [])).Message, StringComparison.Ordinal),
        () => Assert.Contains("(NaN)", Assert.Throws<ErgonException>(() => LogisticModel.Fit(["x"], [[double.NaN]], [true])).Message, StringComparison.Ordinal));
}
