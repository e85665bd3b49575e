using Ergon.Inference;
using Ergon.Native;
using Ergon.Reasoning;
using Ergon.Reasoning.Evaluation;
using Ergon.Reasoning.Stopping;
using Ergon.Reasoning.Tasks;
using Ergon.Tests.Inference;

namespace Ergon.Tests.Reasoning;

public sealed class EvaluationTests
{
    private static string Model => Path.Combine(AppContext.BaseDirectory, "models", "words-s-f16.gguf");

    private static ErgonModel Load(int sequences = 1, int context = 512) => ErgonModel.Load(Model, new ModelOptions { MaxSequences = sequences, Threads = 1, ContextLength = context });

    private static EvaluationSettings Settings(int items, int samples) => EvaluationJournalTests.Settings() with { Items = items, Samples = samples, Temperature = samples > 1 ? 0.8f : 0, Seed = 99 };

    private static async Task<IReadOnlyList<EvaluatedDraw>> Draw(ErgonModel model, IReasoningTask task, EvaluationSettings settings, IStoppingPolicy? stopping = null, EvaluationJournal? journal = null)
    {
        using var own = EvaluationJournal.InMemory();
        await new Evaluation(model, task, settings, stopping, journal ?? own, null).RunAsync();
        return (journal ?? own).Draws();
    }

    private static IEnumerable<string> Texts(IEnumerable<EvaluatedDraw> draws) => draws.Select(d => $"{d.Item}/{d.Sample}: {d.Text} {d.Answer} {d.Right} {d.Evidence} {d.Tokens} {d.FalseAt}");

    [Fact]
    public async Task Draws_are_those_of_the_solver()
    {
        var task = new WordProblemTask(4);
        using var model = Load();
        var draws = await Draw(model, task, Settings(4, 3));
        List<SolvedProblem> solved = [];
        await foreach (var problem in new Solver(model, task, new FixedBudget(), new SolverOptions { Samples = 3, Seed = 99 }).RunAsync())
            solved.Add(problem);
        Assert.Equal(
            solved.SelectMany(s => s.Draws.Select((d, i) => (s.Problem.Id, i, d.Text, d.Tokens, d.FalseAt, d.Draw))),
            draws.Select(d => (d.Id, d.Sample, d.Text, d.Tokens, d.FalseAt, d.Seen())));
    }

    [Fact]
    public async Task An_evaluation_that_is_cancelled_goes_on_to_the_same_draws_and_makes_none_twice()
    {
        var (task, settings) = (new WordProblemTask(5), Settings(5, 4));
        using var model = Load();
        var whole = await Draw(model, task, settings);
        Assert.Equal(20, whole.Count);

        using var journal = EvaluationJournal.InMemory();
        var made = 0L;
        for (var rounds = 0; rounds < 50 && made < 20; rounds++)
        {
            using var stop = new CancellationTokenSource();
            var before = made;
            try
            {
                await new Evaluation(model, task, settings, null, journal, null).RunAsync(new AfterDraws(before + 6, stop), stop.Token);
            }
            catch (OperationCanceledException)
            {
                // As after Ctrl-C.
            }
            made = journal.Draws().Count;
            Assert.True(made > before);
        }
        // A draw that is made twice throws: the journal has each once.
        Assert.Equal(Texts(whole), Texts(journal.Draws()));
    }

    [Fact]
    public async Task A_policy_ends_a_problem_live_where_it_would_have_ended_it_afterwards()
    {
        var (task, settings, policy) = (new WordProblemTask(6), Settings(6, 6), new FirstVerified(acceptEvidence: true));
        using var model = Load();
        var all = EvaluatedProblem.Of(await Draw(model, task, settings), 6, i => task.Problems[i].Gold);
        var live = EvaluatedProblem.Of(await Draw(model, task, settings, policy), 6, i => task.Problems[i].Gold);
        Assert.Equal(all.Select(p => p.Replayed(policy)), live.Select(p => p.Ended(policy)));
        Assert.Contains(live, p => p.Draws.Count < 6);
    }

    [Fact]
    public async Task A_live_policy_resumes_with_the_draws_that_it_saw()
    {
        var (task, settings, policy) = (new WordProblemTask(4), Settings(4, 6), new FirstVerified(acceptEvidence: true));
        using var model = Load();
        var whole = await Draw(model, task, settings, policy);
        using var journal = EvaluationJournal.InMemory();
        foreach (var draw in whole.Take(whole.Count / 2))
            journal.Add(draw);
        Assert.Equal(Texts(whole), Texts(await Draw(model, task, settings, policy, journal)));
    }

    [Fact]
    public async Task Prompts_without_room_for_an_answer_are_left_out_and_named()
    {
        var task = new WordProblemTask(12);
        using var model = Load(2, context: 48);
        using var journal = EvaluationJournal.InMemory();
        var evaluation = new Evaluation(model, task, Settings(12, 1), null, journal, null);
        List<EvaluationProgress> seen = [];
        await evaluation.RunAsync(new Seen(seen));
        var tooLong = task.Problems.Where(p => model.Tokenize(new() { Messages = [new("user", p.Prompt)] }).Length >= 48).Select(p => p.Id).ToArray();
        Assert.InRange(tooLong.Length, 1, 11);
        Assert.Equal(tooLong, evaluation.Skipped.Order(StringComparer.Ordinal));
        Assert.Equal(12 - tooLong.Length, journal.Draws().Count);
        Assert.Equal((12, 1.0), (seen[^1].Problems, Math.Round(seen[^1].Share, 9)));
    }

