using System.Text.Json;
using Ergon.Devices;
using Ergon.Devices.Profiles;
using Ergon.Energy;
using Ergon.Energy.Sensors;
using Ergon.Inference;
using Ergon.Runtime;
using Ergon.Units;
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

    [Fact]
    public async Task With_a_monitor_answers_at_the_same_time_have_each_its_receipt_and_all_together_the_meters_energy()
    {
        using var monitor = Monitor(new ModelledMeter("package-0", EnergyDomain.Package, "test", new Watts(10), TimeProvider.System));
        using var client = ErgonChatClient.Load(Model, new ModelOptions { Threads = 1, MaxSequences = 2 }, monitor);
        var responses = await Task.WhenAll(Enumerable.Range(0, 5).Select(_ => client.GetResponseAsync(Question)));
        var receipts = responses.Select(ReceiptOf).ToList();
        Assert.All(responses.Zip(receipts), r =>
        {
            Assert.Equal(r.First.Usage!.OutputTokenCount, r.Second.Tokens);
            Assert.True(r.Second.Decode > Joules.Zero);
            Assert.Equal(r.Second.Energy!.Value.Value * 1000, r.First.Usage.AdditionalCounts![ErgonChatClient.MillijoulesKey], 0.5);
        });
        var totals = monitor.Totals;
        Assert.Equal(totals.Total.Value, receipts.Sum(r => r.Energy!.Value.Value) + totals.Unattributed.Value + totals.Loading.Value, 1e-9 * totals.Total.Value);
    }

    [Fact]
    public async Task A_streamed_answer_has_its_receipt_in_the_last_update_and_a_cancelled_one_closes_its_request()
    {
        using var monitor = Monitor(new ModelledMeter("package-0", EnergyDomain.Package, "test", new Watts(10), TimeProvider.System));
        using var client = ErgonChatClient.Load(Model, new ModelOptions { Threads = 1 }, monitor);
        var updates = new List<ChatResponseUpdate>();
        await foreach (var update in client.GetStreamingResponseAsync(Question))
            updates.Add(update);
        Assert.All(updates.SkipLast(1), u => Assert.Null(u.AdditionalProperties));
        Assert.IsType<Receipt>(updates[^1].AdditionalProperties![EnergyMonitor.ReceiptKey]);

        await foreach (var update in client.GetStreamingResponseAsync(Question))
            break;
        Assert.Equal(0, monitor.Status().OpenRequests);
        Assert.True(ReceiptOf(await client.GetResponseAsync(Question)).Energy > Joules.Zero);
    }

    [Fact]
    public async Task Energy_that_nothing_measured_is_null_with_the_reason_and_counts_nowhere()
    {
        var sensor = new DelegateSensor(() => SensorSample.Failed("/sys/gone", "no such file")) { Name = "test", Device = "package-0", Domain = EnergyDomain.Package, Path = "/sys/gone", Limit = new Watts(100) };
        using var monitor = Monitor(new EnergyMeter(sensor, TimeProvider.System, new MeterDiagnostics()));
        using var client = ErgonChatClient.Load(Model, new ModelOptions { Threads = 1 }, monitor);
        var response = await client.GetResponseAsync(Question);
        var receipt = ReceiptOf(response);
        Assert.Null(receipt.Energy);
        Assert.False(string.IsNullOrEmpty(receipt.Reason));
        Assert.Null(response.Usage!.AdditionalCounts);
    }

    [Fact]
    public void A_monitor_that_did_not_load_the_model_is_refused()
    {
        using var monitor = Monitor(new ModelledMeter("package-0", EnergyDomain.Package, "test", new Watts(10), TimeProvider.System));
        using var model = ErgonModel.Load(Model, new ModelOptions { Threads = 1 });
        var error = Assert.Throws<ErgonException>(() => new ErgonChatClient(model, monitor: monitor));
        Assert.Contains("load the model with the monitor's Load", error.Message, StringComparison.Ordinal);
    }

    private static Receipt ReceiptOf(ChatResponse response) => Assert.IsType<Receipt>(
        (response.AdditionalProperties ?? response.Messages[^1].AdditionalProperties)![EnergyMonitor.ReceiptKey]);

    private static EnergyMonitor Monitor(IEnergyMeter meter) => new(new MeterSet([meter], TimeProvider.System), TimeProvider.System,
        _ => (EstimatedProfile.Of(new DeviceInfo("CPU", DeviceKind.Cpu, "AMD EPYC", "CPU", null, 8L << 30), 2, new SystemFiles("/nowhere")), null));

    // Shipped beside every build.
    private static string Model => Path.Combine(AppContext.BaseDirectory, "models", "words-s-f16.gguf");

    private static ErgonChatClient Open(int sessions) =>
        ErgonChatClient.Load(Model, new ModelOptions { Threads = 1, MaxSequences = sessions });
}
