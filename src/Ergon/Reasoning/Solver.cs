using System.Runtime.CompilerServices;
using Ergon.Inference;
using Ergon.Reasoning.Stopping;
using Ergon.Reasoning.Tasks;

namespace Ergon.Reasoning;

/// <summary>
/// Solves a task's problems by repeated sampling that a policy stops. A problem's draws share its prompt's cache; rows that a problem does
/// not need are filled with draws of the next. A policy sees draws in their order, so that what it decides depends on no timing.
/// </summary>
/// <param name="model">With a chat template and no other open session.</param>
/// <param name="task">Whose problems.</param>
/// <param name="policy">Looks after each draw.</param>
/// <param name="options">How.</param>
/// <param name="meter">Meters each draw, the prompt and each verification as a request of its own; <see langword="null"/> meters nothing.</param>
/// <param name="decode">What passes take, for <see cref="SolverOptions.ChoosesWave"/>; <see langword="null"/> where nobody knows, and then waves are as wide as they may be.</param>
internal sealed class Solver(ErgonModel model, IReasoningTask task, IStoppingPolicy policy, SolverOptions options, Metering? meter = null, Decoding? decode = null)
{
    // Draws side by side are forks of a session that has the prompt; one after another they use that session itself.
    private readonly int _rows = options.Wave == 1 ? model.MaxSequences : Math.Max(1, (int)((long)model.MaxSequences * options.Wave / (options.Wave + 1)));

    /// <summary>Solves all problems; they come as they end.</summary>
    /// <exception cref="ErgonException">An option is out of range, or the model failed.</exception>
    public async IAsyncEnumerable<SolvedProblem> RunAsync([EnumeratorCancellation] CancellationToken cancellation = default)
    {
        options.Validate();
        if (options.Budget is { } budget && meter is null)
            throw new ErgonException(FormattableString.Invariant($"budget-joules is {budget.Value}, but nothing is metered; leave out --no-receipt, or the budget."));
        if (options.Wave > 1 && model.MaxSequences < 2)
            throw new ErgonException($"wave is {options.Wave}, but the model has {model.MaxSequences} session; load it with 2 or more, or use a wave of 1.");
        using var all = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        var roots = options.Wave == 1 ? _rows : model.MaxSequences - _rows;
        List<ProblemUnderWay> open = [];
        Dictionary<Task<BookedDraw>, (ProblemUnderWay Work, int Index)> running = [];
        var next = 0;
        try
        {
            while (true)
            {
                while (running.Count < _rows)
                {
                    // The oldest first: its cache is given back soonest.
                    var work = open.Find(w => w.Wants);
                    if (work is null && next < task.Problems.Count && open.Count < roots)
                        open.Add(work = new ProblemUnderWay(model, task, policy, options, meter, decode, next++, all.Token));
                    if (work is null)
                        break;
                    var (index, isAlone) = work.Begin();
                    running.Add(Task.Run(() => work.DrawAsync(index, isAlone), CancellationToken.None), (work, index));
                }
                if (running.Count == 0)
                    yield break;
                var done = await Task.WhenAny(running.Keys).ConfigureAwait(false);
                running.Remove(done, out var at);
                at.Work.End(at.Index, await done.ConfigureAwait(false));
                if (at.Work.Ended)
                {
                    open.Remove(at.Work);
                    at.Work.Dispose();
                    yield return await at.Work.SolvedAsync(cancellation).ConfigureAwait(false);
                }
            }
        }
        finally
        {
            await all.CancelAsync().ConfigureAwait(false);
            await ((Task)Task.WhenAll(running.Keys)).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            open.ForEach(w => w.Dispose());
        }
    }
}
