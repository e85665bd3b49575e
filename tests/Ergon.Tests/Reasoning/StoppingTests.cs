using Ergon.Reasoning.Stopping;

namespace Ergon.Tests.Reasoning;

public sealed class StoppingTests
{
    [Fact]
    public void A_rule_errs_on_a_models_draws_where_it_stops_at_another_than_the_likeliest_answer()
    {
        static LoggedProblem Problem(string answers) => new("gold", [.. answers.Select(a => new LoggedDraw(new Draw(a.ToString()), 1))]);
        (LoggedProblem, string?)[] problems =
        [
            (Problem("aaaaabbbbb"), "b"), // stops at a after four, wrongly
            (Problem("aaaaaaaaaa"), "a"), // rightly
            (Problem("aaaaaaaaaa"), null), // nobody knows
            (Problem("ababababab"), "a"), // does not stop
            (Problem("abcdefaaaa"), "b"), // is right after all draws, but that is no stop
        ];
        Assert.Equal(new ErrorCount(5, 3, 1, 4 + 4 + 4 + 10 + 10), ErrorControl.Count(new AdaptiveConsistency(), problems));
    }

    private static Tally Of(string answers, int budget = 16)
    {
        var tally = new Tally(budget);
        foreach (var a in answers)
            tally.Add(new Draw(a == '-' ? null : a.ToString()));
        return tally;
    }

    private static int DrawsOf(IStoppingPolicy policy, string answers, int budget = 16) =>
        Enumerable.Range(1, answers.Length).First(n => n == answers.Length || policy.Stop(Of(answers[..n], budget)) is not null);

    [Theory]
    [InlineData("", null, 0, 0)]
    [InlineData("--", null, 0, 0)]
    [InlineData("ab", "a", 1, 1)] // of equals the first
    [InlineData("abb-", "b", 2, 1)]
    [InlineData("abba", "a", 2, 2)]
    public void The_winner_has_most_votes_and_came_first(string answers, string? winner, int lead, int runnerUp)
    {
        var tally = Of(answers);
        Assert.Equal((winner, lead, runnerUp), (tally.Winner, tally.Lead, tally.RunnerUp));
    }

    [Fact]
    public void One_unanimous_answer_is_certified_by_seven_draws_at_a_twentieth()
    {
        Assert.Equal(7, DrawsOf(new Certificate(0.05), "aaaaaaaaaaaa"));
        // (2^(n+1) - 1) / (n+1) first passes 2/0.05 with 56.8, 4/0.05 and 1/0.01 with 102.3.
        Assert.Equal(8, DrawsOf(new Certificate(0.05, 3), "aaaaaaaaaaaa"));
        Assert.Equal(9, DrawsOf(new Certificate(0.05, 5), "aaaaaaaaaaaa"));
        Assert.Equal(9, DrawsOf(new Certificate(0.01), "aaaaaaaaaaaa"));
    }

    [Fact]
    public void Evidence_is_the_integral()
    {
        for (var a = 0; a <= 12; a++)
        {
            for (var b = 0; b <= 12; b++)
            {
                // Simpson's rule on [1/2, 1].
                const int steps = 2000;
                var sum = 0.0;
                for (var i = 0; i <= steps; i++)
                {
                    var x = 0.5 + (0.5 * i / steps);
                    sum += Math.Pow(x, a) * Math.Pow(1 - x, b) * (i is 0 or steps ? 1 : i % 2 == 1 ? 4 : 2);
                }
                Assert.Equal(Math.Log(Math.Pow(2, a + b + 1) * sum * (0.5 / steps) / 3), Certificate.LogEvidence(a, b), 8);
            }
        }
    }

    [Fact]
    public void Evidence_is_a_martingale_against_a_fair_coin_and_stays_finite()
    {
        for (var a = 0; a <= 60; a++)
        {
            for (var b = 0; b <= 60; b++)
                Assert.Equal(Math.Exp(Certificate.LogEvidence(a, b)), (Math.Exp(Certificate.LogEvidence(a + 1, b)) + Math.Exp(Certificate.LogEvidence(a, b + 1))) / 2, 1e-9 * Math.Exp(Certificate.LogEvidence(a, b)));
        }
        Assert.Equal((20_001 * Math.Log(2)) - Math.Log(20_001), Certificate.LogEvidence(20_000, 0), 6);
        Assert.InRange(Certificate.LogEvidence(0, 20_000), -Math.Log(20_001) - 1, 0);
    }

    [Theory]
    [InlineData(0, 0, 0.5)]
    [InlineData(4, 0, 1 / 32.0)]
    [InlineData(0, 4, 31 / 32.0)]
    [InlineData(2, 1, 5 / 16.0)] // of 4 fair coins, at most one head
    public void The_posterior_that_the_leader_is_behind_is_a_binomial_tail(int a, int b, double probability) =>
        Assert.Equal(probability, Certificate.LeaderIsBehind(a, b), 12);

