using System.Text.Json;
using Ergon.Cli;
using Ergon.Tests.Models.Store;

namespace Ergon.Tests.Cli;

[Collection("clusters")] // these set the process's environment, where plans of another look for the folder of their status
public sealed class SolveCommandTests : IDisposable
{
    private const string Question = "Ada has 17 apples. Ben gives Ada 25 more. How many apples does Ada have now?";
    private readonly TemporaryFolder _folder = new();

    public SolveCommandTests()
    {
        Environment.SetEnvironmentVariable("ERGON_MODELS", Path.Combine(_folder.Path, "models"));
        Environment.SetEnvironmentVariable("XDG_RUNTIME_DIR", _folder.Path);
    }

    public void Dispose() => _folder.Dispose();

    [Fact]
    public async Task The_answer_is_the_first_line_and_what_it_took_the_others()
    {
        var run = await RunAsync("solve", Question);
        Assert.Equal(Exit.Ok, run.Code);
        var lines = run.Out.Split('\n', StringSplitOptions.RemoveEmptyEntries);
        Assert.Equal("42", lines[0]);
        Assert.Matches(@"^confidence 0\.\d+ \(.+\)$", lines[1]);
        Assert.StartsWith("certificate: ", lines[2], StringComparison.Ordinal);
        Assert.Matches(@"^words-l-f16: \d+ of 16 draws: ", lines[3]);
        Assert.Matches(@"^\d+ tokens · ([0-9.]+ J of the [0-9.]+ J that 16 draws of words-l-f16 would take \(\d+ %, estimate, by [a-z ']+\) · (measured|modelled):.+|energy unknown: .+)$", lines[4]);
    }

    [Fact]
    public async Task The_json_has_the_documented_fields_and_its_joules_are_those_of_its_stages()
    {
        var run = await RunAsync("solve", "words-m", Question, "--task", "words", "--policy", "certificate", "--delta", "0.1", "--samples", "12", "--json");
        using var json = JsonDocument.Parse(run.Out);
        var root = json.RootElement;
        Assert.Equal(
            ["task", "answer", "text", "confidence", "confidence_by", "certificate", "reason", "escalation", "policy", "models", "draws", "samples", "prompt_tokens", "completion_tokens", "joules", "full_budget_joules", "full_budget_by",
                "energy_source", "energy_reason", "seconds", "stages", "verifier"], root.EnumerateObject().Select(p => p.Name));
        Assert.Equal(["form", "agreement", "confidence", "verification"], root.GetProperty("stages").EnumerateArray().Select(s => s.GetProperty("stage").GetString()));
        // The model is sure of this one: five or more agree, which is certain at 0.1.
        var certificate = root.GetProperty("certificate");
        Assert.True(certificate.GetProperty("votes").GetInt32() >= 5);
        Assert.Contains("certified at 0.1", root.GetProperty("reason").GetString(), StringComparison.Ordinal);
        Assert.Equal("42", root.GetProperty("answer").GetString());
        if (root.GetProperty("joules").ValueKind == JsonValueKind.Number)
            Assert.Equal(root.GetProperty("joules").GetDouble(), root.GetProperty("stages").EnumerateArray().Sum(s => s.GetProperty("joules").GetDouble()), 1e-3);
    }

    [Fact]
    public async Task The_same_seed_solves_alike_one_draw_after_another()
    {
        string[] line = ["solve", "words-s", Question, "--task", "words", "--policy", "majority", "--samples", "5", "--wave", "1", "--seed", "4", "--json", "--no-receipt"];
        using var one = JsonDocument.Parse((await RunAsync(line)).Out);
        using var two = JsonDocument.Parse((await RunAsync(line)).Out);
        Assert.Equal((5, JsonValueKind.Null), (one.RootElement.GetProperty("draws").GetInt32(), one.RootElement.GetProperty("joules").ValueKind));
        Assert.Equal("nothing was metered", one.RootElement.GetProperty("energy_reason").GetString());
        foreach (var name in (string[])["answer", "text", "completion_tokens", "confidence"])
            Assert.Equal(one.RootElement.GetProperty(name).ToString(), two.RootElement.GetProperty(name).ToString());
    }

