using Ergon.Energy;
using Ergon.Inference;
using Ergon.Models.Templates;
using Ergon.Reasoning;
using Ergon.Reasoning.Cascades;
using Ergon.Reasoning.Stopping;
using Ergon.Reasoning.Tasks;
using Ergon.Reasoning.Verifiers;
using Ergon.Units;

namespace Ergon.Tests.Reasoning;

public sealed class VerifierModelTests
{
    private static ErgonModel Load(string name, int sessions = LocalVerifier.Sessions, int? context = null) =>
        ErgonModel.Load(Path.Combine(AppContext.BaseDirectory, "models", name + "-f16.gguf"), new ModelOptions { MaxSequences = sessions, Threads = 1, ContextLength = context });

    // Everything takes 1 J.
    private static Func<int, Task<Receipt>> OneJoule(Session? _) => tokens => Task.FromResult(new Receipt(new Joules(1), null, null, null, TimeSpan.FromSeconds(1), tokens, "measured:test", EnergyQuality.Counter, null));

    [Fact]
    public async Task A_likelihood_is_the_geometric_mean_of_what_the_model_gives_its_own_greedy_tokens()
    {
        using var model = Load("words-l", 4);
        using var verifier = new LocalVerifier(model, VerifyBy.Likelihood);
        foreach (var problem in new WordProblemTask(3).Problems)
        {
            using var session = model.CreateSession();
            var text = "";
            var tokens = 0;
            await foreach (var token in session.GenerateAsync(model.Tokenize(new ChatTemplateInput { Messages = [new ChatTemplateMessage("user", problem.Prompt)] }),
                new GenerationOptions { MaxTokens = 8, LogProbabilities = true, Sampling = new SamplingOptions { Temperature = 0 } }))
            {
                text += token.Text;
                tokens++;
            }
            // Eight tokens end no text: none of them is a token that shows nothing.
            Assert.Equal(8, tokens);
            Assert.Equal(Math.Exp(session.Statistics!.LogProbability!.Value / tokens), (await verifier.ScoreAsync(problem, text, CancellationToken.None)).Score!.Value, 2e-3);
        }
    }

    [Fact]
    public async Task The_larger_model_finds_right_answers_likelier_than_the_small_ones_wrong_ones()
    {
        using var small = Load("words-s", 8);
        using var large = Load("words-l");
        using var verifier = new LocalVerifier(large, VerifyBy.Likelihood, OneJoule);
        Assert.Contains("by likelihood", verifier.Name, StringComparison.Ordinal);
        List<double> right = [], wrong = [];
        await foreach (var solved in new Solver(small, new WordProblemTask(40), new FixedBudget(), new SolverOptions { Samples = 4 }).RunAsync())
        {
            foreach (var draw in solved.Draws.Where(d => d.Draw.Answer is not null))
            {
                var (score, receipt, _) = await verifier.ScoreAsync(solved.Problem, draw.Text, CancellationToken.None);
                Assert.InRange(score!.Value, 1e-9, 1);
                Assert.Equal(1, (await receipt!).Energy!.Value.Value);
                (draw.Draw.Answer == solved.Problem.Gold ? right : wrong).Add(score.Value);
            }
        }
        Assert.True(right.Count > 10 && wrong.Count > 10, $"{right.Count} right, {wrong.Count} wrong");
        var above = right.Sum(r => wrong.Count(w => w < r)) / ((double)right.Count * wrong.Count);
        Assert.True(above > 0.85, $"a right one is above a wrong one in {above:P0} of pairs");
    }

