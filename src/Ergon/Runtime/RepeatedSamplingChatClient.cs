using System.Runtime.CompilerServices;
using Ergon.Energy;
using Ergon.Inference;
using Ergon.Reasoning;
using Ergon.Reasoning.Cascades;
using Ergon.Reasoning.Stopping;
using Ergon.Reasoning.Tasks;
using Ergon.Units;
using Microsoft.Extensions.AI;

namespace Ergon.Runtime;

/// <summary>How a <see cref="RepeatedSamplingChatClient"/> draws and reads answers.</summary>
public sealed record RepeatedSamplingOptions
{
    /// <summary>Draws at most. Default 16.</summary>
    public int Samples { get; init; } = 16;

    /// <summary>When to stop and which answer stands, as <c>ergon solve --policy</c> names it. Default <c>cascade</c>.</summary>
    public string Policy { get; init; } = StoppingPolicies.Names[0];

    /// <summary>How often what a policy rests on may be wrong, above 0 and below 1. Default 0.05.</summary>
    public double Delta { get; init; } = 0.05;

    /// <summary>Where the call's options have none: draws must differ. Default 0.8.</summary>
    public float Temperature { get; init; } = 0.8f;

    /// <summary>The answer in a text, equal for texts that agree, or <see langword="null"/>. Default: the number after <c>####</c>, else the announced one, else the last, and worked sums are evidence.</summary>
    public Func<string, string?>? Extract { get; init; }

    /// <summary>Whether an independent check passes a text; its word is final. <see langword="null"/> for none.</summary>
    public Func<string, CancellationToken, ValueTask<bool>>? Verify { get; init; }

    /// <summary>A file with what a cascade has learned, as <c>ergon solve --state</c> writes it; <see langword="null"/> for what comes with Ergon, whose confidence is calibrated for its demonstration models' word problems.</summary>
    public string? StateFile { get; init; }
}

/// <summary>
/// Answers each call by drawing from the inner client until a policy says that enough is known, and returns the text whose answer stands. Draws are
/// made one after another, so that none is in vain; over an <see cref="ErgonChatClient"/> they share the prompt's cache. As safe for concurrent use as the inner client.
/// </summary>
/// <remarks>
/// The response's <c>AdditionalProperties</c> have <see cref="AnswerKey"/>, <see cref="ConfidenceKey"/>, <see cref="DrawsKey"/>, <see cref="ReasonKey"/>
/// and, where the inner client gives each draw a <see cref="Receipt"/> with a figure, <see cref="JoulesKey"/>. Its usage is that of all draws. A
/// streamed answer comes as a whole, once it stands.
/// </remarks>
/// <example><code>
/// using var client = new RepeatedSamplingChatClient(ErgonChatClient.Load("model.gguf"));
/// var response = await client.GetResponseAsync("What is 17 + 25?");
/// Console.WriteLine($"{response.AdditionalProperties![RepeatedSamplingChatClient.AnswerKey]} after {response.AdditionalProperties[RepeatedSamplingChatClient.DrawsKey]} draws");
/// </code></example>
public sealed class RepeatedSamplingChatClient : DelegatingChatClient
{
    /// <summary>The answer in canonical form, a <see cref="string"/>; <see langword="null"/> where no draw had one.</summary>
    public const string AnswerKey = "ergon.answer";

    /// <summary>How likely the answer is right, a <see cref="double"/>.</summary>
    public const string ConfidenceKey = "ergon.confidence";

    /// <summary>How many draws were made, an <see cref="int"/>.</summary>
    public const string DrawsKey = "ergon.draws";

    /// <summary>Why drawing stopped, a <see cref="string"/>.</summary>
    public const string ReasonKey = "ergon.reason";

    /// <summary>Joules of all draws, a <see cref="double"/>; absent where those of one are unknown.</summary>
    public const string JoulesKey = "ergon.joules";

    private readonly RepeatedSamplingOptions _options;
    private readonly CascadeState _state;
    private readonly IStoppingPolicy _policy;

    /// <param name="innerClient">Draws; disposed with this client.</param>
    /// <param name="options">How; <see langword="null"/> for the defaults.</param>
    /// <exception cref="ErgonException">An option is out of its range, or the file of the state cannot be read.</exception>
    public RepeatedSamplingChatClient(IChatClient innerClient, RepeatedSamplingOptions? options = null) : base(innerClient)
    {
        _options = options ?? new RepeatedSamplingOptions();
        new SolverOptions { Samples = _options.Samples, Temperature = _options.Temperature }.Validate();
        _state = _options.StateFile is { } file ? CascadeState.Load(file) : CascadeState.OfWords();
        _policy = StoppingPolicies.Named(_options.Policy, _options.Delta, cascade: new Cascade(_state));
        if (_policy is FirstVerified && _options.Policy == "first-verified" && _options.Verify is null)
            throw new ErgonException("policy is 'first-verified', but Verify is null; give a check, or use first-clean.");
    }