    [Fact]
    public async Task What_a_small_model_is_not_sure_of_goes_to_a_larger_one()
    {
        // Three steps, of which the small model gets one wrong in all of its few draws.
        const string hard = "Ada has 17 boxes with 23 apples each. Ben takes 25 of the apples. How many apples does Ada have now?";
        using var json = JsonDocument.Parse((await RunAsync("solve", "words-s", hard, "--task", "words", "--escalate", "words-m", "--samples", "4", "--json")).Out);
        Assert.Equal(["words-s-f16", "words-m-f16"], json.RootElement.GetProperty("models").EnumerateArray().Select(m => m.GetProperty("name").GetString()));
        Assert.Equal("escalation", json.RootElement.GetProperty("stages").EnumerateArray().Last().GetProperty("stage").GetString());
        Assert.Equal("words-m-f16 is the last model", json.RootElement.GetProperty("escalation").GetString());
        using var easy = JsonDocument.Parse((await RunAsync("solve", "words-m", Question, "--task", "words", "--escalate", "words-l", "--samples", "4", "--json")).Out);
        Assert.Single(easy.RootElement.GetProperty("models").EnumerateArray());
        Assert.Contains("words-l-f16 would gain", easy.RootElement.GetProperty("escalation").GetString(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_verifier_of_ones_own_decides_and_teaches_the_cascade()
    {
        var state = Path.Combine(_folder.Path, "state.json");
        var verifier = Path.Combine(_folder.Path, "check.sh");
        await File.WriteAllTextAsync(verifier, "grep -q '#### 42'\n");
        var run = await RunAsync("solve", "words-m", Question, "--task", "own", "--verifier", $"sh {verifier}", "--state", state, "--json");
        using var json = JsonDocument.Parse(run.Out);
        Assert.Equal((1.0, "verified"), (json.RootElement.GetProperty("confidence").GetDouble(), json.RootElement.GetProperty("reason").GetString()));
        Assert.Contains("42", json.RootElement.GetProperty("text").GetString(), StringComparison.Ordinal);
        using var learned = JsonDocument.Parse(await File.ReadAllTextAsync(state));
        Assert.Contains(learned.RootElement.GetProperty("stages").EnumerateArray(), s => s.GetProperty("stage").GetString() == "Verification");

        var none = await RunAsync("solve", "words-s", Question, "--task", "own", "--verifier", "false", "--samples", "3", "--policy", "first-verified");
        Assert.Contains("the verifier passed none", none.Out, StringComparison.Ordinal);
        Assert.Contains("confidence 0.000", none.Out, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("sh -c exit\u00a09", "0.5", "exit code")]
    [InlineData("sleep 30", "0.1", "no verdict within 0.1 s")]
    public async Task A_verifier_that_crashes_or_hangs_is_said_and_ends_it(string verifier, string seconds, string how)
    {
        var run = await RunAsync("solve", "words-s", Question, "--task", "own", "--verifier", verifier, "--verifier-seconds", seconds, "--samples", "6");
        Assert.Equal(Exit.BadInput, run.Code);
        Assert.Contains(how, run.Error, StringComparison.Ordinal);
        Assert.Contains("must end with exit code 0 for right and 1 for wrong", run.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_larger_model_scores_the_answer_and_its_joules_are_verifications()
    {
        using var json = JsonDocument.Parse((await RunAsync("solve", "words-s", Question, "--task", "words", "--verifier-model", "words-l", "--samples", "8", "--json")).Out);
        var root = json.RootElement;
        var verifier = root.GetProperty("verifier");
        Assert.EndsWith("by likelihood", verifier.GetProperty("name").GetString(), StringComparison.Ordinal);
        Assert.InRange(verifier.GetProperty("asked").GetInt32(), 1, 8);
        Assert.InRange(verifier.GetProperty("score").GetDouble(), 0.1, 1);
        var stage = root.GetProperty("stages").EnumerateArray().Single(s => s.GetProperty("stage").GetString() == "verification");
        Assert.Equal(verifier.GetProperty("asked").GetInt32(), stage.GetProperty("count").GetInt32());
        if (root.GetProperty("joules").ValueKind == JsonValueKind.Number)
            Assert.Equal(root.GetProperty("joules").GetDouble(), root.GetProperty("stages").EnumerateArray().Sum(s => s.GetProperty("joules").GetDouble()), 1e-3);
        var text = await RunAsync("solve", "words-s", Question, "--task", "words", "--verifier-model", "words-l", "--samples", "8");
        Assert.Matches(@"by likelihood: asked about \d+ draws?, scores the answer [01]\.\d+", text.Out);
    }

    [Fact]
    public async Task A_judge_at_an_address_is_asked_and_said_to_be_unmetered()
    {
        using var server = new LoopbackServer(_ => new LoopbackServer.Answer(200, """{"choices":[{"message":{"content":"Yes"}}]}"""u8.ToArray()));
        using var json = JsonDocument.Parse((await RunAsync("solve", "words-m", Question, "--task", "words", "--verifier-model", $"{server.Address}v1", "--verifier-name", "judge", "--json")).Out);
        Assert.NotEmpty(server.Requests);
        Assert.Equal(1, json.RootElement.GetProperty("verifier").GetProperty("score").GetDouble());
        var stage = json.RootElement.GetProperty("stages").EnumerateArray().Single(s => s.GetProperty("stage").GetString() == "verification");
        Assert.Equal((JsonValueKind.Null, "not metered: the verifier model runs elsewhere"), (stage.GetProperty("joules").ValueKind, stage.GetProperty("reason").GetString()));
        server.Dispose();
        var closed = await RunAsync("solve", "words-m", Question, "--task", "words", "--verifier-model", $"{server.Address}v1", "--verifier-name", "judge");
        Assert.Equal(Exit.BadInput, closed.Code);
        Assert.Contains("cannot be reached", closed.Error, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("--verify-by is 'judge'", "--verify-by", "judge")]
    [InlineData("--verifier-name is 'x'", "--verifier-name", "x")]
    [InlineData("so is --verifier", "--verifier-model", "words-l", "--verifier", "true")]
    [InlineData("--policy is 'majority'", "--verifier-model", "words-l", "--policy", "majority")]
    [InlineData("use judge", "--verifier-model", "http://localhost:1/v1", "--verifier-name", "x", "--verify-by", "likelihood")]
    [InlineData("there is no --verifier-name", "--verifier-model", "http://localhost:1/v1")]
    [InlineData("no address of http or https", "--verifier-model", "words-l", "--verifier-name", "x")]
    [InlineData("absent", "--verifier-model", "absent")]
    public async Task Verifier_options_that_do_not_fit_together_are_refused(string reason, params string[] options)
    {
        var run = await RunAsync(["solve", "words-s", Question, "--task", "own", .. options]);
        Assert.Equal(Exit.BadInput, run.Code);
        Assert.Contains(reason, run.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task An_option_is_chosen_by_drawing_or_by_its_likelihood()
    {
        string[] line = ["solve", "words-l", "Which is larger?", "--task", "choice", "--choice", "the Moon", "--choice", "the Sun", "--json"];
        using var scored = JsonDocument.Parse((await RunAsync([.. line, "--policy", "likelihood"])).Out);
        Assert.Contains(scored.RootElement.GetProperty("answer").GetString(), (string[])["A", "B"]);
        Assert.InRange(scored.RootElement.GetProperty("confidence").GetDouble(), 0.5, 1);
        Assert.Equal(0, scored.RootElement.GetProperty("draws").GetInt32());
    }

    private static async Task<(int Code, string Out, string Error)> RunAsync(params string[] args)
    {
        using var output = new StringWriter();
        using var error = new StringWriter();
        using var terminal = new Terminal(TextReader.Null, output, error);
        return (await CommandLine.RunAsync(args, terminal), output.ToString(), error.ToString());
    }
}
