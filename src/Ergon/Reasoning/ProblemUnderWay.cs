using System.Diagnostics;
using System.Text;
using Ergon.Inference;
using Ergon.Models.Templates;
using Ergon.Reasoning.Stopping;
using Ergon.Reasoning.Tasks;
using Ergon.Units;

namespace Ergon.Reasoning;

/// <summary>A problem that a <see cref="Solver"/> draws answers for. Begun and ended by one thread at a time; its draws run beside one another.</summary>
internal sealed class ProblemUnderWay : IDisposable
{
    private readonly ErgonModel _model;
    private readonly IReasoningTask _task;
    private readonly IStoppingPolicy _policy;
    private readonly SolverOptions _options;
    private readonly Func<DrawUse, Joules?> _joules;
    private readonly int _item;
    private readonly int[] _prompt;
    private readonly Tally _tally;
    private readonly BookedDraw?[] _draws;
    private readonly CancellationToken _caller;
    private readonly CancellationTokenSource _stop;
    private readonly Lazy<Task<Session>> _prefix;
    private readonly SemaphoreSlim _forking = new(1);
    private int _begun;
    private int _running;
    private string? _reason;

    /// <summary>Begins nothing yet; <paramref name="item"/> is its index among the task's problems, the others are the solver's.</summary>
    public ProblemUnderWay(ErgonModel model, IReasoningTask task, IStoppingPolicy policy, SolverOptions options, Func<DrawUse, Joules?>? joules, int item, CancellationToken cancellation)
    {
        (_model, _task, _policy, _options, _joules, _item, _caller) = (model, task, policy, options, joules ?? (_ => null), item, cancellation);
        _prompt = model.Tokenize(new ChatTemplateInput { Messages = [new ChatTemplateMessage("user", Problem.Prompt)] });
        _tally = new Tally(options.Samples);
        _draws = new BookedDraw?[options.Samples];
        _stop = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        _prefix = new Lazy<Task<Session>>(PrefixAsync);
    }

    /// <summary>Whether another draw may begin now.</summary>
    public bool Wants => !Decided && _begun < _options.Samples && _running < _options.Wave;

    /// <summary>Whether all is done.</summary>
    public bool Ended => _running == 0 && (Decided || _begun == _options.Samples);

    private bool Decided => _reason is not null;

    private Problem Problem => _task.Problems[_item];

    /// <summary>Begins a draw; returns its index.</summary>
    public int Begin()
    {
        _running++;
        return _begun++;
    }

    /// <summary>Takes a draw that ended, shows the policy all that are complete up to here, and stops the others where it says so.</summary>
    public void End(int index, BookedDraw draw)
    {
        _running--;
        _draws[index] = draw;
        while (!Decided && _tally.Left > 0 && _draws[_tally.Draws.Count] is { } seen)
        {
            _tally.Add(seen.Draw);
            // Drawing all of the budget needs no reason.
            _reason = _tally.Left > 0 ? _policy.Stop(_tally) : null;
        }
        if (Decided)
            _stop.Cancel();
    }

    /// <summary>Draws once, on a row of its own.</summary>
    public async Task<BookedDraw> DrawAsync(int index)
    {
        var text = new StringBuilder();
        int tokens;
        Joules? energy;
        var (cancelled, count) = (false, 0);
        int? falseAt = null;
        var session = await _prefix.Value.ConfigureAwait(false);
        var fork = _options.Wave == 1 ? null : await ForkAsync(session).ConfigureAwait(false);
        try
        {
            var generation = new GenerationOptions
            {
                MaxTokens = _options.MaxTokens,
                Sampling = new SamplingOptions { Temperature = _options.Temperature, TopK = 0, TopP = 1, MinP = 0, Seed = WordsEvaluation.DrawSeed(_options.Seed, _item, index) },
            };
            var began = Stopwatch.GetTimestamp();
            try
            {
                await foreach (var token in (fork ?? session).GenerateAsync(_prompt, generation, _stop.Token).ConfigureAwait(false))
                {
                    text.Append(token.Text);
                    count++;
                    // A step is complete where a space follows.
                    if (falseAt is null && token.Text.AsSpan().ContainsAny(" \n") && _task.IsFalse(Problem, text.ToString()))
                    {
                        falseAt = count;
                        if (_options.AbandonFalse)
                            break;
                    }
                }
            }
            catch (OperationCanceledException) when (!_caller.IsCancellationRequested)
            {
                cancelled = true;
            }
            var statistics = (fork ?? session).Statistics;
            tokens = statistics?.CompletionTokens ?? count;
            // What a cancelled draw spent is spent.
            energy = _joules(new DrawUse((statistics?.PromptTokens - statistics?.ReusedTokens) ?? 0, tokens, began, Stopwatch.GetElapsedTime(began)));
        }
        finally
        {
            fork?.Dispose();
        }
        var answer = text.ToString();
        if (cancelled)
            return new BookedDraw(default, answer, tokens, energy, Cancelled: true, falseAt);
        if (falseAt is not null && _options.AbandonFalse)
            return new BookedDraw(new Draw(null, Evidence: 0), answer, tokens, energy, Cancelled: false, falseAt);
        var verified = _options.Verify ? await _task.VerifyAsync(Problem, answer, _caller).ConfigureAwait(false) : null;
        return new BookedDraw(new Draw(_task.Extract(Problem, answer), verified, _task.Evidence(Problem, answer)), answer, tokens, energy, Cancelled: false, falseAt);
    }

    /// <summary>What came of it.</summary>
    public async Task<SolvedProblem> SolvedAsync(CancellationToken cancellation)
    {
        var answer = _policy.Choose(_tally);
        // An answer stands for the texts that gave it; the verifier reads the first of them.
        var spokesman = _draws.FirstOrDefault(d => d is { Cancelled: false } && d.Draw.Answer == answer);
        var right = answer is not null && spokesman is not null && await _task.IsRightAsync(Problem, spokesman.Text, cancellation).ConfigureAwait(false);
        return new SolvedProblem(Problem, answer, right, _reason, _prompt.Length, [.. _draws.OfType<BookedDraw>()]);
    }

    private async Task<Session> PrefixAsync()
    {
        var session = _model.CreateSession();
        if (_options.Wave == 1)
            return session;
        try
        {
            // Computing the prompt ends with its last token's logits; what they would choose is not wanted.
            await foreach (var _ in session.GenerateAsync(_prompt, new GenerationOptions { MaxTokens = 1 }, _caller).ConfigureAwait(false))
            {
            }
            return session;
        }
        catch
        {
            session.Dispose();
            throw;
        }
    }

    // A session forks for one at a time.
    private async Task<Session> ForkAsync(Session session)
    {
        await _forking.WaitAsync(_caller).ConfigureAwait(false);
        try
        {
            return await session.ForkAsync().ConfigureAwait(false);
        }
        finally
        {
            _forking.Release();
        }
    }

    public void Dispose()
    {
        _forking.Dispose();
        if (_prefix is { IsValueCreated: true, Value: { IsCompletedSuccessfully: true } session })
            session.Result.Dispose();
        _stop.Dispose();
    }
}