    [Fact]
    public async Task A_judges_score_is_the_share_of_yes_and_a_text_that_does_not_fit_has_none()
    {
        using var model = Load("words-l", context: 256);
        using var judge = new LocalVerifier(model, VerifyBy.Judge);
        var problem = new Problem("asked", "Ada has 17 apples. Ben gives Ada 25 more. How many apples does Ada have now?");
        var score = (await judge.ScoreAsync(problem, "17+25=42 #### 42", CancellationToken.None)).Score!.Value;
        var prompt = new ChatTemplateInput { Messages = [new ChatTemplateMessage("user", JudgeQuestion.Of(problem, "17+25=42 #### 42"))] };
        double[] each = [.. (await LogLikelihood.ScoreTokensAsync(model, model.Tokenize(prompt), [model.Tokenize(prompt, "Yes"), model.Tokenize(prompt, "No")], CancellationToken.None)).Select(l => Math.Exp(l.LogProbability))];
        Assert.Equal(each[0] / (each[0] + each[1]), score, 1e-6);
        Assert.True(judge.IsProbability);

        // What was not looked at took nothing.
        Assert.Equal(new VerifierScore(null, null, Asked: false), await judge.ScoreAsync(problem, string.Join(' ', Enumerable.Range(0, 300)), CancellationToken.None));
        Assert.Equal(1, judge.Failures);
        Assert.Contains("do not fit its context of 256", judge.LastFailure, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_check_that_is_cancelled_has_no_score_and_leaves_the_next_one_free()
    {
        using var model = Load("words-l");
        using var verifier = new LocalVerifier(model, VerifyBy.Likelihood, OneJoule);
        using var stop = new CancellationTokenSource();
        await stop.CancelAsync();
        Assert.Null((await verifier.ScoreAsync(new WordProblemTask(1).Problems[0], "1+1=2", stop.Token)).Score);
        Assert.NotNull((await verifier.ScoreAsync(new WordProblemTask(1).Problems[0], "1+1=2", CancellationToken.None)).Score);
        Assert.Equal(0, verifier.Failures);
    }

    [Fact]
    public async Task Only_survivors_are_scored_one_of_each_answer_and_what_that_takes_is_booked_to_verification()
    {
        using var small = Load("words-s", 8);
        using var verifier = new Counting(0.5);
        List<SolvedProblem> all = [];
        await foreach (var solved in new Solver(small, new WordProblemTask(20), new Cascade(CascadeState.OfWords().For(verifier), 100), new SolverOptions { Samples = 6, Verifier = verifier }, OneJoule).RunAsync())
            all.Add(solved);
        Assert.All(all, solved =>
        {
            BookedDraw[] asked = [.. solved.Draws.Where(d => d.Asked)];
            Assert.All(asked, d => Assert.True(d.Draw is { Answer: not null, Score: 0.5, Verified: null } && d.Draw.Evidence is not < 1));
            Assert.Equal(asked.Length, asked.Select(d => d.Draw.Answer).Distinct().Count());
            Assert.Equal(solved.Draws.Where(d => d.Draw.Answer is not null && d.Draw.Evidence is not < 1).Select(d => d.Draw.Answer).Distinct().Count(), asked.Length);
            var stage = solved.Stages.Single(s => s.Stage == Stage.Verification);
            Assert.Equal((asked.Length, 3.0 * asked.Length), (stage.Count, stage.Energy!.Value.Value));
            Assert.Equal(solved.Draws.Count + (3.0 * asked.Length), solved.Energy!.Value.Value);
        });
        Assert.Equal(verifier.Count, all.Sum(s => s.Draws.Count(d => d.Asked)));
        Assert.True(verifier.Count > 5);
    }

    [Fact]
    public async Task Side_by_side_the_first_draw_of_an_answer_has_its_score_whichever_ended_first()
    {
        using var small = Load("words-s", 8);
        using var verifier = new Counting(0.5);
        List<SolvedProblem> all = [];
        await foreach (var solved in new Solver(small, new WordProblemTask(12), new Cascade(CascadeState.OfWords().For(verifier), 100), new SolverOptions { Samples = 6, Wave = 3, Verifier = verifier }).RunAsync())
            all.Add(solved);
        Draw[] survivors = [.. all.SelectMany(s => s.Tally.Draws).Where(d => d.Answer is not null && d.Evidence is not < 1)];
        Assert.NotEmpty(survivors);
        Assert.All(survivors, d => Assert.Equal(0.5, d.Score));
        Assert.All(all, s => Assert.Equal(s.Draws.Count(d => d.Asked), s.Draws.Where(d => d.Asked).Select(d => d.Draw.Answer).Distinct().Count()));
    }

    [Fact]
    public async Task Who_gives_no_score_is_asked_again_and_changes_no_answer()
    {
        using var small = Load("words-s", 4);
        async Task<List<SolvedProblem>> Solve(IVerifierModel? verifier)
        {
            List<SolvedProblem> all = [];
            await foreach (var solved in new Solver(small, new WordProblemTask(8), new Cascade(CascadeState.OfWords(), 100), new SolverOptions { Samples = 6, Verifier = verifier }).RunAsync())
                all.Add(solved);
            return [.. all.OrderBy(s => s.Problem.Id, StringComparer.Ordinal)];
        }

        using var mute = new Counting(null);
        var (with, without) = (await Solve(mute), await Solve(null));
        Assert.Equal(without.Select(s => s.Answer), with.Select(s => s.Answer));
        Assert.Equal(with.Sum(s => s.Draws.Count(d => d.Draw.Answer is not null && d.Draw.Evidence is not < 1)), mute.Count);
    }

    [Fact]
    public void A_score_moves_the_confidence_and_verifies_nothing()
    {
        using var judge = new Counting(0.5);
        var state = CascadeState.OfWords().For(judge);
        double Confidence(double? score) => state.Selector.Confidence(Of(new Draw("5", Evidence: 1, LogProbability: -0.02, Score: score)));
        Assert.True(Confidence(0.01) < Confidence(0.5) && Confidence(0.5) < Confidence(0.99));
        // Even odds say nothing, and no word is final.
        Assert.Equal(Confidence(null), Confidence(0.5), 12);
        Assert.InRange(Confidence(0), 1e-6, 1);
        Assert.InRange(Confidence(1), 0, 1 - 1e-9);
        Assert.NotEqual("verified", new Cascade(state).Stop(Of(new Draw("5", Evidence: 1, LogProbability: -0.02, Score: 1))));
        // The judge decides between answers that are otherwise alike.
        Assert.Equal("6", state.Selector.Choose(Of(new Draw("5", Evidence: 1, Score: 0.2), new Draw("6", Evidence: 1, Score: 0.8)))!.Value.Answer);
    }

    [Fact]
    public void A_likelihood_that_nobody_has_fitted_ranks_the_answers_of_a_problem_and_no_more()
    {
        using var verifier = new Counting(0.5, isProbability: false);
        var selector = CascadeState.OfWords().Selector.For(verifier);
        Assert.Equal(selector.Confidence(Of(new Draw("5", Evidence: 1))), selector.Confidence(Of(new Draw("5", Evidence: 1, Score: 0.1))), 12);
        Assert.Equal("6", selector.Choose(Of(new Draw("5", Evidence: 1, Score: 0.9), new Draw("6", Evidence: 1, Score: 0.99)))!.Value.Answer);
    }

    [Fact]
    public void A_selector_fitted_with_scores_weighs_them_and_one_without_loads_and_takes_nothing_from_them()
    {
        var random = new Random(4);
        // Clean draws of which only the score knows whether they are right.
        LoggedProblem[] log = [.. Enumerable.Range(0, 200).Select(_ => new LoggedProblem("gold", [.. Enumerable.Range(0, 4).Select(_ =>
        {
            var right = random.Next(2) == 0;
            return new LoggedDraw(new Draw(right ? "gold" : $"wrong{random.Next(3)}", Evidence: 1, LogProbability: -0.1, Score: right ? 0.9 + (0.09 * random.NextDouble()) : 0.5 + (0.42 * random.NextDouble())), 20);
        })]))];
        var state = CascadeState.Fit("test", log, "judge");
        var again = CascadeState.Read(state.Write());
        Assert.Equal((state.Write(), "judge", state.Selector.TypicalScore), (again.Write(), again.Selector.ScoredBy, again.Selector.TypicalScore));
        double Of(double? score) => again.Selector.Confidence(VerifierModelTests.Of(new Draw("5", Evidence: 1, LogProbability: -0.1, Score: score)));
        Assert.True(Of(0.97) > 0.8 && Of(0.6) < 0.2, $"{Of(0.97)}, {Of(0.6)}");
        Assert.InRange(Of(null), 0.25, 0.75);

        const string old = """{"origin":"old","selector":{"features":["agreement","log-probability","evidence","entropy"],"intercept":-1,"coefficients":[1,2,3,-1]},"typicalLogProbability":-0.1,"stages":[]}""";
        var before = CascadeState.Read(old);
        Assert.Equal((null, null), (before.Selector.ScoredBy, before.Selector.TypicalScore));
        Assert.Equal(before.Selector.Confidence(VerifierModelTests.Of(new Draw("5", Evidence: 1))), before.Selector.Confidence(VerifierModelTests.Of(new Draw("5", Evidence: 1, Score: 0.01))), 12);
    }

    [Fact]
    public void A_verifier_that_gains_nothing_is_not_asked_and_one_that_puts_answers_right_is()
    {
        // Every first draw is clean and wrong, the second right; or there is no better one.
        static StageGains After(bool helps)
        {
            using var judge = new Counting(0.5);
            var state = CascadeState.OfWords().For(judge) with { Gains = new StageGains() };
            var cascade = new Cascade(state, 1, "m", verifier: judge.Name);
            var first = new Draw("5", Evidence: 1, LogProbability: -0.02);
            Assert.True(cascade.Scores(first));
            for (var i = 0; i < 200; i++)
            {
                var tally = new Tally(16);
                Draw[] draws = [first with { Score = 0.001 }, new Draw("6", Evidence: 1, LogProbability: -0.02, Score: 0.999)];
                BookedDraw[] booked = [.. draws.Select(d => new BookedDraw(d, "", 20, false, null, Joules(1)) { Asked = true, Scoring = Joules(0.5) })];
                foreach (var draw in draws)
                    tally.Add(draw);
                cascade.Learn(new SolvedProblem(new Problem("p", "?", helps ? "6" : "7"), "6", helps, null, 9, booked, tally));
            }
            var confidence = state.Selector.Confidence(Of(first));
            Assert.Equal(helps, state.Gains.Expect(Stage.Verification, confidence, 1, 0, 0, "m, scored by " + judge.Name).Gain > 0.1);
            Assert.Equal(helps, cascade.Scores(first));
            return state.Gains;
        }

        Assert.Contains(After(helps: true).Cells, c => c.Stage == Stage.Verification && c.Cost > 0);
        After(helps: false);

        static Receipt Joules(double joules) => new(new Joules(joules), null, null, null, TimeSpan.FromSeconds(1), 20, "measured:test", EnergyQuality.Counter, null);
    }

    private static Tally Of(params Draw[] draws)
    {
        var tally = new Tally(16);
        foreach (var draw in draws)
            tally.Add(draw);
        return tally;
    }

    // Says the same of everything, for 3 J.
    private sealed class Counting(double? score, bool isProbability = true) : IVerifierModel
    {
        private int _count;

        public int Count => _count;

        public string Name => "counting";

        public bool IsProbability => isProbability;

        public int Failures => 0;

        public string? LastFailure => null;

        public Task<VerifierScore> ScoreAsync(Problem problem, string text, CancellationToken cancellation)
        {
            Interlocked.Increment(ref _count);
            return Task.FromResult(new VerifierScore(score, Task.FromResult(new Receipt(new Joules(3), null, null, null, TimeSpan.FromSeconds(1), 0, "measured:test", EnergyQuality.Counter, null))));
        }

        public void Dispose()
        {
        }
    }
}
