using System.Collections.Concurrent;
using Ergon.Energy;
using Ergon.Inference;
using Ergon.Models.Templates;
using Ergon.Reasoning.Stopping;
using Ergon.Reasoning.Tasks;
using Ergon.Reasoning.Verifiers;
using Ergon.Units;

namespace Ergon.Reasoning;

/// <summary>A problem that a <see cref="Solver"/> draws answers for. Begun and ended by one thread at a time; its draws run beside one another.</summary>
internal sealed class ProblemUnderWay : IDisposable
{
    private readonly ErgonModel _model;
    private readonly IReasoningTask _task;
    private readonly IStoppingPolicy _policy;
    private readonly SolverOptions _options;
    private readonly Metering? _meter;
    private readonly Decoding? _decode;
    private readonly int _item;
    private readonly int[] _prompt;
    private readonly Tally _tally;
    private readonly BookedDraw?[] _draws;
    private readonly CancellationToken _caller;
    private readonly CancellationTokenSource _stop;
    private readonly Lazy<Task<Session>> _root; // has the prompt, once it was computed
    private readonly Lazy<Task<Session>> _prefix; // computes it
    private readonly SemaphoreSlim _forking = new(1);
    private readonly Task<Receipt>?[] _receipts; // of draws: waiting for a meter keeps no row from the next draw
    private readonly Task<Receipt>?[] _scorings; // of what a verifier model took, likewise
    private readonly ConcurrentDictionary<string, Lazy<Task<VerifierScore>>> _scores = new(); // of answers
    private Task<Receipt>? _promptReceipt;
    private Joules _spent;
    private int _paid; // draws whose joules are in _spent
    private int _begun;
    private int _running;
    private int _width; // draws to run at once
    private bool _isDrawnOn; // whether a draw of the root's own computed the prompt
    private string? _reason;

    /// <summary>Begins nothing yet; <paramref name="item"/> is its index among the task's problems, the others are the solver's.</summary>
    public ProblemUnderWay(ErgonModel model, IReasoningTask task, IStoppingPolicy policy, SolverOptions options, Metering? meter, Decoding? decode, int item, CancellationToken cancellation)
    {
        (_model, _task, _policy, _options, _meter, _decode, _item, _caller) = (model, task, policy, options, meter, decode, item, cancellation);
        _prompt = model.Tokenize(new ChatTemplateInput { Messages = [new ChatTemplateMessage("user", Problem.Prompt)] });
        _tally = new Tally(options.Samples);
        _draws = new BookedDraw?[options.Samples];
        _receipts = new Task<Receipt>?[options.Samples];
        _scorings = new Task<Receipt>?[options.Samples];
        _stop = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        // Neither may wait in here: draws that begin together ask for it together, each on a thread of its own.
        _root = new Lazy<Task<Session>>(() => Session.OpenAsync(model, model.Batcher));
        _prefix = new Lazy<Task<Session>>(PrefixAsync);
        _width = ChooseWidth();
    }

    /// <summary>Whether another draw may begin now.</summary>
    public bool Wants => !Decided && _begun < _options.Samples && _running < _width && Affords;

    /// <summary>Whether all is done.</summary>
    public bool Ended => _running == 0 && (Decided || _begun == _options.Samples);

    // The first draw shows what one takes.
    private bool Affords => _options.Budget is not { } budget || _begun == 0 || (_paid > 0 && _spent.Value + ((_running + 1) * _spent.Value / _paid) <= budget.Value);

    private bool Decided => _reason is not null;

    private Problem Problem => _task.Problems[_item];

    /// <summary>Begins a draw; returns its index, and whether it has the problem for itself: then no other begins before it ends.</summary>
    public (int Index, bool IsAlone) Begin() => (_begun++, _running++ == 0 && _width == 1);

    private int ChooseWidth() => _options.ChoosesWave && _decode is not null && _options.Wave > 1 && _tally.Left > 0
        ? Waves.Choose(_tally, _policy, _options.Wave, _options.Verify, rows => _decode(rows, Context)) : _options.Wave;

