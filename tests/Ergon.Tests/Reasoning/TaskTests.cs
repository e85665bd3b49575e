using Ergon.Inference;
using System.IO.Compression;
using System.Text;
using System.Text.Json;
using Ergon.Reasoning;
using Ergon.Reasoning.Tasks;

namespace Ergon.Tests.Reasoning;

public sealed class TaskTests
{
    [Theory]
    [InlineData("... #### 42", "42")]
    [InlineData("#### 1,234,567", "1234567")]
    [InlineData("#### $1,200.50", "1200.5")]
    [InlineData("#### -3", "-3")]
    [InlineData("#### 50%", "50")]
    [InlineData("#### .5", "0.5")]
    [InlineData("#### 7.00", "7")]
    [InlineData("#### about 7", null)]
    [InlineData("####", null)]
    [InlineData("The answer is $18.", "18")]
    [InlineData("The answer is 3. No, the answer is: 4 of the 9 apples.", "4")]
    [InlineData("Thus 16-3", "3")]
    [InlineData("It is 5 degrees, later -7", "-7")]
    [InlineData("They sold 1,000, then 2,500.", "2500")]
    [InlineData("no number", null)]
    [InlineData("", null)]
    public void The_number_of_an_answer(string text, string? number) => Assert.Equal(number, NumericAnswers.Extract(text));

    [Theory]
    [InlineData("1,000.0", "1000")]
    [InlineData("-0", "0")]
    [InlineData("0.10", "0.1")]
    [InlineData("12 apples", null)]
    [InlineData("99999999999999999999999999999999", null)]
    public void Equal_numbers_have_one_canonical_form(string text, string? canonical) => Assert.Equal(canonical, NumericAnswers.Canonical(text));

    [Theory]
    [InlineData("6*358=2148 4*169=676 2148+676=2824 #### 2824", 3, 3)]
    [InlineData("6*358=2148 4*169=677 2148+677=2825", 3, 2)]
    [InlineData("She makes 9 * 2 = $<<9*2=18>>18 a day", 1, 1)] // the mark's; before it stands no sum that ends in a number
    [InlineData("80,000*1.5=120,000", 1, 1)]
    [InlineData("10/3 = 3.33", 1, 1)]
    [InlineData("10/3 = 3", 1, 0)]
    [InlineData("(2+3)*4=20", 1, 1)]
    [InlineData("2+3*4=20", 1, 0)]
    [InlineData("5/0=5", 0, 0)]
    [InlineData("x = 5", 0, 0)]
    [InlineData("so 5 = 5", 0, 0)]
    [InlineData("", 0, 0)]
    public void Sums_are_worked_anew(string text, int steps, int right) => Assert.Equal((steps, right), Arithmetic.Check(text));

    [Theory]
    [InlineData("6*358=214", false)] // may become 2148
    [InlineData("6*358=2148 ", false)]
    [InlineData("6*358=2147", false)]
    [InlineData("6*358=2147 ", true)]
    [InlineData("6*358=2147 4*169", true)]
    [InlineData("", false)]
    [InlineData(" ", false)]
    public void A_step_is_false_once_it_is_complete(string text, bool isFalse)
    {
        var task = new WordProblemTask(1);
        Assert.Equal(isFalse, task.Watch(task.Problems[0])!(text));
    }

    [Fact]
    public void A_text_that_comes_in_pieces_is_false_where_the_whole_of_it_is()
    {
        var random = new Random(5);
        string[] parts = ["6*358=2148", "6*358=2147", "x = 5", "= ", "=", "==", "3+4", " ", " ", "\n", "7", "8=", " - 1 = 6", "so $", "1,000", ".5", "(2+3)*4=20", "/2", "and"];
        var found = 0;
        for (var round = 0; round < 3000; round++)
        {
            var watch = new StepWatch();
            var (whole, seen) = ("", false);
            for (var i = 0; i < 12; i++)
            {
                var piece = parts[random.Next(parts.Length)];
                whole += piece;
                // What a later piece may still change does not count: the last space ends what is certain.
                var certain = whole[..Math.Max(0, whole.AsSpan().LastIndexOfAny(' ', '\n'))];
                seen |= Arithmetic.Check(certain) is var (steps, right) && right < steps;
                Assert.Equal((whole, seen), (whole, watch.Append(piece)));
            }
            found += seen ? 1 : 0;
        }
        Assert.InRange(found, 500, 2500);
    }

