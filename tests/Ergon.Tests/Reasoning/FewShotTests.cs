using Ergon.Inference;
using Ergon.Models.Templates;
using Ergon.Native;
using Ergon.Reasoning.Evaluation;
using Ergon.Reasoning.Tasks;
using Ergon.Tests.Inference;

namespace Ergon.Tests.Reasoning;

public sealed class FewShotTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    private IReasoningTask Task(TaskName name, params string[] lines)
    {
        var path = _folder.File($"{Guid.NewGuid():N}.jsonl");
        File.WriteAllLines(path, lines);
        return DataSets.Open(name, path, OnMalformed.Fail).Task;
    }

    private IReasoningTask Sums(params int[] numbers) => Task(TaskName.Gsm8k, [.. numbers.Select(i => $$"""{"question": "What is {{i}} + 1?", "answer": "Add: {{i}}+1=<<{{i}}+1={{i + 1}}>>{{i + 1}}.\n#### {{i + 1}}"}""")]);

    [Fact]
    public void A_worked_solution_is_shown_without_the_calculators_notes()
    {
        Assert.Equal("Add: 4+1=5.\n#### 5", FewShot.Answer(Sums(4).Problems[0]));
        Assert.Equal("The answer is 7.5.", FewShot.Answer(Task(TaskName.Math, """{"sQuestion": "?", "lSolutions": [7.50]}""").Problems[0]));
        Assert.Equal("B", FewShot.Answer(Task(TaskName.Choice, """{"question": "?", "choices": ["x", "y"], "answer": 1}""").Problems[0]));
        var own = Task(TaskName.Own, """{"prompt": "1?", "answer": "2", "worked": "so = 2"}""", """{"prompt": "2?", "answer": "3"}""").Problems;
        Assert.Equal(["so = 2", "3"], own.Select(FewShot.Answer));
    }

    [Fact]
    public void No_problem_is_asked_that_is_shown_wherever_the_example_is_from()
    {
        // 3 stands twice in the data, and 5 in the other file.
        var data = Sums(3, 4, 5, 3, 6);
        var own = new FewShot(data, FewShot.First(1, data, "data", isAsked: true));
        Assert.Equal(["gsm8k/2", "gsm8k/3", "gsm8k/5"], own.Problems.Select(p => p.Id));
        var other = new FewShot(data, FewShot.First(2, Sums(9, 5), "other", isAsked: false));
        Assert.Equal(["gsm8k/1", "gsm8k/2", "gsm8k/4", "gsm8k/5"], other.Problems.Select(p => p.Id));
        Assert.Empty(WordProblemTask.ToShow(200, 99).Select(p => p.Prompt).Intersect(new WordProblemTask(2000).Problems.Select(p => p.Prompt)));
    }

    [Fact]
    public void Answers_are_read_checked_and_watched_as_without_examples()
    {
        var data = Sums(3, 4);
        IReasoningTask task = new FewShot(data, [data.Problems[0]]);
        var problem = task.Problems[0];
        Assert.Equal(("5", 0.5), (task.Extract(problem, "4+1=5 2+2=5 #### 5"), task.Evidence(problem, "4+1=5 2+2=5 #### 5")));
        Assert.True(task.Watch(problem)!("2+2=5 "));
        // Every member of the interface is the task's own, none its default.
        Assert.Empty(typeof(IReasoningTask).GetMethods().Select(m => m.Name).Except(typeof(FewShot).GetMethods().Select(m => m.Name)));
    }

    [Fact]
    public void Without_chat_template_examples_are_blocks_before_the_question()
    {
        var data = Sums(3, 4);
        var task = new FewShot(data, FewShot.First(1, data, "data", isAsked: true));
        Assert.Equal("Question: What is 3 + 1?\nAnswer: Add: 3+1=4.\n#### 4\n\nQuestion: What is 4 + 1?\nAnswer:", ((IReasoningTask)task).PlainPrompt(task.Problems[0]));
        Assert.Equal(["\nQuestion:"], task.PlainEnds);
        var own = Task(TaskName.Own, """{"prompt": "in: 1\nout:", "answer": "2"}""", """{"prompt": "in: 2\nout:", "answer": "3"}""");
        var shown = new FewShot(own, [own.Problems[0]]);
        Assert.Equal("in: 1\nout: 2\n\nin: 2\nout:", shown.PlainPrompt(shown.Problems[0]));
        // Such a text has no end of its own, but the model has seen one.
        Assert.Equal(["\n\n"], shown.PlainEnds);
    }

    [Fact]
    public void Options_are_scored_after_questions_with_the_texts_of_their_right_options()
    {
        var task = Task(TaskName.Choice, """{"question": "Red?", "choices": ["no", "yes"], "answer": 1}""", """{"question": "Blue?", "choices": ["p", "q"], "answer": 0}""");
        var (prompt, texts) = MultipleChoice.Scored(task.Problems[1], [task.Problems[0]]);
        Assert.Equal("Question: Red?\nAnswer: yes\n\nQuestion: Blue?\nAnswer:", prompt);
        Assert.Equal([" p", " q"], texts);
    }

    [Fact]
    public async Task A_chat_has_examples_as_turns_and_those_without_room_are_left_out()
    {
        var data = Sums(3, 4, 5, 6);
        var task = new FewShot(data, FewShot.First(2, data, "data", isAsked: true));
        using var model = ErgonModel.Load(Path.Combine(AppContext.BaseDirectory, "models", "words-s-f16.gguf"), new ModelOptions { Threads = 1, ContextLength = 256 });
        using var journal = EvaluationJournal.InMemory();
        var settings = EvaluationJournalTests.Settings() with { Items = 2, Samples = 1, Temperature = 0, MaxTokens = 4, Shots = 2 };
        await new Evaluation(model, task, settings, null, journal, null).RunAsync();
        var whole = model.Tokenize(new ChatTemplateInput
        {
            Messages =
            [
                new("user", "What is 3 + 1?"), new("assistant", "Add: 3+1=4.\n#### 4"), new("user", "What is 4 + 1?"), new("assistant", "Add: 4+1=5.\n#### 5"), new("user", "What is 5 + 1?"),
            ],
        });
        Assert.Equal(whole.Length, journal.Draws()[0].PromptTokens);
        Assert.True(whole.Length > model.Tokenize(new ChatTemplateInput { Messages = [new("user", "What is 5 + 1?")] }).Length);

        using var small = ErgonModel.Load(Path.Combine(AppContext.BaseDirectory, "models", "words-s-f16.gguf"), new ModelOptions { Threads = 1, ContextLength = whole.Length + 3 });
        using var none = EvaluationJournal.InMemory();
        var evaluation = new Evaluation(small, task, settings, null, none, null);
        await evaluation.RunAsync();
        Assert.Equal((2, 0), (evaluation.Skipped.Count, none.Draws().Count));
    }

    [Fact]
    public async Task A_plain_model_sees_the_blocks()
    {
        var data = Sums(3, 4);
        var task = new FewShot(data, FewShot.First(1, data, "data", isAsked: true));
        using var model = ErgonModel.Load(new RandomModel("llama", GgmlType.F32).Write(_folder.Path), new ModelOptions { Threads = 1, ContextLength = 128 });
        using var journal = EvaluationJournal.InMemory();
        await new Evaluation(model, task, EvaluationJournalTests.Settings() with { Items = 1, Samples = 1, Temperature = 0, MaxTokens = 2 }, null, journal, null).RunAsync();
        Assert.Equal(model.Tokenizer.Tokenize(task.PlainPrompt(task.Problems[0]), addSpecial: true, parseSpecial: false).Length, journal.Draws()[0].PromptTokens);
    }

    [Fact]
    public void Too_few_examples_and_those_without_an_answer_are_refused()
    {
        var data = Sums(3, 4);
        Assert.Contains("--shots is 2, but data has 2 problems, of which one at least", Assert.Throws<ErgonException>(() => FewShot.First(2, data, "data", isAsked: true)).Message, StringComparison.Ordinal);
        Assert.Contains("--shots is 3, but other has 2 problems;", Assert.Throws<ErgonException>(() => FewShot.First(3, data, "other", isAsked: false)).Message, StringComparison.Ordinal);
        Assert.Contains("'bare' has no answer to show", Assert.Throws<ErgonException>(() => new FewShot(data, [new Problem("bare", "?")])).Message, StringComparison.Ordinal);
        Assert.Contains("every one of the task's 2 problems", Assert.Throws<ErgonException>(() => new FewShot(data, data.Problems)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_journal_of_before_there_were_examples_is_one_without_them()
    {
        var path = _folder.File("old.jsonl");
        using (EvaluationJournal.Open(path, EvaluationJournalTests.Settings()))
        {
        }
        var text = File.ReadAllText(path);
        Assert.Contains("\"shots\":null,\"shots_data\":null,", text, StringComparison.Ordinal);
        File.WriteAllText(path, text.Replace("\"shots\":null,\"shots_data\":null,", "", StringComparison.Ordinal));
        EvaluationJournal.Open(path, EvaluationJournalTests.Settings()).Dispose();
        Assert.Contains("begun with shots null, but this evaluation has 5", Assert.Throws<ErgonException>(() => EvaluationJournal.Open(path, EvaluationJournalTests.Settings() with { Shots = 5 })).Message, StringComparison.Ordinal);
    }
}
