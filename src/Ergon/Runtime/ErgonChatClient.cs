using System.Runtime.CompilerServices;
using System.Text.Json;
using Ergon.Energy;
using Ergon.Inference;
using Ergon.Models.Grammars;
using Ergon.Models.Templates;
using Microsoft.Extensions.AI;
using FinishReason = Ergon.Inference.FinishReason;

namespace Ergon.Runtime;

/// <summary>
/// A local model behind Microsoft.Extensions.AI's chat interface. Safe for concurrent use: calls at the same
/// time share passes, as many as the model has sessions; the others wait. A conversation that grows is
/// computed from where it was left.
/// </summary>
/// <remarks>
/// With a monitor each response and each last streaming update has the answer's <see cref="Receipt"/> in
/// <c>AdditionalProperties[<see cref="EnergyMonitor.ReceiptKey"/>]</c>, whose <see cref="Receipt.Reason"/> tells why where its
/// energy is unknown; and its energy, where it is known, in <see cref="UsageDetails.AdditionalCounts"/> as
/// <see cref="MillijoulesKey"/>. The receipt waits for the meters to cover the answer, mostly some milliseconds, while others
/// use its session.
/// </remarks>
/// <param name="model">The model; disposed with the client when <paramref name="ownsModel"/>.</param>
/// <param name="ownsModel">Whether the client disposes the model.</param>
/// <param name="monitor">Meters the answers, having loaded the model; the client does not dispose it. <see langword="null"/>: none.</param>
/// <exception cref="ErgonException">The monitor did not load the model.</exception>
public sealed class ErgonChatClient(ErgonModel model, bool ownsModel = false, EnergyMonitor? monitor = null) : IChatClient
{
    /// <summary>The answer's energy in thousandths of a joule, rounded: counts are whole numbers, and add up where usages do.</summary>
    public const string MillijoulesKey = "ergon.energy_millijoules";

    /// <summary>
    /// Where a call's <c>ChatOptions.AdditionalProperties</c> have this key, those of the response have the mean log-probability of its tokens
    /// under it, a <see cref="double"/> in nats: see <see cref="GenerationOptions.LogProbabilities"/>.
    /// </summary>
    public const string LogProbabilityKey = "ergon.log_probability";

    private readonly EnergyMonitor? _monitor = monitor?.Knowing(model);
    private readonly SemaphoreSlim _slots = new(model.MaxSequences);
    private readonly CancellationTokenSource _disposing = new();
    private readonly List<Session> _idle = [];
    private readonly Lock _gate = new();
    private bool _disposed;

    /// <summary>Loads a GGUF file and makes a client that owns it.</summary>
    /// <exception cref="ErgonException">As <see cref="ErgonModel.Load"/>.</exception>
    /// <exception cref="InvalidOperationException">The monitor meters a model already.</exception>
    public static ErgonChatClient Load(string path, ModelOptions? options = null, EnergyMonitor? monitor = null) =>
        new(monitor?.Load(() => ErgonModel.Load(path, options)) ?? ErgonModel.Load(path, options), ownsModel: true, monitor);

    /// <inheritdoc/>
    public async Task<ChatResponse> GetResponseAsync(IEnumerable<ChatMessage> messages, ChatOptions? options = null, CancellationToken cancellationToken = default) =>
        await GetStreamingResponseAsync(messages, options, cancellationToken).ToChatResponseAsync(cancellationToken).ConfigureAwait(false);

    /// <inheritdoc/>
    public async IAsyncEnumerable<ChatResponseUpdate> GetStreamingResponseAsync(IEnumerable<ChatMessage> messages, ChatOptions? options = null, [EnumeratorCancellation] CancellationToken cancellationToken = default)
    {
        var prompt = model.Tokenize(new ChatTemplateInput { Messages = [.. Instructions(options), .. messages.Select(Message)] });
        var generation = Translate(options);
        var id = Guid.NewGuid().ToString("N");
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, _disposing.Token);
        await EnterAsync(stop.Token, cancellationToken).ConfigureAwait(false);
        Session? session = null;
        MeteredRequest? request = null;
        Task<Receipt>? receipt = null;
        GenerationStatistics statistics;
        try
        {
            session = TakeIdle(prompt) ?? model.CreateSession();
            request = _monitor?.Begin(session);
            await foreach (var token in session.GenerateAsync(prompt, generation, stop.Token).ConfigureAwait(false))
            {
                if (token.Text.Length > 0)
                    yield return Update(new TextContent(token.Text));
            }
            statistics = session.Statistics!;
        }
        finally
        {
            // Before the session is given back, whose next request is another; nobody waits for what was cancelled or failed.
            if (request is not null)
                receipt = _monitor!.EndAsync(request, session?.Statistics?.CompletionTokens ?? 0);
            GiveBack(session);
            _slots.Release();
        }
        var usage = new UsageDetails
        {
            InputTokenCount = statistics.PromptTokens,
            CachedInputTokenCount = statistics.ReusedTokens,
            OutputTokenCount = statistics.CompletionTokens,
            TotalTokenCount = statistics.PromptTokens + statistics.CompletionTokens,
        };
        var last = Update(new UsageContent(usage));
        last.FinishReason = statistics.FinishReason == FinishReason.Stop ? ChatFinishReason.Stop : ChatFinishReason.Length;
        if (statistics is { LogProbability: { } sum, CompletionTokens: > 0 })
            (last.AdditionalProperties ??= [])[LogProbabilityKey] = sum / statistics.CompletionTokens;
        if (receipt is not null)
        {
            var took = await receipt.ConfigureAwait(false);
            (last.AdditionalProperties ??= [])[EnergyMonitor.ReceiptKey] = took;
            if (took.Energy is { } energy)
                usage.AdditionalCounts = new() { [MillijoulesKey] = (long)Math.Round(energy.Value * 1000) };
        }
        yield return last;

