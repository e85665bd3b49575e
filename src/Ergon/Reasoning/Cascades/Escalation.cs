using System.Runtime.CompilerServices;
using Ergon.Inference;
using Ergon.Reasoning.Stopping;
using Ergon.Reasoning.Tasks;

namespace Ergon.Reasoning.Cascades;

/// <summary>A model to escalate to, opened when it is needed.</summary>
/// <param name="Name">For people.</param>
/// <param name="Bytes">Of its file: what its draws are thought to cost against another's before that is known.</param>
/// <param name="Open">Loads it.</param>
internal sealed record Rung(string Name, long Bytes, Func<OpenRung> Open);

/// <summary>A loaded model, its metering and what its passes take; <paramref name="Owned"/> is disposed when no problem needs it any more.</summary>
internal sealed record OpenRung(ErgonModel Model, Metering? Meter, IReadOnlyList<IDisposable> Owned, Decoding? Decode = null) : IDisposable
{
    public void Dispose()
    {
        foreach (var owned in Owned)
            owned.Dispose();
    }
}

/// <summary>How a problem ended that may have been passed on.</summary>
/// <param name="Rungs">What each model made of it, the smallest first; those after the first are its escalation.</param>
/// <param name="Confidence">How likely the answer is right.</param>
/// <param name="Why">Why it was not passed on, or no further.</param>
internal sealed record EscalatedProblem(IReadOnlyList<SolvedProblem> Rungs, double Confidence, string? Why)
{
    /// <summary>The last model's word, unless it had no answer.</summary>
    public SolvedProblem Final => Rungs.LastOrDefault(r => r.Answer is not null) ?? Rungs[^1];

    /// <summary>What each stage took.</summary>
    public IReadOnlyList<StageUse> Stages =>
        [.. Rungs[0].Stages, .. Rungs.Skip(1).Select(r => new StageUse(Stage.Escalation, r.Draws.Count, r.Energy, r.Energy is null ? r.Receipts.FirstOrDefault(x => x.Energy is null)?.Reason ?? "nothing was metered" : null))];
}

/// <summary>
/// Stage 4 of the cascade: problems that one model is not sure of go to the next larger one, where the accuracy that this is expected to gain is
/// worth more than its joules, as soon as it is worth more for a joule than draws of the smaller. An answer is worth the full budget of the largest model. Before anything is learned the larger model is thought to put
/// right half of what is wrong, for a quarter of its own budget. One model is loaded at a time. Ergon's own definition.
/// </summary>
/// <param name="rungs">The models, the smallest first.</param>
/// <param name="task">Whose problems.</param>
/// <param name="policy">Stops the draws of a model, given the cascade over it: that itself, or another.</param>
/// <param name="state">Says how likely answers are right; learns what escalation gains where right answers are known.</param>
/// <param name="options">As for <see cref="Solver"/>; the budget of joules is for all models together, checked before each.</param>
/// <param name="worth">What a right answer is worth, in full budgets of the largest model.</param>
internal sealed class Escalation(IReadOnlyList<Rung> rungs, IReasoningTask task, Func<Cascade, IStoppingPolicy> policy, CascadeState state, SolverOptions options, double worth = Cascade.DefaultWorth)
{
    private const double PutRight = 0.5, ShareOfBudget = 0.25;

    private readonly CascadeState _state = options.Verifier is { } verifier ? state.For(verifier) : state;

    /// <summary>Solves all problems; they come as they end.</summary>
    public async IAsyncEnumerable<EscalatedProblem> RunAsync([EnumeratorCancellation] CancellationToken cancellation = default)
    {
        Dictionary<string, List<SolvedProblem>> history = [];
        var left = task.Problems;
        for (var i = 0; i < rungs.Count && left.Count > 0; i++)
        {
            using var rung = rungs[i].Open();
            var at = i;
            var cascade = new Cascade(_state, worth * Ratio(i, rungs.Count - 1), rungs[i].Name, i == rungs.Count - 1 ? null : (confidence, draws) => Next(at, confidence, draws), options.Verifier?.Name);
            List<Problem> next = [];
            await foreach (var solved in new Solver(rung.Model, new Chosen(task, left), policy(cascade), Remaining(history, i), rung.Meter, rung.Decode).RunAsync(cancellation).ConfigureAwait(false))
            {
                if (!history.TryGetValue(solved.Problem.Id, out var before))
                    history[solved.Problem.Id] = before = [];
                if (before.Count > 0)
                    Learn(before[^1], solved, i);
                cascade.Learn(solved);
                before.Add(solved);
                if (WhyNot(solved, before, i) is { } why)
                    yield return new EscalatedProblem(before, Confidence(before), why);
                else
                    next.Add(solved.Problem);
            }
            left = next;
        }
    }

    private SolverOptions Remaining(Dictionary<string, List<SolvedProblem>> history, int rung) => rung == 0 || options.Budget is not { } budget ? options
        : options with { Budget = budget - history.Values.Max(h => h.Aggregate(Units.Joules.Zero, (sum, s) => sum + s.Energy!.Value)) };

    // Why a problem is not passed on; null where it is.
    private string? WhyNot(SolvedProblem solved, List<SolvedProblem> before, int rung)
    {
        if (rung == rungs.Count - 1)
            return rungs.Count == 1 ? "" : $"{rungs[rung].Name} is the last model";
        if (options.Budget is { } budget && before.Sum(s => s.Energy!.Value.Value) >= budget.Value)
            return FormattableString.Invariant($"the budget of {budget} is spent");
        var confidence = Confidence(before);
        var (gain, cost) = Next(rung, confidence, solved.Tally.Draws.Count);
        return gain * worth * Ratio(rung, rungs.Count - 1) > cost ? null
            : FormattableString.Invariant($"{rungs[rung + 1].Name} would gain {Math.Max(0, gain) * 100:F1} points for {cost / Ratio(rung, rungs.Count - 1) * 100:F0} % of a full budget");
    }

    private (double Gain, double Cost) Next(int rung, double confidence, int draws) =>
        _state.Gains.Expect(Stage.Escalation, confidence, draws, PutRight * (1 - confidence), ShareOfBudget * Ratio(rung, rung + 1), rungs[rung].Name);

    private double Confidence(List<SolvedProblem> rungs)
    {
        var last = rungs.FindLast(r => r.Answer is not null);
        return last is null ? 0 : _state.Selector.Confidence(last.Tally, last.Answer);
    }

    private void Learn(SolvedProblem before, SolvedProblem after, int rung)
    {
        if (after.Problem.Gold is null || before.Draws.Count == 0)
            return;
        var cost = before.Energy is { Value: > 0 } b && after.Energy is { } a ? a / (b / before.Draws.Count * options.Samples)
            : after.Tokens * Ratio(rung - 1, rung) / Math.Max(1, before.Tokens / (double)before.Draws.Count * options.Samples);
        _state.Gains.Learn(Stage.Escalation, _state.Selector.Confidence(before.Tally, before.Answer), before.Tally.Draws.Count, (after.Right ? 1 : 0) - (before.Right ? 1 : 0), cost, rungs[rung - 1].Name);
    }

    private double Ratio(int from, int to) => rungs[to].Bytes / (double)rungs[from].Bytes;

    // Some of a task's problems.
    private sealed class Chosen(IReasoningTask task, IReadOnlyList<Problem> problems) : TaskView(task, problems);
}