    [Theory]
    [InlineData("2*(3+4)-5/2", 11.5)]
    [InlineData("3 × 4 ÷ 6", 2.0)]
    [InlineData("-3+5", 2.0)]
    [InlineData("20%*50", 10.0)]
    [InlineData("((((1+1))))", 2.0)]
    [InlineData("2**3", null)]
    [InlineData("(2+3", null)]
    [InlineData("1/0", null)]
    [InlineData("9999999999999999999*9999999999999999999", null)]
    [InlineData("7", null)] // nothing to compute
    public void A_sum_has_a_value_or_none(string sum, double? value) => Assert.Equal(value is { } v ? (decimal)v : null, Arithmetic.Evaluate(sum));

    [Fact]
    public void Deep_nesting_is_refused_and_not_recursed_into() => Assert.Null(Arithmetic.Evaluate(new string('(', 100_000) + "1+1" + new string(')', 100_000)));

    [Fact]
    public void Every_worked_answer_of_words_is_clean_and_right()
    {
        var task = new WordProblemTask(200);
        foreach (var (problem, source) in task.Problems.Zip(WordProblems.HeldOut()))
        {
            Assert.Equal(1, task.Evidence(problem, source.WorkedAnswer));
            Assert.Equal(problem.Gold, task.Extract(problem, source.WorkedAnswer));
            Assert.Null(task.Extract(problem, source.WorkedAnswer[..source.WorkedAnswer.IndexOf('#', StringComparison.Ordinal)]));
        }
    }

    [SharedTheory]
    [InlineData("test", 1319)]
    [InlineData("train", 7473)]
    public void Every_gold_answer_of_gsm8k_is_extracted_and_most_of_its_sums_hold(string split, int count)
    {
        var path = Shared.Path($"data/datasets/gsm8k/{split}.jsonl");
        var task = MathDataset.Load("gsm8k", path);
        Assert.Equal((count, 0), (task.Problems.Count, task.Malformed.Count));
        var (steps, right) = (0, 0);
        foreach (var (problem, line) in task.Problems.Zip(File.ReadLines(path)))
        {
            using var json = JsonDocument.Parse(line);
            var answer = json.RootElement.GetProperty("answer").GetString()!;
            // The data set's own convention: what follows the mark, without commas.
            Assert.Equal(decimal.Parse(answer[(answer.LastIndexOf("####", StringComparison.Ordinal) + 4)..].Replace(",", "", StringComparison.Ordinal), System.Globalization.CultureInfo.InvariantCulture), decimal.Parse(problem.Gold!, System.Globalization.CultureInfo.InvariantCulture));
            Assert.Equal(problem.Gold, task.Extract(problem, answer));
            var (s, r) = Arithmetic.Check(answer);
            (steps, right) = (steps + s, right + r);
        }
        Assert.True(steps > 2 * count, $"{steps} steps");
        Assert.True(right > 0.97 * steps, $"{right} of {steps}");
    }

    [SharedTheory]
    [InlineData("test", 1172)]
    [InlineData("train", 1119)]
    public void Arc_is_read_and_every_option_is_recognised(string split, int count)
    {
        var task = MultipleChoice.Load("arc", Shared.Path($"data/datasets/arc/arc-challenge-{split}.jsonl"));
        Assert.Equal(count, task.Problems.Count);
        var repeated = 0;
        foreach (var p in task.Problems)
        {
            Assert.Equal(p.Gold, task.Extract(p, $"The answer is {p.Gold}."));
            repeated += task.Extract(p, $"I think that it is this: {p.Options[p.Gold![0] - 'A']}") == p.Gold ? 1 : 0;
        }
        Assert.True(repeated > 0.9 * count, $"{repeated} of {count}");
    }

    [Theory]
    [InlineData("B", "B")]
    [InlineData("B. an elm", "B")]
    [InlineData("(c)", null)] // small letters are words
    [InlineData("The answer is (c).", "C")]
    [InlineData("Answer: option A", "A")]
    [InlineData("A tree it is: oak", "A")]
    [InlineData("It must be the oak tree", "C")]
    [InlineData("Reasons first.\nB", "B")]
    [InlineData("Either oak tree or an elm", null)]
    [InlineData("The answer is E", null)]
    [InlineData("", null)]
    public void The_letter_of_a_choice(string text, string? letter)
    {
        using var folder = new TemporaryFolder();
        var task = MultipleChoice.Load("mine", folder.File("a.jsonl", """{"question": "Which?", "choices": ["oak", "an elm", "oak tree"], "answer": 1}"""u8.ToArray()));
        Assert.Equal("B", task.Problems[0].Gold);
        Assert.Equal(letter, task.Extract(task.Problems[0], text));
    }

