using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using Ergon.Cli;
using Ergon.Native;
using Ergon.Tests.Inference;

namespace Ergon.Tests.Cli;

[Collection("command line")]
public sealed class EvalCommandTests : IDisposable
{
    private const string Choices = """
        {"question": "What is 2+3?", "choices": ["5", "6"], "answer": 0}
        {"question": "What is 2+4?", "choices": ["5", "6", "7"], "answer": 1}

        """;

    private readonly TemporaryFolder _folder = new();

    public EvalCommandTests()
    {
        Environment.SetEnvironmentVariable("ERGON_MODELS", Path.Combine(_folder.Path, "models"));
        Environment.SetEnvironmentVariable("XDG_RUNTIME_DIR", _folder.Path);
    }

    public void Dispose() => _folder.Dispose();

    private static async Task<(int Code, string Out, string Error)> RunAsync(params string[] args)
    {
        using var output = new StringWriter();
        using var error = new StringWriter();
        using var terminal = new Terminal(TextReader.Null, output, error);
        return (await CommandLine.RunAsync(args, terminal), output.ToString(), error.ToString());
    }

    private static async Task<JsonElement> FiguresAsync(params string[] args)
    {
        var run = await RunAsync(["eval", .. args, "--json", "--threads", "1"]);
        Assert.True(run.Code == Exit.Ok, run.Error);
        return JsonDocument.Parse(run.Out).RootElement;
    }

    private string Data(string name, string text)
    {
        var path = _folder.File(name);
        File.WriteAllText(path, text);
        return path;
    }

