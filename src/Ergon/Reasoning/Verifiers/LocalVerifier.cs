using Ergon.Energy;
using Ergon.Inference;
using Ergon.Models.Templates;
using Ergon.Reasoning.Tasks;

namespace Ergon.Reasoning.Verifiers;

/// <summary>
/// A loaded model as a verifier. By likelihood the text is scored by teacher forcing after the problem as the model's chat template has it: one pass
/// over problem and text, where drawing the text took one for each token. As a judge it reads both and the question whether the text is right; the
/// score is the share of Yes in its likelihoods of Yes and No. One text at a time.
/// </summary>
internal sealed class LocalVerifier : IVerifierModel
{
    /// <summary>Sessions that the model needs: for the prompt and each text that goes on from it.</summary>
    public const int Sessions = 3;

    private readonly ErgonModel _model;
    private readonly VerifyBy _by;
    private readonly Metering? _meter;
    private readonly SemaphoreSlim _gate = new(1);
    private readonly IReadOnlyList<IDisposable> _owned;
    private int _failures;

    /// <param name="model">With <see cref="Sessions"/> free.</param>
    /// <param name="by">How it is asked.</param>
    /// <param name="meter">Opens a request, without a session, for all that the model does until it is closed; <see langword="null"/> meters nothing.</param>
    /// <param name="owned">Disposed with this.</param>
    /// <exception cref="ErgonException">The model has no chat template.</exception>
    public LocalVerifier(ErgonModel model, VerifyBy by, Metering? meter = null, params IReadOnlyList<IDisposable> owned)
    {
        if (model.ChatTemplate is null)
            throw new ErgonException($"The verifier model '{model.Description.Name}' has no chat template, so that no problem can be put to it; name a model that answers questions.");
        (_model, _by, _meter, _owned, Name) = (model, by, meter, owned, $"{model.Description.Name} by {(by == VerifyBy.Judge ? "judgement" : "likelihood")}");
    }

    public string Name { get; }

    public bool IsProbability => _by == VerifyBy.Judge;

    public int Failures => _failures;

    public string? LastFailure { get; private set; }

    public async Task<VerifierScore> ScoreAsync(Problem problem, string text, CancellationToken cancellation)
    {
        var input = new ChatTemplateInput { Messages = [new ChatTemplateMessage("user", _by == VerifyBy.Judge ? JudgeQuestion.Of(problem, text) : problem.Prompt)] };
        var prompt = _model.Tokenize(input);
        int[][] wholes = _by == VerifyBy.Judge ? [_model.Tokenize(input, JudgeQuestion.Yes), _model.Tokenize(input, JudgeQuestion.No)] : [_model.Tokenize(input, text)];
        if (wholes.Max(w => w.Length) is var tokens && tokens > _model.ContextLength)
        {
            Interlocked.Increment(ref _failures);
            LastFailure = $"{tokens} tokens do not fit its context of {_model.ContextLength}";
            return new VerifierScore(null, null, Asked: false);
        }
        // A request of all that the model does is one at a time.
        try
        {
            await _gate.WaitAsync(cancellation).ConfigureAwait(false);
        }
        catch (OperationCanceledException)
        {
            return new VerifierScore(null, null, Asked: false);
        }
        var close = _meter?.Invoke(null);
        double? score = null;
        Task<Receipt>? receipt;
        try
        {
            var likelihoods = await LogLikelihood.ScoreTokensAsync(_model, prompt, wholes, cancellation).ConfigureAwait(false);
            score = _by == VerifyBy.Judge ? 1 / (1 + Math.Exp(likelihoods[1].LogProbability - likelihoods[0].LogProbability)) : Math.Exp(likelihoods[0].PerToken);
        }
        catch (OperationCanceledException)
        {
            // What it took is booked.
        }
        finally
        {
            // The request ends here; its receipt comes when the meters have told, and the next need not wait for that.
            receipt = close?.Invoke(0);
            _gate.Release();
        }
        return new VerifierScore(score, receipt);
    }

    public void Dispose()
    {
        _gate.Dispose();
        foreach (var owned in _owned)
            owned.Dispose();
    }
}