    // In the middle of a draw.
    private int Context => Math.Min(_model.ContextLength - 1, _prompt.Length + (int)(MeanTokens / 2));

    private double MeanTokens => _draws.Where(d => d is { Cancelled: false }).Select(d => (double)d!.Tokens).DefaultIfEmpty(0).Average();

    /// <summary>Takes a draw that ended, shows the policy all that are complete up to here, and stops the others where it says so.</summary>
    public void End(int index, BookedDraw draw)
    {
        _running--;
        _draws[index] = draw;
        if (_options.Budget is not null)
            Pay(draw);
        while (!Decided && _tally.Left > 0 && _draws[_tally.Draws.Count] is { } seen)
        {
            _tally.Add(seen.Draw);
            // Drawing all of the budget needs no reason.
            _reason = _tally.Left > 0 ? _policy.Stop(_tally) : null;
        }
        if (Decided)
        {
            _stop.Cancel();
            return;
        }
        if (_begun < _options.Samples)
            _width = ChooseWidth();
        if (_running == 0 && _tally.Left > 0 && !Affords)
            _reason = FormattableString.Invariant($"another draw would exceed {_options.Budget}");
    }

    private void Pay(BookedDraw draw)
    {
        if (draw.Energy is not { } energy)
            throw new ErgonException($"A budget of {_options.Budget} is set, but what a draw took is unknown: {draw.Receipt?.Reason}; leave the budget out.");
        _spent += energy + (draw.Check is { Quality: not EnergyQuality.Modelled, Energy: { } check } ? check : Joules.Zero);
        if (draw.Scoring?.Energy is { } scoring)
            _spent += scoring;
        if (_paid++ == 0 && _promptReceipt is { IsCompletedSuccessfully: true, Result.Energy: { } prompt })
            _spent += prompt;
    }

    /// <summary>Draws once, on a row of its own; alone on the session that has the prompt, or will have it.</summary>
    public async Task<BookedDraw> DrawAsync(int index, bool isAlone)
    {
        var text = new DrawnText(_task, Problem, _options.AbandonFalse);
        var cancelled = false;
        GenerationStatistics? statistics = null;
        var session = await (isAlone ? _root : _prefix).Value.ConfigureAwait(false);
        _isDrawnOn |= isAlone;
        var fork = isAlone ? null : await ForkAsync(session).ConfigureAwait(false);
        Func<int, Task<Receipt>>? close = null;
        try
        {
            var own = fork ?? session;
            var generation = new GenerationOptions
            {
                MaxTokens = _options.MaxTokens,
                LogProbabilities = true,
                Sampling = SamplingOptions.Whole(_options.Temperature, SplitMix64.DrawSeed(_options.Seed, _item, index)),
            };
            close = _meter?.Invoke(own);
            try
            {
                await text.DrawAsync(own, _prompt, generation, _stop.Token).ConfigureAwait(false);
            }
            catch (OperationCanceledException) when (!_caller.IsCancellationRequested)
            {
                cancelled = true;
            }
            statistics = own.Statistics;
        }
        finally
        {
            // Before the sequence is another's. What a cancelled draw spent is spent.
            _receipts[index] = close?.Invoke(statistics?.CompletionTokens ?? text.Count);
            fork?.Dispose();
        }
        var answer = text.ToString();
        var tokens = statistics?.CompletionTokens ?? text.Count;
        var receipt = _options.Budget is not null && _receipts[index] is { } taken ? await taken.ConfigureAwait(false) : null;
        if (cancelled)
            return new BookedDraw(default, answer, tokens, Cancelled: true, text.FalseAt, receipt);
        if (text.IsAbandoned)
            return new BookedDraw(new Draw(null, Evidence: 0), answer, tokens, Cancelled: false, text.FalseAt, receipt);
        var draw = new Draw(_task.Extract(Problem, answer), null, _task.Evidence(Problem, answer), tokens > 0 ? statistics?.LogProbability / tokens : null);
        var booked = new BookedDraw(draw, answer, tokens, Cancelled: false, text.FalseAt, receipt);
        return await ScoreAsync(index, _options.Verify && _policy.Verifies(draw) ? await VerifyAsync(booked).ConfigureAwait(false) : booked).ConfigureAwait(false);
    }