    [Theory]
    [InlineData("aaaaaaa", 4)]
    [InlineData("abaaaaaaaaa", 7)] // 6-1: 1 - 9/256; 5-1: 1 - 8/128
    public void Adaptive_consistency_stops_as_published(string answers, int draws) => Assert.Equal(draws, DrawsOf(new AdaptiveConsistency(), answers));

    [Theory]
    [InlineData("aaaaaaa", 5)]
    [InlineData("abaaaaaaaaaa", 10)]
    [InlineData("aaaaa", 5)]
    [InlineData("-----aaaaaa", 10)]
    public void Esc_stops_at_the_first_window_that_agrees(string answers, int draws) => Assert.Equal(draws, DrawsOf(new EarlyStoppingSelfConsistency(), answers));

    [Fact]
    public void Settled_means_that_no_continuation_changes_the_winner()
    {
        var random = new Random(1);
        for (var i = 0; i < 2000; i++)
        {
            var budget = random.Next(2, 8);
            var answers = new string([.. Enumerable.Range(0, random.Next(1, budget)).Select(_ => "abc-"[random.Next(4)])]);
            var tally = Of(answers, budget);
            // The new answer "z" stands for any unseen.
            var changes = Continuations(budget - answers.Length).Any(rest => Of(answers + rest, budget).Winner != tally.Winner);
            Assert.Equal(changes, new Settled().Stop(tally) is null);
        }

        static IEnumerable<string> Continuations(int length) => length == 0 ? [""] : Continuations(length - 1).SelectMany(c => "abcz-".Select(x => c + x));
    }

    [Fact]
    public void A_change_is_as_likely_as_the_sum_over_all_continuations()
    {
        foreach (var answers in new[] { "a", "ab", "abb", "aab", "abc", "aabbc", "abba", "aab-b" })
        {
            foreach (var options in new int?[] { null, 3, 4 })
            {
                foreach (var prior in new[] { 0.5, 1, 2.5 })
                {
                    var tally = Of(answers, answers.Length + 5);
                    Assert.Equal(Enumerated(tally, options, prior), new Prediction(0.02, options, prior).Exact(tally), 10);
                }
            }
        }
    }

    // Every order of the votes that are left, with its probability.
    private static double Enumerated(Tally tally, int? options, double prior)
    {
        return Walk([.. tally.Votes], tally.Left, 1);

        double Walk(int[] votes, int left, double probability)
        {
            if (left == 0)
            {
                var best = votes.Max();
                return Array.IndexOf(votes, best) == tally.Leader ? 0 : probability;
            }
            var alpha = options is null ? 0 : prior;
            var unseen = options is { } k ? (k - votes.Length) * prior : prior;
            var all = votes.Sum(v => v + alpha) + unseen;
            var sum = unseen > 0 ? Walk([.. votes, 1], left - 1, probability * unseen / all) : 0;
            for (var i = 0; i < votes.Length; i++)
            {
                int[] next = [.. votes];
                next[i]++;
                sum += Walk(next, left - 1, probability * (votes[i] + alpha) / all);
            }
            return sum;
        }
    }

    [Theory]
    [InlineData("aab", null)]
    [InlineData("abbcc", 5)]
    public void Simulation_agrees_with_convolution_and_repeats(string answers, int? options)
    {
        var (tally, rule) = (Of(answers), new Prediction(0.02, options));
        Assert.Equal(rule.Exact(tally), rule.Simulated(tally), 0.03); // four standard errors
        Assert.Equal(rule.Simulated(tally), new Prediction(0.02, options).Simulated(tally));
    }

    [Fact]
    public void What_is_settled_is_predicted_with_certainty()
    {
        var tally = Of("aaaaaaaab", 16);
        Assert.NotNull(new Settled().Stop(tally));
        Assert.Equal(0, new Prediction().Change(tally), 12);
        Assert.Equal(1, new Prediction().Change(Of("--")), 12);
    }

    [Fact]
    public void A_draw_is_worth_nothing_once_it_costs_more_than_it_can_gain()
    {
        var split = Of("ab");
        Assert.NotNull(new WorthOfDraws(worth: 1, joules: 1, price: 1).Stop(split));
        Assert.Null(new WorthOfDraws(worth: 1, joules: 1, price: 0.0001).Stop(split));
        var gains = new WorthOfDraws(1, 1, 1).Gains(split);
        Assert.Equal(0, gains[0]);
        Assert.All(gains[1..], g => Assert.InRange(g, 1e-6, 0.5));
        // 9 to none: little is left to gain.
        Assert.True(new WorthOfDraws(1, 1, 1).Gains(Of("aaaaaaaaa")).Max() < gains.Max() / 20);
        // One draw changes nothing at 3-1, several may.
        var led = new WorthOfDraws(1, 1, 1).Gains(Of("aaab"));
        Assert.Equal(0, led[1], 12);
        Assert.True(led[12] > 0);
    }

