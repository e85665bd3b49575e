using System.Diagnostics;
using Ergon.Energy;
using Ergon.Inference;
using Ergon.Models.Templates;
using Ergon.Reasoning.Stopping;
using Ergon.Reasoning.Tasks;

namespace Ergon.Reasoning.Evaluation;

/// <summary>How far an evaluation is.</summary>
/// <param name="Problems">Done.</param>
/// <param name="Share">Of the work, 0 to 1; problems under way count by their draws.</param>
/// <param name="Found">How much of that the journal had, and took no time now.</param>
/// <param name="Draws">Made, those found in the journal included.</param>
/// <param name="Joules">Of all draws so far; <see langword="null"/> where one is unknown.</param>
internal readonly record struct EvaluationProgress(int Problems, double Share, double Found, long Draws, double? Joules);

/// <summary>
/// Draws answers for a task's problems and journals each as it ends: one problem a session, its draws one after another on the prompt's cache, as
/// many problems at a time as the model has sessions. A policy, where one is given, ends a problem as in <see cref="Solver"/> with waves of one;
/// where the task has a verifier, it judges every draw, which the figures need.
/// </summary>
/// <param name="model">With no open session. Without chat template it continues <see cref="IReasoningTask.PlainPrompt"/>.</param>
/// <param name="task">Whose first problems.</param>
/// <param name="settings">How.</param>
/// <param name="stopping">Looks after each draw; <see langword="null"/> to make them all.</param>
/// <param name="journal">Has the draws that need not be made again, and gets the others.</param>
/// <param name="meter">Meters each draw and each verification; <see langword="null"/> meters nothing. Of options that are scored it gets no session, and they come one problem after another.</param>
internal sealed class Evaluation(
    ErgonModel model, IReasoningTask task, EvaluationSettings settings, IStoppingPolicy? stopping, EvaluationJournal journal, Metering? meter)
{
    private readonly long _began = Stopwatch.GetTimestamp();
    private readonly Lock _lock = new();
    private readonly List<string> _skipped = [];
    private long _draws;
    private double _share;
    private double _found;
    private double? _joules = 0;
    private int _problems;

    /// <summary>Ids of the problems whose prompts leave no room for an answer; in the order in which they were met.</summary>
    public IReadOnlyList<string> Skipped => _skipped;

    // Time that this and earlier runs of the evaluation worked.
    private double Seconds => journal.Seconds + Stopwatch.GetElapsedTime(_began).TotalSeconds;

    /// <summary>Draws all that the journal lacks.</summary>
    /// <exception cref="ErgonException">A setting is out of range, or the model or a verifier failed.</exception>
    public async Task RunAsync(IProgress<EvaluationProgress>? progress = null, CancellationToken cancellation = default)
    {
        settings.Validate();
        var count = Math.Min(settings.Items, task.Problems.Count);
        var next = -1;
        using var failed = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        await Task.WhenAll(Enumerable.Range(0, settings.Scores ? 1 : Math.Min(model.MaxSequences, count)).Select(_ => Task.Run(WorkAsync, CancellationToken.None))).ConfigureAwait(false);

        async Task WorkAsync()
        {
            var written = Task.CompletedTask;
            try
            {
                int item;
                while ((item = Interlocked.Increment(ref next)) < count)
                {
                    failed.Token.ThrowIfCancellationRequested();
                    var prompt = settings.Scores ? Scored(task.Problems[item]) : Prompt(task.Problems[item]);
                    if (prompt.Length + (settings.Scores ? 0 : settings.MaxTokens ?? 1) > model.ContextLength)
                        Skip(task.Problems[item]);
                    else
                        await SolveAsync(item, prompt).ConfigureAwait(false);
                    Note(problems: 1, draws: 0, share: 0, null);
                }
                await written.ConfigureAwait(false);
            }
            catch
            {
                // One failure ends the evaluation: a figure over fewer problems would not be what was asked for. What was drawn to its end is kept.
                await failed.CancelAsync().ConfigureAwait(false);
                await written.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
                throw;
            }

            async Task SolveAsync(int item, int[] prompt)
            {
                // Its own, so that no draw depends on the problem before. Scoring opens what it needs.
                using var session = settings.Scores ? null : model.CreateSession();
                var (tally, isComputed) = (new Tally(settings.Samples), false);
                do
                {
                    var sample = tally.Draws.Count;
                    if (journal.Find(item, sample) is { } found)
                    {
                        tally.Add(found.Seen());
                        Note(0, 1, 1.0 / settings.Samples, found, isFound: true);
                        continue;
                    }
                    var (draw, drawn, check) = session is null ? await ScoreAsync(item, prompt, failed.Token).ConfigureAwait(false)
                        : await DrawAsync(session, item, sample, prompt, isComputed || sample == 0, failed.Token).ConfigureAwait(false);
                    isComputed = true;
                    tally.Add(draw.Seen());
                    // The meters may be behind: meanwhile the next draw begins, and lines stay in their order.
                    var before = written;
                    written = WriteAsync(draw, drawn, check, before);
                    await before.ConfigureAwait(false);
                }
                while (tally.Left > 0 && stopping?.Stop(tally) is null);
                Note(0, 0, tally.Left / (double)settings.Samples, null);
            }
        }

        async Task WriteAsync(EvaluatedDraw draw, Task<Receipt>? drawn, Task<Receipt>? check, Task before)
        {
            var whole = drawn is null ? draw : draw with { Energy = DrawEnergy.Of(await drawn.ConfigureAwait(false), check is null ? null : await check.ConfigureAwait(false)) };
            await before.ConfigureAwait(false);
            journal.Add(whole with { At = Seconds });
            Note(0, 1, 1.0 / settings.Samples, whole);
        }

        void Skip(Problem problem)
        {
            lock (_lock)
                _skipped.Add(problem.Id);
            Note(0, 0, 1, null, isFound: true);
        }

        void Note(int problems, int draws, double share, EvaluatedDraw? draw, bool isFound = false)
        {
            lock (_lock)
            {
                (_problems, _draws, _share, _found) = (_problems + problems, _draws + draws, _share + (share / count), _found + (isFound ? share / count : 0));
                if (draw is not null)
                    _joules += draw.Energy?.Joules;
                progress?.Report(new EvaluationProgress(_problems, Math.Min(1, _share), _found, _draws, _joules));
            }
        }
    }

    private async Task<(EvaluatedDraw Draw, Task<Receipt>? Drawn, Task<Receipt>? Check)> DrawAsync(
        Session session, int item, int sample, int[] prompt, bool isComputed, CancellationToken cancellation)
    {
        var problem = task.Problems[item];
        var text = new DrawnText(task, problem, settings.AbandonsFalse);
        int count;
        var generation = new GenerationOptions
        {
            MaxTokens = settings.MaxTokens,
            StopSequences = model.ChatTemplate is null ? task.PlainEnds : [],
            LogProbabilities = true,
            Sampling = SamplingOptions.Whole(settings.Temperature, SplitMix64.DrawSeed(settings.Seed, item, sample)),
        };
        var began = Stopwatch.GetTimestamp();
        var close = meter?.Invoke(session);
        Task<Receipt>? drawn;
        try
        {
            // The first draw computed the prompt in one go, and each after it the last token alone, which rounds otherwise: so does one after an interruption.
            if (!isComputed)
            {
                await foreach (var _ in session.GenerateAsync(prompt, new GenerationOptions { MaxTokens = 1 }, cancellation).ConfigureAwait(false))
                {
                }
            }
            await text.DrawAsync(session, prompt, generation, cancellation).ConfigureAwait(false);
        }
        finally
        {
            count = session.Statistics?.CompletionTokens ?? text.Count;
            drawn = close?.Invoke(count);
        }
        var seconds = Stopwatch.GetElapsedTime(began).TotalSeconds;
        var answer = text.ToString();
        if (text.IsAbandoned)
            return (Judged(item, sample, answer, null, null) with { Evidence = 0, FalseAt = text.FalseAt, PromptTokens = prompt.Length, Tokens = count, Seconds = seconds }, drawn, null);
        close = task.HasVerifier ? meter?.Invoke(null) : null;
        var verified = await task.VerifyAsync(problem, answer, cancellation).ConfigureAwait(false);
        var draw = Judged(item, sample, answer, task.Extract(problem, answer), verified) with
        {
            Evidence = task.Evidence(problem, answer),
            LogProbability = count > 0 ? session.Statistics?.LogProbability / count : null,
            FalseAt = text.FalseAt,
            PromptTokens = prompt.Length,
            Tokens = count,
            Seconds = seconds,
        };
        return (draw, drawn, close?.Invoke(0));
    }

    // All of it is prompt: nothing is generated.
    private async Task<(EvaluatedDraw Draw, Task<Receipt>? Drawn, Task<Receipt>? Check)> ScoreAsync(int item, int[] longest, CancellationToken cancellation)
    {
        var problem = task.Problems[item];
        var began = Stopwatch.GetTimestamp();
        var close = meter?.Invoke(null);
        var (answer, shares) = await MultipleChoice.ChooseAsync(problem, model, task.Examples, cancellation).ConfigureAwait(false);
        var draw = Judged(item, 0, problem.Options[answer[0] - 'A'], answer, null) with { Share = shares[answer[0] - 'A'], PromptTokens = longest.Length, Seconds = Stopwatch.GetElapsedTime(began).TotalSeconds };
        return (draw, close?.Invoke(0), null);
    }

    private EvaluatedDraw Judged(int item, int sample, string text, string? answer, bool? verified) => new()
    {
        Item = item,
        Sample = sample,
        Id = task.Problems[item].Id,
        Text = text,
        Answer = answer,
        Verified = verified,
        // As IReasoningTask.IsRightAsync, without asking the verifier twice.
        Right = task.Problems[item].Gold is { } gold ? answer == gold : verified == true,
    };

    private int[] Prompt(Problem problem) => model.ChatTemplate is null
        ? model.Tokenizer.Tokenize(task.PlainPrompt(problem), addSpecial: true, parseSpecial: false)
        : model.Tokenize(new ChatTemplateInput
        {
            Messages = [.. task.Examples.SelectMany(e => new[] { new ChatTemplateMessage("user", e.Prompt), new ChatTemplateMessage("assistant", FewShot.Answer(e)) }), new ChatTemplateMessage("user", problem.Prompt)],
        });

    // The longest of what is scored: the others share its beginning.
    private int[] Scored(Problem problem)
    {
        var (prompt, texts) = MultipleChoice.Scored(problem, task.Examples);
        return texts.Select(t => model.Tokenizer.Tokenize(prompt + t, addSpecial: true, parseSpecial: false)).MaxBy(t => t.Length)!;
    }
}