    /// <inheritdoc/>
    public override async Task<ChatResponse> GetResponseAsync(IEnumerable<ChatMessage> messages, ChatOptions? options = null, CancellationToken cancellationToken = default)
    {
        ChatMessage[] asked = [.. messages];
        if (options?.Temperature == 0 && _options.Samples > 1)
            throw new ErgonException($"The call's temperature is 0, where all of up to {_options.Samples} draws would be the same; leave it out, or set Samples to 1.");
        var isErgon = InnerClient.GetService(typeof(ErgonModel)) is not null;
        var (tally, draws) = (new Tally(_options.Samples), new List<(string? Answer, ChatResponse Response)>());
        string? reason = null;
        while (reason is null && tally.Left > 0)
        {
            var response = await InnerClient.GetResponseAsync(asked, Drawing(options, draws.Count, isErgon), cancellationToken).ConfigureAwait(false);
            var draw = Read(response);
            if (_options.Verify is { } verify && _policy.Verifies(draw))
                draw = draw with { Verified = await verify(response.Text, cancellationToken).ConfigureAwait(false) };
            tally.Add(draw);
            draws.Add((draw.Answer, response));
            reason = tally.Left > 0 ? _policy.Stop(tally) : null;
        }
        return Answer(tally, draws, reason ?? "the budget of draws is spent");
    }

    /// <inheritdoc/>
    public override async IAsyncEnumerable<ChatResponseUpdate> GetStreamingResponseAsync(IEnumerable<ChatMessage> messages, ChatOptions? options = null, [EnumeratorCancellation] CancellationToken cancellationToken = default)
    {
        foreach (var update in (await GetResponseAsync(messages, options, cancellationToken).ConfigureAwait(false)).ToChatResponseUpdates())
            yield return update;
    }

    private ChatOptions Drawing(ChatOptions? options, int index, bool isErgon)
    {
        var drawing = options?.Clone() ?? new ChatOptions();
        drawing.Temperature ??= _options.Temperature;
        // A call's seed repeats all of its draws, which must not be one another's.
        if (drawing.Seed is { } seed)
            drawing.Seed = SplitMix64.DrawSeed(unchecked((ulong)seed), 0, index);
        // Other clients may pass on what they do not know.
        if (isErgon)
            (drawing.AdditionalProperties ??= [])[ErgonChatClient.LogProbabilityKey] = true;
        return drawing;
    }

    private Draw Read(ChatResponse response)
    {
        var text = response.Text;
        var likelihood = Property(response, ErgonChatClient.LogProbabilityKey) as double?;
        return _options.Extract is { } extract ? new Draw(extract(text), LogProbability: likelihood) : new Draw(NumericAnswers.Extract(text), null, Arithmetic.Evidence(text), likelihood);
    }

    // What was streamed has them with its message.
    private static object? Property(ChatResponse response, string key) =>
        response.AdditionalProperties?.GetValueOrDefault(key) ?? (response.Messages.Count > 0 ? response.Messages[^1].AdditionalProperties?.GetValueOrDefault(key) : null);

    private ChatResponse Answer(Tally tally, List<(string? Answer, ChatResponse Response)> draws, string reason)
    {
        var answer = _policy.Choose(tally);
        var chosen = draws.Find(d => d.Answer == answer).Response ?? draws[0].Response;
        var usage = new UsageDetails();
        Joules? joules = Joules.Zero;
        foreach (var (_, response) in draws)
        {
            if (response.Usage is { } own)
                usage.Add(own);
            joules += (Property(response, EnergyMonitor.ReceiptKey) as Receipt)?.Energy;
        }
        var properties = new AdditionalPropertiesDictionary
        {
            [AnswerKey] = answer,
            [ConfidenceKey] = answer is null ? 0 : _state.Selector.Confidence(tally, answer),
            [DrawsKey] = draws.Count,
            [ReasonKey] = reason,
        };
        if (joules is { } sum)
            properties[JoulesKey] = sum.Value;
        return new ChatResponse(chosen.Messages)
        {
            ResponseId = chosen.ResponseId,
            ConversationId = chosen.ConversationId,
            ModelId = chosen.ModelId,
            CreatedAt = chosen.CreatedAt,
            FinishReason = chosen.FinishReason,
            Usage = usage,
            AdditionalProperties = properties,
        };
    }
}