    [Fact]
    public async Task A_model_without_chat_template_continues_the_plain_prompt()
    {
        using var folder = new TemporaryFolder();
        using var model = ErgonModel.Load(new RandomModel("llama", GgmlType.F32).Write(folder.Path), new ModelOptions { Threads = 1, ContextLength = 128 });
        Assert.Null(model.ChatTemplate);
        var task = new Plain();
        var draws = await Draw(model, task, Settings(1, 1) with { MaxTokens = 4 });
        Assert.Equal(model.Tokenizer.Tokenize("Question: why?\nAnswer:", addSpecial: true, parseSpecial: false).Length, Assert.Single(draws).PromptTokens);
        Assert.InRange(draws[0].Tokens, 1, 4);
    }

    [Fact]
    public async Task Options_are_chosen_by_likelihood_without_a_token_generated()
    {
        using var folder = new TemporaryFolder();
        await File.WriteAllTextAsync(folder.File("c.jsonl"), """
            {"question": "What is 2+3?", "choices": ["5", "6"], "answer": 0}
            {"question": "What is 2+4?", "choices": ["5", "6", "7"], "answer": 1}

            """);
        var (task, _) = DataSets.Open(TaskName.Choice, folder.File("c.jsonl"), OnMalformed.Fail);
        using var model = Load(4);
        var draws = await Draw(model, task, Settings(2, 1) with { Scores = true });
        Assert.All(draws, d => Assert.Equal(0, d.Tokens));
        foreach (var (draw, problem) in draws.Zip(task.Problems))
        {
            var (prompt, texts) = MultipleChoice.Scored(problem, []);
            var scores = await LogLikelihood.ScoreAsync(model, prompt, texts);
            Assert.Equal(Enumerable.Range(0, texts.Count).MaxBy(i => scores[i].PerToken), draw.Answer![0] - 'A');
            Assert.Equal(draw.Answer == problem.Gold, draw.Right);
            Assert.InRange(draw.Share!.Value, 1.0 / texts.Count, 1);
        }
    }

    [Fact]
    public void Policies_pay_for_the_draws_up_to_where_they_would_have_stopped()
    {
        EvaluatedDraw Made(int i, string? answer, bool right, double? evidence, double? joules = 2) => EvaluationJournalTests.Draw(0, i, answer, right, tokens: 10 + i, joules, evidence: evidence);
        var problem = new EvaluatedProblem("4", 4, [Made(0, "5", false, 0.5), Made(1, "4", true, 1), Made(2, "5", false, 0), Made(3, "4", true, 1)]);
        Assert.Equal(new PolicyOutcome("4", true, 0.5, 2, 21, 4), problem.Replayed(new FirstVerified(acceptEvidence: true)));
        // Two to two: the answer that was seen first wins.
        Assert.Equal(new PolicyOutcome("5", false, 0.5, 4, 46, 8), problem.Replayed(new FixedBudget()));
        Assert.Equal(2, problem.Right);
        Assert.Null((problem with { Draws = [Made(0, null, false, null, joules: null)] }).Ended(new FixedBudget()).Joules);
        Assert.Equal(new PolicyOutcome(null, false, 0, 1, 10, 2), (problem with { Draws = [Made(0, null, false, null)] }).Ended(new FixedBudget()));
    }

    [Theory]
    [InlineData("gsm8k", """{"question": "q", "choices": ["a", "b"], "answer": 1}""", "arc or choice")]
    [InlineData("math", """{"question": "q", "choices": ["a", "b"], "answer": 1}""", "arc or choice")]
    [InlineData("arc", """{"question": "q", "answer": "1+1=2 #### 2"}""", "gsm8k or math")]
    [InlineData("gsm8k", """{"question": "q", "final_ans": "2"}""", "math")]
    [InlineData("humaneval", """{"prompt": "p", "answer": "2"}""", "own")]
    [InlineData("own", """{"task_id": "x/1", "prompt": "def f(): ", "entry_point": "f", "test": "t", "canonical_solution": "s"}""", "humaneval")]
    public async Task Data_of_another_task_is_refused_with_the_task_that_it_looks_like(string task, string line, string named)
    {
        using var folder = new TemporaryFolder();
        await File.WriteAllTextAsync(folder.File("d.jsonl"), line + "\n");
        Assert.Contains($"looks like that of {named};", Assert.Throws<ErgonException>(() => DataSets.Open(Enum.Parse<TaskName>(task, ignoreCase: true), folder.File("d.jsonl"), OnMalformed.Skip)).Message, StringComparison.Ordinal);
    }

    private sealed class Plain : IReasoningTask
    {
        public string Name => "plain";

        public IReadOnlyList<Problem> Problems { get; } = [new("1", "why?", "because")];

        public string? Extract(Problem problem, string text) => text;
    }

    private sealed class AfterDraws(long draws, CancellationTokenSource stop) : IProgress<EvaluationProgress>
    {
        public void Report(EvaluationProgress value)
        {
            if (value.Draws >= draws)
                stop.Cancel();
        }
    }

    private sealed class Seen(List<EvaluationProgress> all) : IProgress<EvaluationProgress>
    {
        public void Report(EvaluationProgress value) => all.Add(value);
    }
}