    [Fact]
    public void Arcs_own_form_with_labels_is_read_too()
    {
        using var folder = new TemporaryFolder();
        var task = MultipleChoice.Load("arc", folder.File("a.jsonl", Encoding.UTF8.GetBytes(
            """
            {"id": "x", "question": {"stem": "Which?", "choices": [{"text": "oak", "label": "1"}, {"text": "elm", "label": "2"}]}, "answerKey": "2"}
            {"question": "Which?", "choices": {"text": ["oak", "elm"], "label": ["A", "B"]}, "answerKey": "A"}
            """)));
        Assert.Equal(["B", "A"], task.Problems.Select(p => p.Gold));
    }

    [Fact]
    public async Task An_option_is_chosen_by_its_likelihood_a_token()
    {
        using var folder = new TemporaryFolder();
        var task = MultipleChoice.Load("mine", folder.File("a.jsonl", """{"question": "Which?", "choices": ["oak", "an elm", "beech"], "answer": 1}"""u8.ToArray()));
        using var model = ErgonModel.Load(Path.Combine(AppContext.BaseDirectory, "models", "words-s-f16.gguf"), new ModelOptions { MaxSequences = 4, Threads = 1, ContextLength = 256 });
        var scores = await LogLikelihood.ScoreAsync(model, "Question: Which?\nAnswer:", [" oak", " an elm", " beech"]);
        var (answer, shares) = await MultipleChoice.ChooseAsync(task.Problems[0], model, []);
        var best = Enumerable.Range(0, 3).MaxBy(i => scores[i].LogProbability / scores[i].Tokens);
        Assert.Equal("ABC"[best].ToString(), answer);
        Assert.Equal((1.0, best), (Math.Round(shares.Sum(), 9), shares.ToList().IndexOf(shares.Max())));
    }

    [Fact]
    public void The_json_of_other_arithmetic_sets_is_read()
    {
        using var folder = new TemporaryFolder();
        var task = MathDataset.Load("mixed", folder.File("a.json", Encoding.UTF8.GetBytes(
            """
            [{"Body": "Ada has 3 pens.", "Question": "She finds 4. How many?", "Answer": 7.0},
             {"iIndex": 1, "sQuestion": " How many is 2 and 2? ", "lSolutions": [4.0]},
             {"question": "1000 and 1?", "final_ans": "1,001"}]
            """)));
        Assert.Equal(["7", "4", "1001"], task.Problems.Select(p => p.Gold));
        Assert.Equal("Ada has 3 pens. She finds 4. How many?", task.Problems[0].Prompt);
        Assert.Equal("How many is 2 and 2?", task.Problems[1].Prompt);
    }

    [Fact]
    public void A_malformed_line_is_named_with_its_number_and_skipped_where_that_is_wanted()
    {
        using var folder = new TemporaryFolder();
        var path = folder.File("a.jsonl", Encoding.UTF8.GetBytes("""
            {"question": "a", "answer": "#### 1"}

            {"question": "b", "answer": "#### none"}
            {"question": "c"
            [1]
            {"answer": "#### 1"}
            {"question": 5, "answer": "#### 1"}
            {"question": "d", "answer": 2}
            """));
        var fatal = Assert.Throws<ErgonException>(() => MathDataset.Load("mine", path));
        Assert.Contains("line 3: 'answer' has no number", fatal.Message, StringComparison.Ordinal);
        var task = MathDataset.Load("mine", path, OnMalformed.Skip);
        Assert.Equal(["1", "2"], task.Problems.Select(p => p.Gold));
        Assert.Equal([3, 4, 5, 6, 7], task.Malformed.Select(m => m.Number));
        Assert.All(task.Malformed, m => Assert.NotEmpty(m.Reason));
    }

    [Fact]
    public void What_is_no_data_set_is_refused_with_its_name()
    {
        using var folder = new TemporaryFolder();
        Refused(folder.File("absent.jsonl"), "cannot be read");
        Refused(folder.File("empty.jsonl", []), "no problem");
        Refused(folder.File("b.json", "{}"u8.ToArray()), "must hold an array");
        Refused(folder.File("c.json", "{"u8.ToArray()), "is not JSON");
        Refused(folder.File("d.jsonl.gz", "no gzip at all"u8.ToArray()), "not a valid gzip");
        Refused(folder.File("e.jsonl", "{}\n{}"u8.ToArray()), "all of its 2 lines", OnMalformed.Skip);

        static void Refused(string path, string why, OnMalformed on = OnMalformed.Fail)
        {
            var error = Assert.Throws<ErgonException>(() => MathDataset.Load("mine", path, on));
            Assert.Contains(why, error.Message, StringComparison.Ordinal);
            Assert.Contains(path, error.Message, StringComparison.Ordinal);
        }
    }

