using System.Net.Http.Headers;
using System.Net.Http.Json;
using System.Text.Json;
using Ergon.Energy;
using Ergon.Reasoning.Tasks;

namespace Ergon.Reasoning.Verifiers;

/// <summary>
/// A judge behind an OpenAI-compatible chat endpoint. The score is the share of Yes in the probabilities that the server gives for the first token, or
/// 1 or 0 for the word itself where it gives none. What is neither Yes nor No, a server's own failure, or the time limit is no score. What the
/// server draws is not metered. Requests follow no redirect, so that the key reaches one host.
/// </summary>
internal sealed class RemoteJudge : IVerifierModel
{
    /// <summary>The environment variable that may hold the endpoint's key.</summary>
    public const string KeyVariable = "ERGON_VERIFIER_KEY";

    private const int MostTokens = 4, Alternatives = 5, MostBytes = 1 << 20;

    private static readonly Receipt s_elsewhere = new(null, null, null, null, TimeSpan.Zero, 0, null, null, "not metered: the verifier model runs elsewhere");

    private readonly HttpClient _client;
    private readonly Uri _address;
    private readonly string _model;
    private readonly TimeSpan _limit;
    private readonly int _patience;
    private readonly bool _hasKey;
    private volatile bool _isReached, _isAnswered, _wordsOnly;
    private int _failures, _inARow;

    /// <param name="endpoint">What <c>/chat/completions</c> is appended to, such as <c>http://localhost:8080/v1</c>; http or https.</param>
    /// <param name="model">As the server names it.</param>
    /// <param name="key">Sent as a bearer token, never part of a message; <see langword="null"/> for none.</param>
    /// <param name="limit">For one text.</param>
    /// <param name="patience">How many texts in a row it may fail to judge before that is an error; <see langword="null"/> for any number.</param>
    /// <exception cref="ErgonException">The endpoint is no address of http or https, or the key cannot be sent.</exception>
    public RemoteJudge(string endpoint, string model, string? key, TimeSpan limit, int? patience = null)
    {
        if (!Uri.TryCreate(endpoint, UriKind.Absolute, out var parsed) || parsed.Scheme is not ("http" or "https") || parsed.UserInfo.Length > 0 || parsed.Query.Length > 0)
            throw new ErgonException($"The verifier's address must be like http://localhost:8080/v1, without user and query, but is not; keys are taken from {KeyVariable}.");
        _address = new Uri(parsed.AbsoluteUri.TrimEnd('/') + "/chat/completions");
        (_model, _limit, _patience, _hasKey) = (model, limit, patience ?? int.MaxValue, key is not null);
        _client = new HttpClient(new SocketsHttpHandler { AllowAutoRedirect = false }) { Timeout = Timeout.InfiniteTimeSpan };
        if (key is null)
            return;
        if (key.AsSpan().ContainsAnyExceptInRange('!', '~'))
            throw new ErgonException($"The key in {KeyVariable} has characters that no header can have; set it anew, without spaces or line ends.");
        _client.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", key);
    }

    public string Name => $"{_model} at {_address.Authority} by judgement";

    public bool IsProbability => true;

    public int Failures => _failures;

    public string? LastFailure { get; private set; }

    private string Shown => _address.GetLeftPart(UriPartial.Path);

    public async Task<VerifierScore> ScoreAsync(Problem problem, string text, CancellationToken cancellation)
    {
        using var time = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        time.CancelAfter(_limit);
        double? score = null;
        try
        {
            var (answer, why) = await AskAsync(JudgeQuestion.Of(problem, text), time.Token).ConfigureAwait(false);
            score = answer is null ? null : Score(answer);
            if (score is null)
                Failed(why ?? $"it said neither {JudgeQuestion.Yes} nor {JudgeQuestion.No}");
            else
                Interlocked.Exchange(ref _inARow, 0);
        }
        catch (OperationCanceledException) when (cancellation.IsCancellationRequested)
        {
            // Nobody waits for it any more.
        }
        catch (OperationCanceledException e)
        {
            Failed(FormattableString.Invariant($"no answer within {_limit.TotalSeconds} s"), e);
        }
        catch (HttpRequestException e)
        {
            // A server that was never there is a wrong address; one that goes away takes no answer with it.
            if (!_isReached)
                throw new ErgonException($"The verifier at {Shown} cannot be reached ({e.Message.TrimEnd('.')}); start it, or check the address.", e);
            Failed(e.Message.TrimEnd('.'), e);
        }
        return new VerifierScore(score, Task.FromResult(s_elsewhere));
    }

