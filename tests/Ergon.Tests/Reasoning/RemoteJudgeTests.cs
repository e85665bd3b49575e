using System.Net;
using System.Net.Sockets;
using System.Text;
using System.Text.Json;
using Ergon.Reasoning.Tasks;
using Ergon.Reasoning.Verifiers;
using Ergon.Tests.Models.Store;

namespace Ergon.Tests.Reasoning;

public sealed class RemoteJudgeTests
{
    private static readonly Problem s_problem = new("asked", "What is 17 + 25?");

    private static LoopbackServer.Answer Says(string word, string? probabilities = null, int status = 200) =>
        new(status, Encoding.UTF8.GetBytes($$$"""{"id":"x","choices":[{"index":0,"message":{"role":"assistant","content":{{{JsonSerializer.Serialize(word)}}}},"finish_reason":"stop","logprobs":{{{probabilities ?? "null"}}}}]}"""));

    private static string Top(params (string Token, double Probability)[] tokens) =>
        FormattableString.Invariant($"{{\"content\":[{{\"token\":\"x\",\"top_logprobs\":[{string.Join(',', tokens.Select(t => FormattableString.Invariant($"{{\"token\":\"{t.Token}\",\"logprob\":{Math.Log(t.Probability):R}}}")))}]}}]}}");

    private static RemoteJudge Judge(LoopbackServer server, double seconds = 30, int? patience = null, string? key = null) =>
        new($"{server.Address}v1/", "judge-1", key, TimeSpan.FromSeconds(seconds), patience);

    private static async Task<double?> Ask(RemoteJudge judge) => (await judge.ScoreAsync(s_problem, "17+25=42", CancellationToken.None)).Score;

    [Theory]
    [InlineData("Yes", 1.0)]
    [InlineData(" yes.", 1.0)]
    [InlineData("**No**, since", 0.0)]
    [InlineData("Nothing", null)]
    [InlineData("<think>Yes", null)]
    [InlineData("", null)]
    public async Task The_first_word_is_the_score_where_the_server_gives_no_probabilities(string word, double? score)
    {
        using var server = new LoopbackServer(_ => Says(word));
        using var judge = Judge(server);
        Assert.Equal(score, await Ask(judge));
        Assert.Equal(score is null ? 1 : 0, judge.Failures);
        var receipt = await (await judge.ScoreAsync(s_problem, "x", CancellationToken.None)).Receipt!;
        Assert.Equal((null, true), (receipt.Energy, receipt.Reason!.StartsWith("not metered", StringComparison.Ordinal)));
    }

    [Fact]
    public async Task Probabilities_of_the_first_token_say_more_than_the_word()
    {
        // " Yes" and "yes" are one word; what is neither has no part.
        using var server = new LoopbackServer(_ => Says("No", Top(("No", 0.3), (" Yes", 0.15), ("yes", 0.05), ("Maybe", 0.4))));
        using var judge = Judge(server);
        Assert.Equal(0.2 / 0.5, (await Ask(judge))!.Value, 9);
        using var others = new LoopbackServer(_ => Says("yes", Top(("Hm", 0.9))));
        using var word = Judge(others);
        Assert.Equal(1, await Ask(word));
    }

    [Fact]
    public async Task The_request_is_a_chat_completion_with_the_key_in_its_header()
    {
        using var server = new LoopbackServer(_ => Says("Yes"));
        using var judge = Judge(server, key: "secret");
        await Ask(judge);
        var request = Assert.Single(server.Requests);
        Assert.Equal(("/v1/chat/completions", "Bearer secret"), (request.Path, request["Authorization"]));
        using var body = JsonDocument.Parse(request.Body);
        var root = body.RootElement;
        Assert.Equal(("judge-1", 0.0, true), (root.GetProperty("model").GetString(), root.GetProperty("temperature").GetDouble(), root.GetProperty("logprobs").GetBoolean()));
        Assert.InRange(root.GetProperty("max_tokens").GetInt32(), 1, 16);
        var message = root.GetProperty("messages")[0].GetProperty("content").GetString()!;
        Assert.Contains("17 + 25", message, StringComparison.Ordinal);
        Assert.Contains("17+25=42", message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_server_that_refuses_probabilities_is_asked_without_from_then_on()
    {
        using var server = new LoopbackServer(request => request.Body.Contains("logprobs", StringComparison.Ordinal) ? Says("", status: 400) : Says("No"));
        using var judge = Judge(server);
        Assert.Equal((0, 0), (await Ask(judge), await Ask(judge)));
        Assert.Equal((3, 0), (server.Requests.Count, judge.Failures));
    }

    [Theory]
    [InlineData(400)]
    [InlineData(413)]
    public async Task A_text_that_a_server_refuses_after_it_has_judged_others_is_one_failure_and_probabilities_are_asked_for_as_before(int status)
    {
        using var server = new LoopbackServer(request => request.Body.Contains("too long", StringComparison.Ordinal) ? Says("", status: status) : Says("Yes", Top(("Yes", 0.5), ("No", 0.25))));
        using var judge = Judge(server);
        Assert.Equal(2.0 / 3, (await Ask(judge))!.Value, 9);
        Assert.Null((await judge.ScoreAsync(s_problem, "too long", CancellationToken.None)).Score);
        Assert.Equal((1, $"it answered {status}"), (judge.Failures, judge.LastFailure));
        Assert.Equal(2.0 / 3, (await Ask(judge))!.Value, 9);
    }

    [Fact]
    public async Task An_alternative_that_is_null_has_no_part_and_too_long_an_answer_is_a_failure()
    {
        using var server = new LoopbackServer(_ => Says("Yes", """{"content":[{"top_logprobs":[null,{"token":"No","logprob":0}]}]}"""));
        using var judge = Judge(server);
        Assert.Equal(0, await Ask(judge));
        using var endless = new LoopbackServer(_ => Says(new string('x', 2 << 20)));
        using var other = Judge(endless);
        Assert.Null(await Ask(other));
        Assert.Equal(1, other.Failures);
    }

    [Fact]
    public async Task A_server_that_hangs_gives_no_verdict_within_the_time_and_is_given_up_after_a_few()
    {
        using var hangs = new CancellationTokenSource();
        using var server = new LoopbackServer(_ => Says("Yes") with { Before = Task.Delay(Timeout.Infinite, hangs.Token) });
        using var judge = Judge(server, seconds: 0.1, patience: 2);
        Assert.Null(await Ask(judge));
        Assert.Equal((1, "no answer within 0.1 s"), (judge.Failures, judge.LastFailure));
        var message = (await Assert.ThrowsAsync<ErgonException>(() => Ask(judge))).Message;
        Assert.Contains("no verdict on 2 answers in a row (no answer within 0.1 s)", message, StringComparison.Ordinal);
        await hangs.CancelAsync();
    }

    [Fact]
    public async Task Who_stops_waiting_gets_no_score_and_no_error()
    {
        using var hangs = new CancellationTokenSource();
        using var server = new LoopbackServer(_ => Says("Yes") with { Before = Task.Delay(Timeout.Infinite, hangs.Token) });
        using var judge = Judge(server, patience: 1);
        using var stop = new CancellationTokenSource(TimeSpan.FromMilliseconds(50));
        Assert.Null((await judge.ScoreAsync(s_problem, "x", stop.Token)).Score);
        Assert.Equal(0, judge.Failures);
        await hangs.CancelAsync();
    }

    [Theory]
    [InlineData(500, "", "answered 500")]
    [InlineData(429, "", "answered 429")]
    [InlineData(200, "<html>", "not the JSON")]
    [InlineData(200, "{}", "no choices")]
    [InlineData(200, """{"choices":[]}""", "no choices")]
    [InlineData(200, """{"choices":[{}]}""", "neither Yes nor No")]
    public async Task What_is_no_answer_is_counted_with_its_reason_and_a_verdict_ends_the_row(int status, string body, string reason)
    {
        var isBad = true;
        using var server = new LoopbackServer(_ => isBad ? new LoopbackServer.Answer(status, Encoding.UTF8.GetBytes(body)) : Says("Yes"));
        using var judge = Judge(server, patience: 2);
        Assert.Null(await Ask(judge));
        Assert.Contains(reason, judge.LastFailure, StringComparison.Ordinal);
        isBad = false;
        Assert.Equal(1, await Ask(judge));
        isBad = true;
        Assert.Null(await Ask(judge));
        Assert.Contains(reason, (await Assert.ThrowsAsync<ErgonException>(() => Ask(judge))).Message, StringComparison.Ordinal);
        Assert.Equal(3, judge.Failures);
    }

    [Theory]
    [InlineData(401, null, "set ERGON_VERIFIER_KEY to its key")]
    [InlineData(401, "hush-hush", "the key in ERGON_VERIFIER_KEY does not fit")]
    [InlineData(404, null, "the model's name 'judge-1'")]
    [InlineData(302, "hush-hush", "answers 302")]
    public async Task What_waiting_does_not_mend_is_an_error_at_once_that_does_not_tell_the_key(int status, string? key, string remedy)
    {
        using var server = new LoopbackServer(_ => new LoopbackServer.Answer(status, [], ("Location", "/elsewhere")));
        using var judge = Judge(server, key: key);
        var message = (await Assert.ThrowsAsync<ErgonException>(() => Ask(judge))).Message;
        Assert.Contains(remedy, message, StringComparison.Ordinal);
        Assert.DoesNotContain("hush", message, StringComparison.Ordinal);
        Assert.Single(server.Requests);
    }

    [Fact]
    public async Task A_closed_port_is_said_at_once_and_a_server_that_goes_away_takes_no_answer_with_it()
    {
        using var free = new TcpListener(IPAddress.Loopback, 0);
        free.Start();
        var port = ((IPEndPoint)free.LocalEndpoint).Port;
        free.Stop();
        using var never = new RemoteJudge($"http://127.0.0.1:{port}/v1", "m", null, TimeSpan.FromSeconds(30), patience: 5);
        Assert.Contains($"http://127.0.0.1:{port}/v1/chat/completions cannot be reached", (await Assert.ThrowsAsync<ErgonException>(() => Ask(never))).Message, StringComparison.Ordinal);

        using var server = new LoopbackServer(_ => Says("Yes"));
        using var judge = Judge(server, patience: 5);
        Assert.Equal(1, await Ask(judge));
        server.Dispose();
        Assert.Null(await Ask(judge));
        Assert.Equal(1, judge.Failures);
    }

    [Theory]
    [InlineData("ftp://host/v1", null)]
    [InlineData("nonsense", null)]
    [InlineData("http://user:pass@host/v1", null)]
    [InlineData("http://host/v1?key=pass", null)]
    [InlineData("http://host/v1", "pass\n")]
    public void Addresses_and_keys_that_cannot_be_used_are_refused_without_being_told(string address, string? key)
    {
        var message = Assert.Throws<ErgonException>(() => new RemoteJudge(address, "m", key, TimeSpan.FromSeconds(1))).Message;
        Assert.Contains("ERGON_VERIFIER_KEY", message, StringComparison.Ordinal);
        Assert.DoesNotContain("pass", message, StringComparison.Ordinal);
    }
}