    [Fact]
    public void Packed_lines_are_unpacked()
    {
        using var folder = new TemporaryFolder();
        using var packed = new MemoryStream();
        using (var gzip = new GZipStream(packed, CompressionMode.Compress))
            gzip.Write("""{"question": "a", "answer": "#### 1"}"""u8);
        Assert.Single(MathDataset.Load("mine", folder.File("a.jsonl.gz", packed.ToArray())).Problems);
    }

    [Fact]
    public void Ones_own_problems_have_patterns_of_their_own()
    {
        using var folder = new TemporaryFolder();
        var task = OwnTask.Load(folder.File("mine.jsonl", Encoding.UTF8.GetBytes("""
            {"prompt": "a", "answer": "red", "pattern": "colour: (?<answer>\\w+)"}
            {"prompt": "b", "answer": "7", "pattern": "\\d"}
            {"prompt": "c", "answer": "last"}
            {"prompt": "d", "answer": "x", "pattern": "(a+)+$"}
            """)));
        Assert.Equal("red", task.Extract(task.Problems[0], "colour: blue, no, colour: red."));
        Assert.Null(task.Extract(task.Problems[0], "red"));
        Assert.Equal("7", task.Extract(task.Problems[1], "5 6 7"));
        Assert.Equal("last", task.Extract(task.Problems[2], "first\n last \n\n"));
        Assert.Contains("took longer", Assert.Throws<ErgonException>(() => task.Extract(task.Problems[3], new string('a', 60) + "!")).Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("""{"prompt": "a", "answer": "b", "pattern": "("}""", "its pattern is invalid")]
    [InlineData("""{"prompt": "a"}""", "no verifier")]
    [InlineData("""{"answer": "a"}""", "'prompt'")]
    [InlineData("{\"id\": \"x\", \"prompt\": \"a\", \"answer\": \"b\"}\n{\"id\": \"x\", \"prompt\": \"a\", \"answer\": \"b\"}", "the id 'x'")]
    public void Ones_own_problems_that_cannot_be_judged_are_refused(string lines, string why)
    {
        using var folder = new TemporaryFolder();
        Assert.Contains(why, Assert.Throws<ErgonException>(() => OwnTask.Load(folder.File("mine.jsonl", Encoding.UTF8.GetBytes(lines)))).Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("grep -q '\"answer\":\"yes\"'", true, null)]
    [InlineData("grep -q '\"answer\":\"no\"'", false, null)]
    [InlineData("exit 1", false, null)] // without reading its input
    [InlineData("exit 3", null, "exit code 3")]
    [InlineData("kill -SEGV $$", null, "exit code 139")]
    [InlineData("sleep 60 & sleep 60", null, "no verdict within 1 s")]
    [InlineData("head -c 10000000 /dev/zero; exit 0", true, null)] // more output than a pipe holds
    public async Task A_program_judges_or_fails_within_its_time(string script, bool? verdict, string? failure)
    {
        if (OperatingSystem.IsWindows())
            return;
        var verifier = new VerifierCommand(["/bin/sh", "-c", script], TimeSpan.FromSeconds(failure?.StartsWith("no", StringComparison.Ordinal) == true ? 1 : 20));
        Assert.Equal(verdict, await verifier.RunAsync(new Problem("1", new string('p', 200_000)), "yes", default));
        Assert.Equal((failure is null ? 0 : 1, failure), (verifier.Failures, verifier.LastFailure));
    }

    [Fact]
    public async Task A_program_that_is_not_there_is_named() =>
        Assert.Contains("/no/such", (await Assert.ThrowsAsync<ErgonException>(() => new VerifierCommand(["/no/such"], TimeSpan.FromSeconds(1)).RunAsync(new Problem("1", ""), "", default))).Message, StringComparison.Ordinal);

    [Theory]
    [InlineData(0, 10, 0, 0.2775)]
    [InlineData(5, 10, 0.2366, 0.7634)]
    [InlineData(10, 10, 0.7225, 1)]
    public void Wilsons_interval(int successes, int trials, double low, double high)
    {
        var (l, h) = Proportion.Interval(successes, trials);
        Assert.Equal((low, high), (Math.Round(l, 4), Math.Round(h, 4)));
    }
}