    private async Task<(JudgeChoice? Answer, string? Why)> AskAsync(string question, CancellationToken cancellation)
    {
        var withProbabilities = !_wordsOnly;
        var asked = new JudgeRequest(_model, [new JudgeMessage("user", question)], 0, MostTokens, withProbabilities ? true : null, withProbabilities ? Alternatives : null);
        using var content = JsonContent.Create(asked, JudgeJson.Default.JudgeRequest);
        // Some servers read no body in pieces.
        await content.LoadIntoBufferAsync(cancellation).ConfigureAwait(false);
        using var request = new HttpRequestMessage(HttpMethod.Post, _address) { Content = content };
        using var response = await _client.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, cancellation).ConfigureAwait(false);
        _isReached = true;
        switch ((int)response.StatusCode)
        {
            case 400 or 422 when withProbabilities && !_isAnswered:
                // A server may refuse what it does not know.
                _wordsOnly = true;
                return await AskAsync(question, cancellation).ConfigureAwait(false);
            case 400 or 413 or 422 when _isAnswered:
                // It has judged others: this text is too long for it, say.
                return (null, $"it answered {(int)response.StatusCode}");
            case 401 or 403:
                throw new ErgonException($"The verifier at {Shown} refuses the request ({(int)response.StatusCode}); {(_hasKey ? $"the key in {KeyVariable} does not fit" : $"set {KeyVariable} to its key")}.");
            case >= 300 and < 500 and not (408 or 429):
                throw new ErgonException($"The verifier at {Shown} answers {(int)response.StatusCode}; check the address, which must end before /chat/completions, and the model's name '{_model}'.");
            case not 200:
                return (null, $"it answered {(int)response.StatusCode}");
        }
        _isAnswered = true;
        await response.Content.LoadIntoBufferAsync(MostBytes, cancellation).ConfigureAwait(false);
        try
        {
            return (await response.Content.ReadFromJsonAsync(JudgeJson.Default.JudgeResponse, cancellation).ConfigureAwait(false))?.Choices is [{ } first, ..] ? (first, null) : (null, "its answer has no choices");
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            // An unknown charset is the latter.
            return (null, "its answer is not the JSON of a chat completion");
        }
    }

    private static double? Score(JudgeChoice choice)
    {
        if (choice.Logprobs?.Content is [{ TopLogprobs: { } tokens }, ..])
        {
            var yes = tokens.Where(t => Word(t?.Token) == true).Sum(t => Math.Exp(t!.Logprob));
            var no = tokens.Where(t => Word(t?.Token) == false).Sum(t => Math.Exp(t!.Logprob));
            if (yes + no is > 0 and var both && double.IsFinite(both))
                return yes / both;
        }
        return Word(choice.Message?.Content) switch { true => 1, false => 0, null => null };
    }

    // The first word, whatever stands around it.
    private static bool? Word(string? text)
    {
        var word = text.AsSpan().TrimStart(" \t\r\n*\"'`_");
        var end = word.IndexOfAnyExcept(s_letters);
        word = end < 0 ? word : word[..end];
        return word.Equals(JudgeQuestion.Yes, StringComparison.OrdinalIgnoreCase) ? true : word.Equals(JudgeQuestion.No, StringComparison.OrdinalIgnoreCase) ? false : null;
    }

    private static readonly System.Buffers.SearchValues<char> s_letters = System.Buffers.SearchValues.Create("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ");

    private void Failed(string why, Exception? cause = null)
    {
        Interlocked.Increment(ref _failures);
        LastFailure = why;
        if (Interlocked.Increment(ref _inARow) < _patience)
            return;
        var problem = $"The verifier at {Shown} gave no verdict on {_patience} answers in a row ({why}); check that '{_model}' answers {JudgeQuestion.Yes} or {JudgeQuestion.No} in time, or leave it out.";
        throw cause is null ? new ErgonException(problem) : new ErgonException(problem, cause);
    }

    public void Dispose() => _client.Dispose();
}
