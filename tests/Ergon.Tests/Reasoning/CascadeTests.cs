using Ergon.Inference;
using Ergon.Reasoning;
using Ergon.Reasoning.Cascades;
using Ergon.Reasoning.Stopping;
using Ergon.Reasoning.Tasks;

namespace Ergon.Tests.Reasoning;

public sealed class CascadeTests
{
    // Clean draws are right, each with its problem's chance; some problems have none.
    private static LoggedProblem[] Log(int seed, int problems)
    {
        var random = new Random(seed);
        return [.. Enumerable.Range(0, problems).Select(_ =>
        {
            var skill = random.Next(5) == 0 ? 0 : random.NextDouble();
            return new LoggedProblem("gold", [.. Enumerable.Range(0, 12).Select(_ => random.NextDouble() < skill
                ? new LoggedDraw(new Draw(random.Next(20) == 0 ? "wrong" : "gold", Evidence: 1, LogProbability: -0.1 * random.NextDouble()), 20)
                : new LoggedDraw(new Draw($"wrong{random.Next(3)}", Evidence: 0.5, LogProbability: -0.5 * random.NextDouble()), 20, 8))]);
        })];
    }

    [Fact]
    public void What_it_learned_on_some_problems_saves_draws_on_others_at_the_votes_accuracy_or_above()
    {
        var state = CascadeState.Fit("test", Log(1, 300));
        LoggedProblem[] others = [.. Log(2, 300).Select(p => p.Abandoned)];
        var vote = ReplayResult.Of(Log(2, 300), new FixedBudget());
        var cascade = ReplayResult.Of(others, new Cascade(state));
        Assert.True(cascade.Right > vote.Right, $"{cascade.Right} against the vote's {vote.Right}");
        Assert.True(cascade.Tokens < 0.3 * vote.Tokens, $"{cascade.Tokens} of {vote.Tokens} tokens");
        // Who finds an answer worth more draws longer, and is right at least as often.
        var (poor, rich) = (ReplayResult.Of(others, new Cascade(state, 0.5)), ReplayResult.Of(others, new Cascade(state, 16)));
        Assert.True(poor.Tokens < cascade.Tokens && cascade.Tokens <= rich.Tokens);
        Assert.True(poor.Right <= cascade.Right && cascade.Right <= rich.Right);
    }

    [Fact]
    public void Draws_that_were_seen_to_gain_nothing_are_not_made_and_those_that_gain_are()
    {
        var (none, much) = (new StageGains(), new StageGains());
        for (var i = 0; i < 200; i++)
        {
            none.Learn(Stage.Form, 0, 1, gain: 0, cost: 0.5);
            much.Learn(Stage.Form, 0, 1, gain: 1, cost: 0.5);
        }
        var selector = CascadeState.OfWords().Selector;
        var tally = new Tally(16);
        tally.Add(new Draw(null, Evidence: 0));
        Assert.NotNull(new Cascade(new CascadeState("", selector, none), 1).Stop(tally));
        Assert.Null(new Cascade(new CascadeState("", selector, much), 1).Stop(tally));
        // Untaught, it hopes for what the rule of succession promises: 1/3 for 1/16 of the budget.
        Assert.Null(new Cascade(new CascadeState("", selector, new StageGains()), 1).Stop(tally));
        Assert.NotNull(new Cascade(new CascadeState("", selector, new StageGains()), 0.18).Stop(tally));
    }

    [Fact]
    public void Draws_end_where_the_next_model_gains_more_for_a_joule()
    {
        var state = CascadeState.OfWords() with { Gains = new StageGains() };
        var tally = new Tally(16);
        tally.Add(new Draw(null, Evidence: 0));
        // A draw is thought to gain 1/3 for 1/16: 5.3 a budget.
        Assert.Contains("larger model", new Cascade(state, 4, next: (_, _) => (0.6, 0.1)).Stop(tally)!, StringComparison.Ordinal);
        Assert.Null(new Cascade(state, 4, next: (_, _) => (0.5, 0.1)).Stop(tally));
        Assert.Null(new Cascade(state, 0.5, next: (_, _) => (0.0, 0.0)).Stop(tally));
        // Where it is not worth its joules it does not count, whatever the draws gain.
        for (var i = 0; i < 1000; i++)
            state.Gains.Learn(Stage.Form, 0, 1, 0.02, 0.06);
        Assert.Null(new Cascade(state, 4, next: (_, _) => (0.5, 3)).Stop(tally));
    }

