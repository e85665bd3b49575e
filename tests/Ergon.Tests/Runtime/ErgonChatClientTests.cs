using System.Text.Json;
using Ergon.Inference;
using Ergon.Runtime;
using Microsoft.Extensions.AI;

namespace Ergon.Tests.Runtime;

public sealed class ErgonChatClientTests
{
    private const string Question = "Ada has 17 apples. Ben gives Ada 25 more. How many apples does Ada have now?";

    [Fact]
    public async Task A_question_gets_an_answer_with_its_usage()
    {
        using var client = Open(1);
        var response = await client.GetResponseAsync(Question);
        Assert.Contains("####", response.Text, StringComparison.Ordinal);
        Assert.Equal(ChatFinishReason.Stop, response.FinishReason);
        Assert.True(response.Usage!.InputTokenCount > 20);
        Assert.Equal(response.Usage.TotalTokenCount, response.Usage.InputTokenCount + response.Usage.OutputTokenCount);
    }

    [Fact]
    public async Task A_conversation_goes_on_from_its_cache()
    {
        using var client = Open(1);
        List<ChatMessage> chat = [new(ChatRole.User, Question)];
        var first = await client.GetResponseAsync(chat);
        chat.AddRange(first.Messages);
        chat.Add(new(ChatRole.User, Question));
        var second = await client.GetResponseAsync(chat, new ChatOptions { MaxOutputTokens = 4 });
        Assert.True(second.Usage!.CachedInputTokenCount > first.Usage!.InputTokenCount);
        Assert.Equal(ChatFinishReason.Length, second.FinishReason);
    }

    [Fact]
    public async Task More_calls_than_sessions_wait_and_all_are_answered_alike()
    {
        using var client = Open(2);
        var answers = await Task.WhenAll(Enumerable.Range(0, 7).Select(_ => client.GetResponseAsync(Question)));
        Assert.Single(answers.Select(a => a.Text).Distinct());
    }

    [Fact]
    public async Task A_schema_makes_the_answer_json_of_that_shape()
    {
        using var client = Open(1);
        var schema = JsonDocument.Parse("""{"type":"object","properties":{"n":{"type":"integer","minimum":0,"maximum":99}},"required":["n"],"additionalProperties":false}""").RootElement;
        var response = await client.GetResponseAsync(Question, new ChatOptions { ResponseFormat = ChatResponseFormat.ForJsonSchema(schema) });
        Assert.InRange(JsonDocument.Parse(response.Text).RootElement.GetProperty("n").GetInt32(), 0, 99);
    }

    [Fact]
    public async Task A_call_that_finds_no_session_gives_its_place_back()
    {
        using var model = ErgonModel.Load(Model, new ModelOptions { Threads = 1 });
        using var client = new ErgonChatClient(model);
        using (model.CreateSession())
            await Assert.ThrowsAsync<ErgonException>(() => client.GetResponseAsync(Question));
        Assert.NotEmpty((await client.GetResponseAsync(Question)).Text);
    }

    [Fact]
    public async Task Disposing_the_client_ends_what_runs_and_what_waits_and_frees_the_sessions()
    {
        using var model = ErgonModel.Load(Model, new ModelOptions { Threads = 1 });
        var client = new ErgonChatClient(model);
        await using var running = client.GetStreamingResponseAsync(Question).GetAsyncEnumerator();
        Assert.True(await running.MoveNextAsync());
        var waiting = client.GetResponseAsync(Question);
        client.Dispose();
        await Assert.ThrowsAsync<ObjectDisposedException>(() => waiting);
        await Assert.ThrowsAnyAsync<Exception>(async () =>
        {
            while (await running.MoveNextAsync())
            {
            }
        });
        await Assert.ThrowsAsync<ObjectDisposedException>(() => client.GetResponseAsync(Question));
        model.CreateSession().Dispose();
    }

    [Fact]
    public async Task What_the_client_cannot_do_is_said()
    {
        using var client = Open(1);
        var tools = await Assert.ThrowsAsync<ErgonException>(() => client.GetResponseAsync(Question, new ChatOptions { Tools = [AIFunctionFactory.Create(() => 1, "one")] }));
        Assert.Contains("does not call tools", tools.Message, StringComparison.Ordinal);
        var image = await Assert.ThrowsAsync<ErgonException>(() => client.GetResponseAsync(new ChatMessage(ChatRole.User, [new DataContent(new byte[] { 1 }, "image/png")])));
        Assert.Contains("text only", image.Message, StringComparison.Ordinal);
    }

    // Shipped beside every build.
    private static string Model => Path.Combine(AppContext.BaseDirectory, "models", "words-s-f16.gguf");

    private static ErgonChatClient Open(int sessions) =>
        ErgonChatClient.Load(Model, new ModelOptions { Threads = 1, MaxSequences = sessions });
}