    [Fact]
    public void The_first_verified_answer_ends_it_and_evidence_only_where_it_is_accepted()
    {
        var tally = new Tally(4);
        tally.Add(new Draw("1", Verified: false, Evidence: 1));
        Assert.Null(new FirstVerified(acceptEvidence: true).Stop(tally));
        tally.Add(new Draw("2", Evidence: 1));
        Assert.Null(new FirstVerified().Stop(tally));
        Assert.NotNull(new FirstVerified(acceptEvidence: true).Stop(tally));
        Assert.Equal("2", new FirstVerified(acceptEvidence: true).Choose(tally));
        Assert.Equal("1", new FirstVerified().Choose(tally)); // the vote's
        tally.Add(new Draw("3", Verified: true));
        Assert.Equal("3", new FirstVerified().Choose(tally));
        Assert.Equal("3", new BestOfN().Choose(tally));
        tally.Add(new Draw(null));
        Assert.Throws<InvalidOperationException>(() => tally.Add(new Draw("4")));
    }

    [Fact]
    public void Of_several_rules_the_one_that_stops_chooses()
    {
        var both = new FirstOf(new FirstVerified(acceptEvidence: true), new AdaptiveConsistency());
        var tally = new Tally(8);
        foreach (var answer in new[] { "a", "a", "a" })
            tally.Add(new Draw(answer, Evidence: 0.5));
        Assert.Null(both.Stop(tally));
        tally.Add(new Draw("b", Evidence: 1));
        Assert.Equal("its steps hold", both.Stop(tally));
        Assert.Equal("b", both.Choose(tally));
        Assert.Equal("4 votes to 0", both.Stop(Of("aaaa")));
    }

    [Theory]
    [InlineData(0, null, 1, "delta|epsilon is 0")]
    [InlineData(1, null, 1, "delta|epsilon is 1")]
    [InlineData(0.05, 1, 1, "options is 1")]
    [InlineData(0.05, null, 0, "prior weight is 0")]
    public void Settings_out_of_range_are_refused(double level, int? options, double prior, string why)
    {
        Assert.Matches(why.Replace("delta|epsilon", "epsilon", StringComparison.Ordinal), Assert.Throws<ErgonException>(() => new Prediction(level, options, prior)).Message);
        if (prior != 0)
            Assert.Matches(why.Replace("delta|epsilon", "delta", StringComparison.Ordinal), Assert.Throws<ErgonException>(() => new Certificate(level, options)).Message);
    }

    [Fact]
    public void Giving_up_waits_until_the_next_draw_is_unlikely_to_be_clean()
    {
        var tally = new Tally(16);
        var rule = new GiveUp(0.2);
        for (var i = 0; i < 3; i++)
        {
            tally.Add(new Draw("a", Evidence: 0.5));
            Assert.Null(rule.Stop(tally)); // 1/3, 1/4, 1/5
        }
        tally.Add(new Draw(null));
        Assert.NotNull(rule.Stop(tally)); // 1/6
        tally.Add(new Draw("b", Evidence: 1));
        Assert.Null(rule.Stop(tally));
    }

    [Fact]
    public void A_replay_counts_what_was_drawn_and_what_it_led_to()
    {
        static LoggedDraw Clean(string answer) => new(new Draw(answer, Evidence: 1), 10);
        static LoggedDraw False(string answer) => new(new Draw(answer, Evidence: 0), 10, FalseAt: 4);
        LoggedProblem[] log = [new("a", [False("b"), False("b"), Clean("a")]), new("a", [Clean("a"), False("b"), False("c")])];
        Assert.Equal(new ReplayResult(2, 1, 2, 6, 60), ReplayResult.Of(log, new FixedBudget())); // b; a, seen first of three
        Assert.Equal(new ReplayResult(2, 2, 1, 4, 40), ReplayResult.Of(log, new FirstVerified(acceptEvidence: true)));
        Assert.Equal(new ReplayResult(2, 2, 2, 4, 4 + 4 + 10 + 10), ReplayResult.Of(log.Select(p => p.Abandoned), new FirstVerified(acceptEvidence: true)));
    }

    [Theory]
    [InlineData(2, 2)]
    [InlineData(3, 3)]
    [InlineData(5, 5)]
    [InlineData(50, null)] // an open set
    public void Certificates_are_wrong_at_most_as_often_as_they_may(int answers, int? options)
    {
        const double delta = 0.05;
        foreach (var spread in Enum.GetValues<ErrorControl.Spread>())
        {
            var counts = ErrorControl.Count([new Certificate(delta, options), new AdaptiveConsistency()], spread, answers, tasks: 1000, budget: 60, seed: 7);
            // Three standard errors of 1000 tasks above delta.
            Assert.True(counts[0].WrongShare <= delta + 0.021, $"{spread}: {counts[0]}");
            if (spread == ErrorControl.Spread.TwoRivals)
            {
                // The fixed threshold is looked at again and again; here nearly half of what it settles is wrong.
                Assert.True(counts[1].WrongShare > 2 * delta, $"{spread}: {counts[1]}");
            }
        }
    }
}