    [Fact]
    public void Expectations_go_from_the_prior_to_what_was_seen()
    {
        var gains = new StageGains();
        Assert.Equal((0.4, 0.1), gains.Expect(Stage.Escalation, 0.31, 5, 0.4, 0.1));
        for (var i = 0; i < 10; i++)
            gains.Learn(Stage.Escalation, 0.39, 4, 0, 0.3);
        var (gain, cost) = gains.Expect(Stage.Escalation, 0.31, 5, 0.4, 0.1);
        Assert.Equal((0.2, 0.2), (Math.Round(gain, 9), Math.Round(cost, 9)));
        // What was seen of models in general is where each begins, and its own outcomes count for it alone.
        Assert.Equal(0.2, gains.Expect(Stage.Escalation, 0.31, 5, 0.4, 0.1, "mine").Gain, 9);
        for (var i = 0; i < 30; i++)
            gains.Learn(Stage.Escalation, 0.31, 5, 1, 0.2, "mine");
        Assert.Equal(0.8, gains.Expect(Stage.Escalation, 0.31, 5, 0.4, 0.1, "mine").Gain, 9);
        Assert.Equal(0.2, gains.Expect(Stage.Escalation, 0.31, 5, 0.4, 0.1, "other").Gain, 9);
        // Other situations are as unknown as before.
        Assert.Equal((0.4, 0.1), gains.Expect(Stage.Escalation, 0.31, 8, 0.4, 0.1));
        Assert.Equal((0.4, 0.1), gains.Expect(Stage.Verification, 0.31, 5, 0.4, 0.1));
    }

    [Fact]
    public void What_passed_is_the_answer_and_only_survivors_are_verified()
    {
        var cascade = new Cascade(CascadeState.OfWords());
        var tally = new Tally(9);
        tally.Add(new Draw("5", Verified: false, Evidence: 1));
        Assert.Null(cascade.Stop(tally));
        tally.Add(new Draw("6", Verified: true, Evidence: 1));
        Assert.Equal(("verified", "6"), (cascade.Stop(tally), cascade.Choose(tally)));
        Assert.True(cascade.Verifies(new Draw("5", Evidence: null)));
        Assert.False(cascade.Verifies(new Draw("5", Evidence: 0.5)));
        Assert.False(cascade.Verifies(new Draw(null)));
    }

    [Fact]
    public void A_check_that_always_passes_and_costs_much_is_left_out()
    {
        var state = CascadeState.OfWords() with { Gains = new StageGains() };
        var draw = new Draw("5", Evidence: 1, LogProbability: -0.01);
        Assert.True(new Cascade(state).Verifies(draw));
        for (var i = 0; i < 300; i++)
            state.Gains.Learn(Stage.Verification, state.Selector.Confidence(One(draw)), 1, gain: 0, cost: 0.4);
        Assert.False(new Cascade(state).Verifies(draw));

        static Tally One(Draw draw)
        {
            var tally = new Tally(1);
            tally.Add(draw);
            return tally;
        }
    }

