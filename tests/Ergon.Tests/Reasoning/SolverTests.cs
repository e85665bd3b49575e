using Ergon.Inference;
using Ergon.Reasoning;
using Ergon.Reasoning.Stopping;
using Ergon.Reasoning.Tasks;
using Ergon.Units;

namespace Ergon.Tests.Reasoning;

public sealed class SolverTests
{
    private static string Model => Path.Combine(AppContext.BaseDirectory, "models", "words-s-f16.gguf");

    private static async Task<List<SolvedProblem>> Solve(IStoppingPolicy policy, int items, int wave, int sequences, int samples = 6, Func<DrawUse, Joules?>? joules = null, bool abandon = false)
    {
        using var model = ErgonModel.Load(Model, new ModelOptions { MaxSequences = sequences, Threads = 1, ContextLength = 512 });
        var solver = new Solver(model, new WordProblemTask(items), policy, new SolverOptions { Samples = samples, Wave = wave, AbandonFalse = abandon }, joules);
        List<SolvedProblem> solved = [];
        await foreach (var problem in solver.RunAsync())
            solved.Add(problem);
        return [.. solved.OrderBy(s => s.Problem.Id, StringComparer.Ordinal)];
    }

    [Theory]
    [InlineData(1, 4)]
    [InlineData(3, 4)]
    [InlineData(6, 7)]
    public async Task Every_problem_is_drawn_to_its_budget_whatever_the_wave(int wave, int sequences)
    {
        var solved = await Solve(new FixedBudget(), 5, wave, sequences);
        Assert.Equal(5, solved.Count);
        Assert.All(solved, s => Assert.Equal((6, null, s.Draws.Count(d => d.Cancelled)), (s.Draws.Count, s.Reason, 0)));
        Assert.Equal(5, solved.Select(s => s.Problem.Id).Distinct().Count());
        Assert.Contains(solved, s => s.Right);
        // Draws differ from one another, and are whole answers.
        Assert.Contains(solved, s => s.Draws.Select(d => d.Text).Distinct().Count() > 1);
        Assert.Contains(solved, s => s.Draws.Any(d => d.Draw.Answer is not null && d.Draw.Evidence is not null));
    }

    [Fact]
    public async Task Draws_one_after_another_are_none_in_vain_and_repeat_by_seed()
    {
        var all = await Solve(new FixedBudget(), 4, 1, 1);
        var stopped = await Solve(new FirstVerified(acceptEvidence: true), 4, 1, 1);
        foreach (var (full, part) in all.Zip(stopped))
        {
            Assert.Equal(full.Draws.Take(part.Draws.Count).Select(d => d.Text), part.Draws.Select(d => d.Text));
            var clean = full.Draws.ToList().FindIndex(d => d.Draw is { Answer: not null, Evidence: 1 });
            Assert.Equal(clean < 0 ? 6 : clean + 1, part.Draws.Count);
            Assert.Equal(clean >= 0 && clean < 5, part.Reason is not null);
        }
        Assert.Contains(stopped, s => s.Draws.Count < 6);
    }

    [Fact]
    public async Task A_policy_that_stops_cancels_what_runs_beside_and_the_rows_go_to_others()
    {
        var solved = await Solve(new StopAtFirst(), 6, 3, 4);
        Assert.Equal(6, solved.Count);
        // The first draw decides; whatever was begun with it was in vain, and nothing was begun after.
        Assert.All(solved, s => Assert.InRange(s.Draws.Count, 1, 6));
        Assert.All(solved, s => Assert.False(s.Draws[0].Cancelled));
        Assert.All(solved, s => Assert.Equal(s.Draws[0].Draw.Answer, s.Answer));
        Assert.Contains(solved, s => s.Draws.Any(d => d.Cancelled));
    }

    [Fact]
    public async Task Joules_are_booked_for_every_draw_and_unknown_ones_stay_unknown()
    {
        var solved = await Solve(new StopAtFirst(), 3, 2, 3, samples: 4, joules: use => new Joules(use.CompletionTokens));
        Assert.All(solved, s => Assert.Equal(s.Tokens, s.Energy!.Value.Value));
        Assert.All(await Solve(new StopAtFirst(), 1, 1, 1, samples: 2), s => Assert.Null(s.Energy));
    }

    [Fact]
    public async Task A_draw_ends_with_its_first_false_step_and_the_others_are_unchanged()
    {
        var whole = await Solve(new FixedBudget(), 6, 1, 1);
        var abandoned = await Solve(new FixedBudget(), 6, 1, 1, abandon: true);
        var ended = 0;
        foreach (var (full, part) in whole.SelectMany(s => s.Draws).Zip(abandoned.SelectMany(s => s.Draws)))
        {
            Assert.StartsWith(part.Text, full.Text, StringComparison.Ordinal);
            Assert.Equal(full.FalseAt, part.FalseAt);
            if (full.FalseAt is not null)
            {
                ended++;
                Assert.True(part.Tokens <= full.Tokens);
                Assert.Equal(new Draw(null, Evidence: 0), part.Draw);
                Assert.NotEqual(1, full.Draw.Evidence);
            }
            else
            {
                Assert.Equal(full, part);
            }
        }
        Assert.True(ended > 0);
        Assert.True(abandoned.Sum(s => s.Tokens) < whole.Sum(s => s.Tokens));
    }

    [Fact]
    public async Task A_wave_needs_a_session_for_the_prompt() =>
        Assert.Contains("wave is 2", (await Assert.ThrowsAsync<ErgonException>(() => Solve(new FixedBudget(), 1, 2, 1))).Message, StringComparison.Ordinal);

    [Fact]
    public async Task Cancelling_ends_it_and_leaves_the_model_usable()
    {
        using var model = ErgonModel.Load(Model, new ModelOptions { MaxSequences = 4, Threads = 1, ContextLength = 512 });
        using var cancel = new CancellationTokenSource();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(async () =>
        {
            await foreach (var _ in new Solver(model, new WordProblemTask(50), new FixedBudget(), new SolverOptions { Wave = 3 }).RunAsync(cancel.Token))
                await cancel.CancelAsync();
        });
        Session[] sessions = [.. Enumerable.Range(0, 4).Select(_ => model.CreateSession())];
        Assert.All(sessions, s => s.Dispose());
    }

    private sealed class StopAtFirst : IStoppingPolicy
    {
        public string Name => "first";

        public string? Stop(Tally tally) => "enough";
    }
}
