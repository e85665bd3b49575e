using Ergon.Energy;
using Ergon.Inference;
using Ergon.Runtime;
using Ergon.Units;
using Microsoft.Extensions.AI;

namespace Ergon.Tests.Runtime;

public sealed class RepeatedSamplingChatClientTests
{
    private const string Question = "Ada has 17 apples. Ben gives Ada 25 more. How many apples does Ada have now?";

    [Fact]
    public async Task Draws_are_made_until_the_policy_stops_and_the_answer_that_stands_is_returned()
    {
        using var script = new Script("the answer is 3", "the answer is 5", "the answer is 5", "the answer is 5", "the answer is 5", "the answer is 5", "the answer is 7");
        using var client = new RepeatedSamplingChatClient(script, new RepeatedSamplingOptions { Samples = 7, Policy = "settled" });
        var response = await client.GetResponseAsync(Question);
        // Four votes of seven to one cannot be caught up with.
        Assert.Equal(5, script.Calls.Count);
        Assert.Equal(("the answer is 5", "5", 5), (response.Text, response.AdditionalProperties![RepeatedSamplingChatClient.AnswerKey], response.AdditionalProperties[RepeatedSamplingChatClient.DrawsKey]));
        Assert.Contains("no vote can change it", (string)response.AdditionalProperties[RepeatedSamplingChatClient.ReasonKey]!, StringComparison.Ordinal);
        Assert.InRange((double)response.AdditionalProperties[RepeatedSamplingChatClient.ConfidenceKey]!, 1e-9, 1);
        // Each draw took 2 J and 3 tokens.
        Assert.Equal((10.0, 15L), (response.AdditionalProperties[RepeatedSamplingChatClient.JoulesKey], response.Usage!.OutputTokenCount));
    }

    [Fact]
    public async Task Draws_differ_in_their_seeds_and_a_calls_seed_repeats_them()
    {
        using var script = new Script("1", "2", "3");
        using var client = new RepeatedSamplingChatClient(script, new RepeatedSamplingOptions { Samples = 3, Policy = "majority" });
        await client.GetResponseAsync(Question, new ChatOptions { Seed = 5, MaxOutputTokens = 9 });
        await client.GetResponseAsync(Question, new ChatOptions { Seed = 5 });
        await client.GetResponseAsync(Question, new ChatOptions { Seed = 6, Temperature = 0.3f });
        Assert.All(script.Calls[..6], c => Assert.Equal(0.8f, c.Temperature));
        Assert.All(script.Calls[6..], c => Assert.Equal(0.3f, c.Temperature));
        Assert.Equal((9, null), (script.Calls[0].MaxOutputTokens, script.Calls[0].AdditionalProperties));
        Assert.Equal(script.Calls[..3].Select(c => c.Seed), script.Calls[3..6].Select(c => c.Seed));
        Assert.Equal(6, script.Calls.Select(c => c.Seed).Distinct().Count());
    }

    [Fact]
    public async Task A_checks_word_is_final_and_what_is_unknown_stays_out()
    {
        using var script = new Script(metered: false, "no", "YES", "no");
        var checks = new List<string>();
        using var client = new RepeatedSamplingChatClient(script, new RepeatedSamplingOptions
        {
            Samples = 9,
            Policy = "first-verified",
            Extract = text => text.ToUpperInvariant(),
            Verify = (text, _) =>
            {
                checks.Add(text);
                return ValueTask.FromResult(text == "YES");
            },
        });
        var response = await client.GetResponseAsync(Question);
        Assert.Equal(["no", "YES"], checks);
        Assert.Equal(("YES", 1.0), (response.Text, response.AdditionalProperties![RepeatedSamplingChatClient.ConfidenceKey]));
        Assert.False(response.AdditionalProperties.ContainsKey(RepeatedSamplingChatClient.JoulesKey));
    }

    [Fact]
    public async Task Without_any_answer_the_first_text_stands_and_confidence_is_none()
    {
        using var script = new Script("words", "more words");
        using var client = new RepeatedSamplingChatClient(script, new RepeatedSamplingOptions { Samples = 2 });
        var updates = await client.GetStreamingResponseAsync(Question).ToChatResponseAsync();
        Assert.Equal(("words", 0.0, null), (updates.Text, Convert.ToDouble(updates.AdditionalProperties![RepeatedSamplingChatClient.ConfidenceKey], null), updates.AdditionalProperties[RepeatedSamplingChatClient.AnswerKey]));
    }

    [Theory]
    [InlineData(0, "cascade", 0.05, "samples is 0")]
    [InlineData(4, "cascade", 1, "delta is 1")]
    [InlineData(4, "guess", 0.05, "policy is 'guess', but must be one of cascade, majority")]
    [InlineData(4, "first-verified", 0.05, "Verify is null")]
    public void Bad_options_are_refused(int samples, string policy, double delta, string reason)
    {
        using var script = new Script("1");
        var error = Assert.Throws<ErgonException>(() => new RepeatedSamplingChatClient(script, new RepeatedSamplingOptions { Samples = samples, Policy = policy, Delta = delta }));
        Assert.Contains(reason, error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task The_embedded_model_answers_by_it_with_joules_and_few_draws()
    {
        using var monitor = EnergyMonitor.OfMachine();
        using var client = new RepeatedSamplingChatClient(
            ErgonChatClient.Load(Path.Combine(AppContext.BaseDirectory, "models", "words-l-f16.gguf"), new ModelOptions { Threads = 1 }, monitor), new RepeatedSamplingOptions { Samples = 12 });
        var response = await client.GetResponseAsync(Question, new ChatOptions { Seed = 1 });
        Assert.Equal("42", response.AdditionalProperties![RepeatedSamplingChatClient.AnswerKey]);
        Assert.Contains("42", response.Text, StringComparison.Ordinal);
        Assert.InRange((int)response.AdditionalProperties[RepeatedSamplingChatClient.DrawsKey]!, 1, 11);
        Assert.True((double)response.AdditionalProperties[RepeatedSamplingChatClient.JoulesKey]! > 0);
        await Assert.ThrowsAsync<ErgonException>(() => client.GetResponseAsync(Question, new ChatOptions { Temperature = 0 }));
    }

    // Says its lines in turn, over and over; each takes 2 J and 3 tokens.
    private sealed class Script(bool metered, params string[] lines) : IChatClient
    {
        public Script(params string[] lines) : this(metered: true, lines)
        {
        }

        public List<ChatOptions> Calls { get; } = [];

        public Task<ChatResponse> GetResponseAsync(IEnumerable<ChatMessage> messages, ChatOptions? options = null, CancellationToken cancellationToken = default)
        {
            Calls.Add(options!);
            return Task.FromResult(new ChatResponse(new ChatMessage(ChatRole.Assistant, lines[(Calls.Count - 1) % lines.Length]))
            {
                Usage = new UsageDetails { OutputTokenCount = 3 },
                AdditionalProperties = metered ? new() { [EnergyMonitor.ReceiptKey] = new Receipt(new Joules(2), null, null, null, TimeSpan.FromSeconds(1), 3, "measured:test", EnergyQuality.Counter, null) } : null,
            });
        }

        public IAsyncEnumerable<ChatResponseUpdate> GetStreamingResponseAsync(IEnumerable<ChatMessage> messages, ChatOptions? options = null, CancellationToken cancellationToken = default) => throw new NotSupportedException();

        public object? GetService(Type serviceType, object? serviceKey = null) => null;

        public void Dispose()
        {
        }
    }
}