    [Fact]
    public void A_state_is_the_same_after_writing_and_reading_and_what_is_none_is_refused()
    {
        using var folder = new TemporaryFolder();
        var path = Path.Combine(folder.Path, "state.json");
        var state = CascadeState.Fit("test", Log(3, 50));
        state.Save(path);
        var again = CascadeState.Load(path);
        Assert.Equal((state.Origin, state.Write()), (again.Origin, again.Write()));
        Assert.NotEmpty(again.Gains.Cells);
        foreach (var (text, reason) in new[] { ("{", "not JSON"), ("{}", "lacks"), ("""{"selector":{"features":["x"],"intercept":0,"coefficients":[1]},"stages":[]}""", "features are not") })
        {
            File.WriteAllText(path, text);
            Assert.Contains(reason, Assert.Throws<ErgonException>(() => CascadeState.Load(path)).Message, StringComparison.Ordinal);
        }
        Assert.Contains("cannot be read", Assert.Throws<ErgonException>(() => CascadeState.Load(folder.Path)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void What_a_selector_learned_goes_on_after_writing_and_reading_as_if_it_had_not_been_written()
    {
        var (whole, parted) = (CascadeState.OfWords(), CascadeState.OfWords());
        Assert.Null(whole.Selector.Learned);
        foreach (var problem in Log(5, 30))
        {
            whole.Selector.Learn([problem.After(12)], a => a == problem.Gold);
            parted.Selector.Learn([problem.After(12)], a => a == problem.Gold);
            parted = CascadeState.Read(parted.Write());
        }
        Assert.Equal(whole.Write(), parted.Write());
        Assert.NotEqual(CascadeState.OfWords().Selector.Model.Intercept, parted.Selector.Model.Intercept);
        Assert.Contains("no matrix of 7 rows", Assert.Throws<ErgonException>(() => CascadeState.Read(Edited("1, 2"))).Message, StringComparison.Ordinal);
        Assert.Contains("would be positive", Assert.Throws<ErgonException>(() => CascadeState.Read(Edited("-9" + string.Concat(Enumerable.Repeat(", 0", 27))))).Message, StringComparison.Ordinal);

        string Edited(string precision)
        {
            var text = CascadeState.OfWords().Write();
            Assert.Contains("\"learned\": null", text, StringComparison.Ordinal);
            return text.Replace("\"learned\": null", $$"""
                "learned": {"outcomes": 1, "precision": [{{precision}}]}
                """, StringComparison.Ordinal);
        }
    }

    [Fact]
    public void A_state_of_before_clean_draws_were_told_apart_still_loads_and_learns()
    {
        const string Old = """{"origin": "old", "selector": {"features": ["agreement", "log-probability", "evidence", "entropy"], "intercept": -6.5, "coefficients": [3, -4, 16, -0.5]}, "typicalLogProbability": -0.03, "stages": []}""";
        var state = CascadeState.Read(Old);
        Assert.Equal([3, -4, 16, -0.5, 0, 0], state.Selector.Model.Coefficients);
        var tally = new Tally(2);
        tally.Add(new Draw("4", Evidence: 1, LogProbability: -0.1));
        tally.Add(new Draw("5", Evidence: 0.5, LogProbability: -0.1));
        var odds = -6.5 + (3 / 3.0) + 0.4 + (16 * 0.5) - (0.5 * Math.Log(2));
        Assert.Equal(1 / (1 + Math.Exp(-odds)), state.Selector.Confidence(tally, "4"), 9);
        state.Selector.Learn([tally], a => a == "5");
        Assert.True(state.Selector.Confidence(tally, "4") < 1 / (1 + Math.Exp(-odds)));
        Assert.True(state.Selector.Model.Coefficients[4] < 0);
        // In another order, by name; and what was learned of fewer features is of those.
        var other = CascadeState.Read(Old.Replace("\"agreement\", \"log-probability\"", "\"log-probability\", \"agreement\"", StringComparison.Ordinal)
            .Replace("\"stages\"", "\"learned\": {\"outcomes\": 2, \"precision\": [1, 2, 9, 3, 1, 8, 0, 0, 0, 7, 0, 0, 0, 0, 6]}, \"stages\"", StringComparison.Ordinal));
        Assert.Equal([-4, 3, 16, -0.5, 0, 0], other.Selector.Model.Coefficients);
        Assert.Equal([1, 3, 8, 2, 1, 9, 0, 0, 0, 7, 0, 0, 0, 0, 6, .. new double[13]], other.Selector.Learned!.Precision);
    }

    [Fact]
    public void Every_named_policy_is_made_and_others_are_refused()
    {
        Assert.All(StoppingPolicies.Names, name => Assert.NotNull(StoppingPolicies.Named(name)));
        Assert.Contains("must be one of cascade, majority", Assert.Throws<ErgonException>(() => StoppingPolicies.Named("x")).Message, StringComparison.Ordinal);
        Assert.Contains("delta is 0", Assert.Throws<ErgonException>(() => StoppingPolicies.Named("majority", 0)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Problems_go_up_only_as_far_as_they_must_and_outcomes_teach()
    {
        var opened = new List<string>();
        Rung Rung(string name) => new(name, new FileInfo(Path(name)).Length, () =>
        {
            opened.Add(name);
            var model = ErgonModel.Load(Path(name), new ModelOptions { MaxSequences = 8, Threads = 1, ContextLength = 512 });
            return new OpenRung(model, null, [model]);
        });
        var state = CascadeState.OfWords();
        var options = new SolverOptions { Samples = 4, AbandonFalse = true };
        var escalation = new Escalation([Rung("words-s"), Rung("words-m")], new WordProblemTask(20), cascade => cascade, state, options);
        List<EscalatedProblem> solved = [];
        await foreach (var problem in escalation.RunAsync())
            solved.Add(problem);
        Assert.Equal(["words-s", "words-m"], opened);
        Assert.Equal(20, solved.Select(s => s.Final.Problem.Id).Distinct().Count());
        Assert.Contains(solved, s => s.Rungs.Count == 1);
        Assert.Contains(solved, s => s.Rungs.Count == 2);
        // Those that stayed were surer than those that went.
        Assert.True(solved.Where(s => s.Rungs.Count == 1).Average(s => s.Confidence) > solved.Where(s => s.Rungs.Count == 2).Average(s => state.Selector.Confidence(s.Rungs[0].Tally)));
        Assert.True(solved.Count(s => s.Final.Right) > solved.Count(s => s.Rungs[0].Right));
        Assert.Contains(state.Gains.Cells, c => c.Stage == Stage.Escalation);
        // The selector learned from each problem with an answer, of either model.
        Assert.Equal(solved.Sum(s => s.Rungs.Count(r => r.Answer is not null)), state.Selector.Learned!.Outcomes);

        static string Path(string name) => System.IO.Path.Combine(AppContext.BaseDirectory, "models", name + "-f16.gguf");
    }
}