    [Fact]
    public async Task Figures_are_the_documented_ones()
    {
        var run = await RunAsync("eval", "words-s", "--task", "words", "--items", "5", "--samples", "4", "--policy", "majority,first-clean", "--json", "--price", "100");
        var figures = JsonDocument.Parse(run.Out).RootElement;
        Assert.Equal(
        [
            "task", "items", "samples", "policy", "accuracy", "pass_at_k", "prompt_tokens", "completion_tokens", "joules", "energy_source", "seconds", "ipw", "ipj", "ece", "ppp", "intervals",
            "temperature", "seed", "shots", "skipped", "bad_lines", "verifier_failures", "devices", "engine", "energy", "policies", "votes", "calibrations", "laws", "perplexity",
        ], figures.EnumerateObject().Select(p => p.Name));
        Assert.Equal(["majority", "first-clean"], figures.GetProperty("policies").EnumerateArray().Select(p => p.GetProperty("policy").GetString()));
        Assert.Equal(["1", "2", "4"], figures.GetProperty("pass_at_k").EnumerateObject().Select(p => p.Name));
        // With --json a log stays empty but for what runs where, and the receipt.
        Assert.DoesNotContain("problems", run.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Problems_after_examples_are_asked_without_those_that_are_shown()
    {
        var math = Data("m.jsonl", string.Concat(Enumerable.Range(2, 4).Select(i => $$"""{"question": "Ada has {{i}} apples and finds 3. How many?", "answer": "{{i}}+3=<<{{i}}+3={{i + 3}}>>{{i + 3}}\n#### {{i + 3}}"}""" + "\n")));
        var figures = await FiguresAsync("words-s", "--task", "gsm8k", "--data", math, "--shots", "3");
        Assert.Equal((1, 3), (figures.GetProperty("items").GetInt32(), figures.GetProperty("shots").GetInt32()));
        var choices = Data("c.jsonl", Choices);
        Assert.Equal(1, (await FiguresAsync("words-s", "--task", "choice", "--data", choices, "--shots", "1", "--choose", "likelihood")).GetProperty("items").GetInt32());
        // Examples of another file leave all to ask, but those that it has too.
        var train = Data("t.jsonl", """{"question": "Ben has 1 egg and finds 1. How many?", "answer": "1+1=2\n#### 2"}""" + "\n" + File.ReadLines(math).First() + "\n");
        Assert.Equal(3, (await FiguresAsync("words-s", "--task", "gsm8k", "--data", math, "--shots", "2", "--shots-data", train)).GetProperty("items").GetInt32());
        Assert.Equal(2, (await FiguresAsync("words-s", "--task", "words", "--items", "2", "--shots", "2", "--ctx", "512")).GetProperty("items").GetInt32());
    }

    [Theory]
    [InlineData("--shots is 2, but", "of which one at least must be asked", "choice", "--shots", "2")]
    [InlineData("--shots-data is 'x.jsonl'", "there is no --shots", "choice", "--shots-data", "x.jsonl")]
    [InlineData("--shots-data is 'x.jsonl'", "are generated", "words", "--shots", "1", "--shots-data", "x.jsonl")]
    [InlineData("--shots is 1", "leave it out", "humaneval", "--shots", "1")]
    [InlineData("--shots is of tasks with answers", "leave it out", "perplexity", "--shots", "1")]
    public async Task Examples_that_cannot_be_shown_are_refused_with_the_remedy(string begins, string remedy, string task, params string[] options)
    {
        string[] data = task == "words" ? [] : ["--data", Data("c.jsonl", Choices)];
        var run = await RunAsync(["eval", "words-s", "--task", task, .. data, .. options]);
        Assert.Equal(Exit.BadInput, run.Code);
        Assert.Contains(begins, run.Error, StringComparison.Ordinal);
        Assert.Contains(remedy, run.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Every_task_runs_on_a_file_of_its_kind()
    {
        var math = Data("m.jsonl", """{"question": "Ada has 2 apples and finds 3. How many?", "answer": "2+3=<<2+3=5>>5\n#### 5"}""" + "\n");
        var svamp = Data("s.json", """[{"Body": "Ada has 2 apples.", "Question": "She eats 1. How many?", "Answer": 1}]""");
        var choice = Data("c.jsonl", Choices);
        var own = Data("o.jsonl", """{"prompt": "Say x", "answer": "x", "pattern": "x|[0-9]+"}""" + "\n" + """{"prompt": "Say y", "answer": "y"}""" + "\n");
        foreach (var (task, data, items) in new[] { ("gsm8k", math, 1), ("math", math, 1), ("math", svamp, 1), ("arc", choice, 2), ("choice", choice, 2), ("own", own, 2) })
        {
            var figures = await FiguresAsync("words-s", "--task", task, "--data", data);
            Assert.Equal((task, items, 0), (figures.GetProperty("task").GetString(), figures.GetProperty("items").GetInt32(), figures.GetProperty("skipped").GetInt32()));
        }
        var likely = await FiguresAsync("words-s", "--task", "arc", "--data", choice, "--choose", "likelihood");
        Assert.Equal(("likelihood", 0L), (likely.GetProperty("policy").GetString(), likely.GetProperty("completion_tokens").GetInt64()));
        Assert.Equal("share of the likelihood", likely.GetProperty("calibrations")[0].GetProperty("confidence").GetString());

        var text = Data("t.txt", string.Concat(Enumerable.Repeat("Ada has 17 apples. ", 40)));
        var perplexity = await FiguresAsync("words-s", "--task", "perplexity", "--data", text, "--ctx", "64");
        Assert.True(perplexity.GetProperty("perplexity").GetProperty("perplexity").GetDouble() > 1);
        Assert.Equal(JsonValueKind.Null, perplexity.GetProperty("accuracy").ValueKind);
        Assert.InRange(perplexity.GetProperty("perplexity").GetProperty("perplexity").GetDouble(), perplexity.GetProperty("intervals").GetProperty("perplexity")[0].GetDouble(), perplexity.GetProperty("intervals").GetProperty("perplexity")[1].GetDouble());
    }

    [Fact]
    public async Task A_verifier_decides_and_its_failures_are_counted()
    {
        if (OperatingSystem.IsWindows())
            return;
        var own = Data("o.jsonl", """{"prompt": "Ada has 2 apples."}""" + "\n" + """{"prompt": "Ben has 3 apples."}""" + "\n");
        Assert.Equal(1, (await FiguresAsync("words-s", "--task", "own", "--data", own, "--verifier", "true")).GetProperty("accuracy").GetDouble());
        Assert.Equal(0, (await FiguresAsync("words-s", "--task", "own", "--data", own, "--verifier", "false")).GetProperty("accuracy").GetDouble());
        foreach (var broken in new[] { "sh -c \"exit 3\"", "sleep 20" })
        {
            var figures = await FiguresAsync("words-s", "--task", "own", "--data", own, "--verifier", broken, "--verifier-seconds", "0.3");
            Assert.Equal((0.0, 2), (figures.GetProperty("accuracy").GetDouble(), figures.GetProperty("verifier_failures").GetInt32()));
        }
    }

    [Fact]
    public async Task Malformed_lines_are_named_and_left_out_only_when_asked()
    {
        var data = Data("m.jsonl", """{"question": "q", "answer": "#### 5"}""" + "\n{oops\n" + """{"question": "q", "answer": "#### five"}""" + "\n");
        var refused = await RunAsync("eval", "words-s", "--task", "gsm8k", "--data", data);
        Assert.Equal(Exit.BadInput, refused.Code);
        Assert.Contains("m.jsonl, line 2: ", refused.Error, StringComparison.Ordinal);
        Assert.Contains("--on-bad-line skip", refused.Error, StringComparison.Ordinal);
        var run = await RunAsync("eval", "words-s", "--task", "gsm8k", "--data", data, "--on-bad-line", "skip", "--json");
        Assert.Contains("line 2 is left out: ", run.Error, StringComparison.Ordinal);
        Assert.Contains("line 3 is left out: 'answer' has no number as its answer", run.Error, StringComparison.Ordinal);
        var figures = JsonDocument.Parse(run.Out).RootElement;
        Assert.Equal((1, 2), (figures.GetProperty("items").GetInt32(), figures.GetProperty("bad_lines").GetInt32()));
    }

    [Fact]
    public async Task A_policy_of_ones_own_choice_ends_problems_and_several_are_compared()
    {
        var live = await FiguresAsync("words-s", "--task", "words", "--items", "10", "--samples", "6", "--rows", "1", "--policy", "settled");
        var both = await FiguresAsync("words-s", "--task", "words", "--items", "10", "--samples", "6", "--rows", "1", "--policy", "majority,settled");
        var replayed = both.GetProperty("policies")[1];
        Assert.Equal(replayed.GetProperty("accuracy").GetDouble(), live.GetProperty("accuracy").GetDouble());
        Assert.Equal(replayed.GetProperty("tokens").GetDouble() * 10, live.GetProperty("completion_tokens").GetInt64(), 0.01);
        Assert.True(live.GetProperty("completion_tokens").GetInt64() < both.GetProperty("completion_tokens").GetInt64());
    }

    [Fact]
    public async Task An_evaluation_that_was_killed_goes_on_to_the_figures_of_one_that_was_not()
    {
        string[] line = ["eval", "words-m", "--task", "words", "--items", "40", "--samples", "4", "--rows", "1", "--threads", "1", "--policy", "all", "--json"];
        var whole = _folder.File("whole.jsonl");
        var expected = JsonDocument.Parse((await RunAsync([.. line, "--out", whole])).Out).RootElement;
        var broken = _folder.File("broken.jsonl");
        var kills = 0;
        foreach (var bytes in (int[])[5_000, 30_000, 60_000])
        {
            using var ergon = Start([.. line, "--out", broken]);
            var reading = ergon.StandardError.ReadToEndAsync();
            while (!ergon.HasExited && (!File.Exists(broken) || new FileInfo(broken).Length < bytes))
                await Task.Delay(5);
            kills += ergon.HasExited ? 0 : 1;
            // SIGKILL: nothing is written after it.
            ergon.Kill();
            await ergon.WaitForExitAsync();
            await reading;
        }
        Assert.Equal(3, kills);
        // A draw that was being written when the power went.
        File.AppendAllText(broken, """{"item":39,"sample":3,"id":"words/99/39","text":" 1+""");
        var resumed = await RunAsync([.. line, "--out", broken]);
        Assert.Contains("goes on after", resumed.Error, StringComparison.Ordinal);

        Assert.Equal(Draws(whole), Draws(broken));
        var figures = JsonDocument.Parse(resumed.Out).RootElement;
        // Time and joules are what both took; all else is the same.
        foreach (var name in (string[])["items", "accuracy", "pass_at_k", "prompt_tokens", "completion_tokens", "calibrations", "laws"])
            Assert.Equal(expected.GetProperty(name).GetRawText(), figures.GetProperty(name).GetRawText());
        Assert.Equal(Policies(expected), Policies(figures));
        // And a run that finds all draws made has the figures of the one that made them.
        var again = await RunAsync([.. line, "--out", broken]);
        Assert.Equal(resumed.Out, again.Out);

        static IEnumerable<string> Draws(string path) => File.ReadLines(path).Skip(1).Select(l => JsonDocument.Parse(l).RootElement)
            .Select(d => string.Join('|', d.EnumerateObject().Where(p => p.Name is not ("seconds" or "at" or "energy")).Select(p => p.Value.GetRawText()))).Order(StringComparer.Ordinal);

        static IEnumerable<string> Policies(JsonElement of) => of.GetProperty("policies").EnumerateArray().Select(p => $"{p.GetProperty("policy")} {p.GetProperty("accuracy")} {p.GetProperty("draws")} {p.GetProperty("tokens")}");
    }

    [Fact]
    public async Task An_interrupt_keeps_the_draws_and_says_so()
    {
        if (OperatingSystem.IsWindows())
            return;
        var journal = _folder.File("j.jsonl");
        using var ergon = Start("eval", "words-m", "--task", "words", "--items", "5000", "--samples", "4", "--threads", "1", "--out", journal);
        while (!ergon.HasExited && (!File.Exists(journal) || new FileInfo(journal).Length < 5000))
            await Task.Delay(10);
        // SIGTERM goes the way of Ctrl-C, which a runner in the background ignores.
        using (var kill = Process.Start("kill", ["-TERM", ergon.Id.ToString(CultureInfo.InvariantCulture)]))
            await kill.WaitForExitAsync();
        Assert.Contains("the same command goes on", await ergon.StandardError.ReadToEndAsync(), StringComparison.Ordinal);
        await ergon.WaitForExitAsync();
        Assert.Equal(Exit.Interrupted, ergon.ExitCode);
        Assert.EndsWith("}\n", await File.ReadAllTextAsync(journal), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_journal_of_another_seed_or_model_is_refused()
    {
        var journal = _folder.File("j.jsonl");
        Assert.Equal(Exit.Ok, (await RunAsync("eval", "words-s", "--task", "words", "--items", "2", "--out", journal)).Code);
        await Refused("words-s", "seed 99, but this evaluation has 7", "--seed", "7");
        await Refused("words-m", "model \"words-s\", but this evaluation has \"words-m\"");
        await Refused("words-s-q8_0", "model fingerprint \"sha256:");

        async Task Refused(string model, string difference, params string[] more)
        {
            var run = await RunAsync(["eval", model, "--task", "words", "--items", "2", "--out", journal, .. more]);
            Assert.Equal(Exit.BadInput, run.Code);
            Assert.Contains(difference, run.Error, StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task Perplexity_goes_on_after_the_chunks_that_its_journal_has()
    {
        var text = Data("t.txt", string.Concat(Enumerable.Repeat("Ada has 17 apples. Ben gives Ada 25 more. ", 60)));
        string[] line = ["words-s", "--task", "perplexity", "--data", text, "--ctx", "64"];
        var whole = await FiguresAsync(line);
        using (var alone = JsonDocument.Parse((await RunAsync("perplexity", "words-s", text, "--ctx", "64", "--threads", "1", "--json")).Out))
            Assert.Equal(alone.RootElement.GetRawText(), whole.GetProperty("perplexity").GetRawText());
        var journal = _folder.File("p.jsonl");
        await FiguresAsync([.. line, "--out", journal]);
        var lines = await File.ReadAllLinesAsync(journal);
        Assert.Equal(whole.GetProperty("items").GetInt32(), lines.Length - 1);
        // Half of the chunks, and the half of one.
        await File.WriteAllTextAsync(journal, string.Join('\n', lines[..4]) + "\n" + lines[4][..40]);
        var resumed = await RunAsync(["eval", .. line, "--out", journal, "--json", "--threads", "1"]);
        Assert.Contains("goes on after 3 chunks", resumed.Error, StringComparison.Ordinal);
        Assert.Equal(whole.GetProperty("perplexity").GetRawText(), JsonDocument.Parse(resumed.Out).RootElement.GetProperty("perplexity").GetRawText());
        Assert.Equal(lines.Length, (await File.ReadAllLinesAsync(journal)).Length);
        Assert.Equal(2, (await FiguresAsync([.. line, "--items", "2"])).GetProperty("items").GetInt32());
    }

    [Theory]
    [InlineData("--task chess", "--task is 'chess', but must be one of words, gsm8k, arc, humaneval, math, choice, own, perplexity")]
    [InlineData("--task words --samples 0", "--samples is '0'")]
    [InlineData("--task words --items 0", "--items is '0'")]
    [InlineData("--task words --samples 2 --temp 0", "all would be the same")]
    [InlineData("--task words --policy luck", "--policy is 'luck', but must be 'all' or a list of cascade, ")]
    [InlineData("--task words --policy first-verified", "this task has no verifier")]
    [InlineData("--task words --delta 1", "--delta is '1'")]
    [InlineData("--task words --data CHOICES", "are generated; leave it out")]
    [InlineData("--task gsm8k", "there is no --data; name its file")]
    [InlineData("--task gsm8k --data absent.jsonl", "absent.jsonl cannot be read")]
    [InlineData("--task gsm8k --data CHOICES", "looks like that of arc or choice")]
    [InlineData("--task arc --data EMPTY", "has no problem in it")]
    [InlineData("--task arc --data CHOICES --choose luck", "--choose is 'luck'")]
    [InlineData("--task words --choose likelihood", "has no options")]
    [InlineData("--task arc --data CHOICES --choose likelihood --samples 4", "use one sample")]
    [InlineData("--task arc --data CHOICES --choose likelihood --policy esc", "leave one of the two out")]
    [InlineData("--task arc --data CHOICES --regex x", "use --task own")]
    [InlineData("--task arc --data CHOICES --verifier true", "use --task own")]
    [InlineData("--task own --data OWN --regex (", "regex is '('")]
    [InlineData("--task own --data OWN --verifier absent-program", "'absent-program' cannot be started")]
    [InlineData("--task arc --data CHOICES --ctx 8", "leaves room for an answer")]
    [InlineData("--task words --items 1 --report absent/r.html", "--report is 'absent/r.html', which cannot be written")]
    [InlineData("--task words --items 1 --out absent/j.jsonl", "absent/j.jsonl cannot be opened")]
    [InlineData("--task perplexity --data OWN --samples 3", "--samples is of tasks with answers")]
    [InlineData("--task perplexity", "there is no --data")]
    [InlineData("--task words --price 0", "--price is '0'")]
    public async Task Bad_input_is_one_sentence_and_exit_code_2(string line, string reason)
    {
        Data("CHOICES", Choices);
        Data("EMPTY", "");
        Data("OWN", """{"prompt": "p", "answer": "a"}""" + "\n");
        var run = await RunAsync(["eval", "words-s", .. line.Split(' ').Select(word => File.Exists(_folder.File(word)) ? _folder.File(word) : word)]);
        Assert.Equal(Exit.BadInput, run.Code);
        Assert.Empty(run.Out);
        var sentence = Assert.Single(run.Error.Split('\n'), text => text.StartsWith("ergon: ", StringComparison.Ordinal));
        Assert.Contains(reason, sentence, StringComparison.Ordinal);
        Assert.EndsWith(".", sentence, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_model_without_template_is_evaluated_on_plain_text()
    {
        var model = new RandomModel("llama", GgmlType.F32).Write(_folder.Path);
        var run = await RunAsync("eval", model, "--task", "arc", "--data", Data("c.jsonl", Choices), "-n", "3");
        Assert.True(run.Code == Exit.Ok, run.Error);
        Assert.Contains("no chat template", run.Error, StringComparison.Ordinal);
        Assert.Contains("of 2 problems by majority", run.Out, StringComparison.Ordinal);
    }

    [BrowserFact]
    public async Task A_browser_draws_the_report()
    {
        var report = _folder.File("r.html");
        Assert.Equal(Exit.Ok, (await RunAsync("eval", "words-m", "--task", "words", "--items", "20", "--samples", "4", "--policy", "all", "--report", report)).Code);
        var start = new ProcessStartInfo(BrowserFactAttribute.Path!) { RedirectStandardOutput = true, RedirectStandardError = true };
        foreach (var word in (string[])["--headless", "--no-sandbox", "--disable-gpu", $"--user-data-dir={_folder.File("browser")}", "--dump-dom", new Uri(report).AbsoluteUri])
            start.ArgumentList.Add(word);
        using var browser = Process.Start(start)!;
        var errors = browser.StandardError.ReadToEndAsync();
        var page = await browser.StandardOutput.ReadToEndAsync();
        await errors;
        await browser.WaitForExitAsync();
        // Charts that were drawn have a size; each has a name for who does not see it, and tables beside it.
        var canvases = page.Split("<canvas ").Skip(1).ToArray();
        Assert.Equal(3, canvases.Length);
        Assert.All(canvases, c => Assert.Matches("^[^>]*role=\"img\"[^>]*aria-label=\"[^\"]{20,}\"", c));
        Assert.All(canvases, c => Assert.Matches("^[^>]*width=\"[1-9][0-9]{2,}\"", c));
        Assert.True(page.Split("<table").Length > 5);
        Assert.Contains(">first-clean</th>", page, StringComparison.Ordinal);
    }

    private static Process Start(params string[] words)
    {
        var start = new ProcessStartInfo("dotnet") { RedirectStandardOutput = true, RedirectStandardError = true };
        foreach (var word in words.Prepend(typeof(CommandLine).Assembly.Location))
            start.ArgumentList.Add(word);
        return Process.Start(start)!;
    }
}