        ChatResponseUpdate Update(AIContent content) => new(ChatRole.Assistant, [content]) { ResponseId = id, MessageId = id, ModelId = model.Description.Name };
    }

    /// <inheritdoc/>
    public object? GetService(Type serviceType, object? serviceKey = null)
    {
        ArgumentNullException.ThrowIfNull(serviceType);
        return serviceKey is not null ? null
            : serviceType.IsInstanceOfType(this) ? this
            : serviceType.IsInstanceOfType(model) ? model
            : serviceType == typeof(ChatClientMetadata) ? new ChatClientMetadata("ergon", null, model.Description.Name)
            : null;
    }

    private async Task EnterAsync(CancellationToken stop, CancellationToken asked)
    {
        try
        {
            await _slots.WaitAsync(stop).ConfigureAwait(false);
        }
        catch (OperationCanceledException) when (!asked.IsCancellationRequested)
        {
            throw new ObjectDisposedException(nameof(ErgonChatClient));
        }
    }

    // The idle session that has computed most of the prompt already; none when a new one serves better.
    private Session? TakeIdle(int[] prompt)
    {
        lock (_gate)
        {
            ObjectDisposedException.ThrowIf(_disposed, this);
            if (_idle.Count == 0)
                return null;
            var best = _idle.MaxBy(s => s.CommonPrefix(prompt))!;
            // A conversation of its own keeps its session while there are others to open.
            if (best.CommonPrefix(prompt) < prompt.Length / 2 && _idle.Count < _slots.CurrentCount + 1)
                return null;
            _idle.Remove(best);
            return best;
        }
    }

    private void GiveBack(Session? session)
    {
        lock (_gate)
        {
            if (_disposed)
                session?.Dispose();
            else if (session is not null)
                _idle.Add(session);
        }
    }

    private static IEnumerable<ChatTemplateMessage> Instructions(ChatOptions? options) =>
        string.IsNullOrEmpty(options?.Instructions) ? [] : [new ChatTemplateMessage("system", options.Instructions)];

    private static ChatTemplateMessage Message(ChatMessage message)
    {
        if (message.Contents.FirstOrDefault(c => c is not TextContent) is { } other)
            throw new ErgonException($"A message contains {other.GetType().Name}, but this client takes text only; leave it out.");
        return new ChatTemplateMessage(message.Role.Value, message.Text);
    }

    private static GenerationOptions Translate(ChatOptions? options)
    {
        if (options?.Tools is { Count: > 0 })
            throw new ErgonException("ChatOptions.Tools is set, but this client does not call tools; leave it out or describe them in the prompt.");
        var defaults = new SamplingOptions();
        return new GenerationOptions
        {
            MaxTokens = options?.MaxOutputTokens,
            LogProbabilities = options?.AdditionalProperties?.ContainsKey(LogProbabilityKey) == true,
            StopSequences = [.. options?.StopSequences ?? []],
            Sampling = defaults with
            {
                Temperature = options?.Temperature ?? defaults.Temperature,
                TopP = options?.TopP ?? defaults.TopP,
                TopK = options?.TopK ?? defaults.TopK,
                FrequencyPenalty = options?.FrequencyPenalty ?? defaults.FrequencyPenalty,
                PresencePenalty = options?.PresencePenalty ?? defaults.PresencePenalty,
                // Seeds of the interface have 64 bits, llama.cpp's 32; folding keeps different ones different.
                Seed = options?.Seed is { } seed ? (uint)(seed ^ (seed >> 32)) : null,
                Grammar = options?.ResponseFormat switch
                {
                    ChatResponseFormatJson { Schema: JsonElement schema } => JsonSchemaGrammar.FromSchema(schema),
                    ChatResponseFormatJson => JsonGrammar.Any,
                    _ => null,
                },
            },
        };
    }

    /// <summary>Ends the calls that run, closes the sessions, and the model where the client owns it.</summary>
    public void Dispose()
    {
        lock (_gate)
        {
            if (_disposed)
                return;
            _disposed = true;
            foreach (var session in _idle)
                session.Dispose();
            _idle.Clear();
        }
        _disposing.Cancel();
        if (ownsModel)
            model.Dispose();
    }
}