    // A true verifier's word leaves nothing to ask. Draws of one answer have steps that hold and differ little: a score is the answer's, whichever draw of it
    // ended first and pays, so that the policy, which sees draws in their order, has it with the first.
    private async Task<BookedDraw> ScoreAsync(int index, BookedDraw draw)
    {
        if (_options.Verifier is not { } verifier || draw.Draw is not { Answer: { } answer, Verified: null } || !_policy.Scores(draw.Draw))
            return draw;
        var own = new Lazy<Task<VerifierScore>>(() => verifier.ScoreAsync(Problem, draw.Text, _stop.Token));
        var asked = _scores.GetOrAdd(answer, own);
        var (score, receipt, wasAsked) = await asked.Value.ConfigureAwait(false);
        _caller.ThrowIfCancellationRequested();
        if (score is null)
            _scores.TryRemove(KeyValuePair.Create(answer, asked));
        draw = draw with { Draw = draw.Draw with { Score = score } };
        if (asked != own || !wasAsked)
            return draw;
        _scorings[index] = receipt;
        return draw with { Asked = true, Scoring = _options.Budget is not null && receipt is not null ? await receipt.ConfigureAwait(false) : null };
    }

    private async Task<BookedDraw> VerifyAsync(BookedDraw draw)
    {
        var close = _meter?.Invoke(null);
        var verdict = await _task.VerifyAsync(Problem, draw.Text, _caller).ConfigureAwait(false);
        var check = close is null ? null : await close(0).ConfigureAwait(false);
        return draw with { Draw = draw.Draw with { Verified = verdict }, Verified = true, Check = check };
    }

    /// <summary>What came of it.</summary>
    public async Task<SolvedProblem> SolvedAsync(CancellationToken cancellation)
    {
        var answer = _policy.Choose(_tally);
        // An answer stands for the texts that gave it; the verifier reads the first of them.
        var spokesman = _draws.FirstOrDefault(d => d is { Cancelled: false } && d.Draw.Answer == answer);
        // A verifier that has judged it already need not do so again.
        var right = answer is not null && spokesman is not null && (Problem.Gold is null && spokesman.Verified
            ? spokesman.Draw.Verified == true : await _task.IsRightAsync(Problem, spokesman.Text, cancellation).ConfigureAwait(false));
        List<BookedDraw> draws = [];
        for (var i = 0; i < _begun; i++)
        {
            if (_draws[i] is not { } draw)
                continue;
            if (_receipts[i] is { } receipt)
                draw = draw with { Receipt = await receipt.ConfigureAwait(false) };
            if (_scorings[i] is { } scoring)
                draw = draw with { Scoring = await scoring.ConfigureAwait(false) };
            draws.Add(draw);
        }
        return new SolvedProblem(Problem, answer, right, _reason, _prompt.Length, draws, _tally, _promptReceipt is null ? null : await _promptReceipt.ConfigureAwait(false))
        {
            AnotherDraw = _decode is null ? null : new Joules(MeanTokens * _decode(_width, Context).Energy.Value / _width),
        };
    }

    private async Task<Session> PrefixAsync()
    {
        var session = await _root.Value.ConfigureAwait(false);
        if (_isDrawnOn)
            return session;
        var close = _meter?.Invoke(session);
        try
        {
            // Computing the prompt ends with its last token's logits; what they would choose is not wanted.
            await foreach (var _ in session.GenerateAsync(_prompt, new GenerationOptions { MaxTokens = 1 }, _caller).ConfigureAwait(false))
            {
            }
            _promptReceipt = close?.Invoke(1);
            if (_options.Budget is not null && _promptReceipt is not null)
                await _promptReceipt.ConfigureAwait(false);
            return session;
        }
        catch
        {
            _ = close?.Invoke(0);
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
        if (_root is { IsValueCreated: true, Value: { IsCompletedSuccessfully: true } session })
            session.Result.Dispose();
        _stop.Dispose();
    }
}
