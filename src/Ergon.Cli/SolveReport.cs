using System.Globalization;
using Ergon.Energy;
using Ergon.Inference;
using Ergon.Reasoning;
using Ergon.Reasoning.Cascades;
using Ergon.Reasoning.Stopping;
using Ergon.Reasoning.Tasks;

namespace Ergon.Cli;

/// <summary>
/// What <c>ergon solve</c> found out, and what that took; the object that <c>--json</c> prints. Confidence is how likely the answer is right, by the
/// selector that ConfidenceBy names; Certificate what is certain about the vote, null where nothing is; Reason why drawing stopped; Escalation why no
/// further model was asked, null without one; Verifier what a verifier model said, null without one; FullBudgetJoules what the whole budget takes with the first model, FullBudgetBy how that is known: measured where it
/// was drawn, otherwise an estimate, what the first draw took and by which draw the others are thought of; EnergyReason why there is no figure of energy, or no measured one.
/// </summary>
internal sealed record SolveReport(
    string Task, string? Answer, string? Text, double Confidence, string ConfidenceBy, SolveCertificate? Certificate, string Reason, string? Escalation, string Policy,
    IReadOnlyList<SolveModel> Models, int Draws, int Samples, int PromptTokens, long CompletionTokens, double? Joules, double? FullBudgetJoules, string? FullBudgetBy, string? EnergySource, string? EnergyReason,
    double Seconds, IReadOnlyList<SolveStage> Stages, SolveVerifier? Verifier)
{
    public static SolveReport Of(
        EscalatedProblem solved, Rung[] rungs, string task, string policy, double delta, int? options, SolverOptions solving, CascadeState state, TimeSpan elapsed)
    {
        var (final, first) = (solved.Final, solved.Rungs[0]);
        var certificate = final.Answer is not null && final.Answer == final.Tally.Winner && new Certificate(delta, options).Stop(final.Tally) is { } certified
            ? new SolveCertificate(delta, final.Tally.Lead, final.Tally.RunnerUp, options, certified) : null;
        Units.Joules? all = solved.Rungs.All(r => r.Energy is not null) ? solved.Rungs.Aggregate(Units.Joules.Zero, (sum, r) => sum + r.Energy!.Value) : null;
        var (full, by) = FullBudget(first, solving.Samples);
        Receipt[] taken = [.. solved.Rungs.SelectMany(r => r.Receipts)];
        return new SolveReport(
            task, final.Answer, final.Draws.FirstOrDefault(d => !d.Cancelled && d.Draw.Answer == final.Answer)?.Text, Math.Round(solved.Confidence, 6), $"fitted on {state.Origin}", certificate,
            (final.Reason ?? "the budget of draws is spent") + (solving.Verify && !final.Tally.Draws.Any(d => d.Verified == true) ? "; the verifier passed none" : ""), rungs.Length == 1 ? null : solved.Why, policy, [.. rungs.Zip(solved.Rungs, (rung, r) => new SolveModel(rung.Name, r.Draws.Count, Receipts.Rounded(r.Energy?.Value)))],
            solved.Rungs.Sum(r => r.Draws.Count), solving.Samples, first.PromptTokens, solved.Rungs.Sum(r => r.Tokens), Receipts.Rounded(all?.Value), Receipts.Rounded(full), by,
            string.Join('+', taken.Select(r => r.Source).OfType<string>().Distinct()) is { Length: > 0 } source ? source : null,
            taken.Length == 0 ? "nothing was metered" : taken.Select(r => r.Reason).FirstOrDefault(r => r is not null), Math.Round(elapsed.TotalSeconds, 3),
            [.. solved.Stages.Select(s => new SolveStage(s.Stage.ToString().ToLowerInvariant(), s.Count, Receipts.Rounded(s.Energy?.Value), s.Reason))],
            solving.Verifier is { } verifier ? new SolveVerifier(verifier.Name, solved.Rungs.Sum(r => r.Draws.Count(d => d.Asked)), Receipts.Rounded(final.Tally.Draws.FirstOrDefault(d => d.Answer == final.Answer && d.Score is not null).Score), verifier.Failures, verifier.LastFailure) : null);
    }

    /// <summary>Of a choice by log-likelihood, which draws nothing.</summary>
    public static SolveReport OfChoice(Problem problem, string answer, IReadOnlyList<double> shares, Receipt? receipt, ErgonModel model, TimeSpan elapsed) => new(
        "choice", answer, problem.Options[answer[0] - 'A'], Math.Round(shares.Max(), 6), "shares of the options' likelihoods a token, not calibrated", null,
        string.Join(", ", shares.Select((s, i) => string.Create(CultureInfo.InvariantCulture, $"{(char)('A' + i)} {s:F3}"))), null, "likelihood",
        [new SolveModel(Path.GetFileNameWithoutExtension(model.Description.File.Path), 0, Receipts.Rounded(receipt?.Energy?.Value))], 0, 0, 0, 0, Receipts.Rounded(receipt?.Energy?.Value), null, null, receipt?.Source, receipt is null ? "nothing was metered" : receipt.Reason,
        Math.Round(elapsed.TotalSeconds, 3), [], null);

    // The first draw has the prompt and what begins but once: what another takes is seen best in others.
    internal static (double? Joules, string? By) FullBudget(SolvedProblem solved, int samples)
    {
        if (solved.Energy is null || solved.Draws is not [{ Energy: { } one } first, ..])
            return (null, null);
        // Draws that were cancelled say little of what a whole one takes.
        BookedDraw[] others = [.. solved.Draws.Skip(1).Where(d => d is { Cancelled: false, Energy: not null })];
        var once = (solved.Prompt?.Energy?.Value ?? 0) + one.Value;
        if (others.Length == samples - 1)
            return (once + others.Sum(d => d.Energy!.Value.Value), Drawn);
        return others.Length > 0 ? (once + ((samples - 1) * others.Average(d => d.Energy!.Value.Value)), "estimate, by the draws after the first")
            : solved.AnotherDraw is { } another ? (once + ((samples - 1) * another.Value), "estimate, by the cost model's draw")
            : (once + ((samples - 1) * (first.Receipt?.Decode ?? one).Value), "estimate, by what decoding the first draw took");
    }

    private const string Drawn = "measured, all of it was drawn";

    /// <summary>The answer on the first line, then why and at what price.</summary>
    public void Print(TextWriter output)
    {
        output.WriteLine(Task == "choice" && Draws == 0 ? $"{Answer}. {Text}" : Answer);
        output.WriteLine(string.Create(CultureInfo.InvariantCulture, $"confidence {Confidence:F3} ({ConfidenceBy})"));
        if (Draws == 0)
        {
            output.WriteLine($"shares of the options: {Reason}");
            output.WriteLine($"no draws · {Energy(Joules)}");
            return;
        }
        output.WriteLine($"certificate: {(Certificate is { } c ? c.Text + (c.Options is null ? " (open answers: checked by simulation)" : "") : "none")}");
        output.WriteLine($"{string.Join(", then ", Models.Select(m => $"{m.Name}: {m.Draws} of {Amount.Count(Samples, "draw")}"))}: {Reason}");
        if (Verifier is { } v)
            output.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{v.Name}: asked about {Amount.Count(v.Asked, "draw")}{(v.Score is { } score ? $", scores the answer {score:F3}" : "")}{(v.Failures > 0 ? $", no verdict on {v.Failures} ({v.LastFailure})" : "")}"));
        if (Escalation is { Length: > 0 })
            output.WriteLine($"no further model: {Escalation}");
        var share = Joules is { } spent && FullBudgetJoules is { } full and > 0 ? string.Create(CultureInfo.InvariantCulture, $" of the {Receipts.Figure(full)} J that {Samples} draws of {Models[0].Name} {(FullBudgetBy == Drawn ? "took" : "would take")} ({100 * spent / full:F0} %{(FullBudgetBy == Drawn ? "" : $", {FullBudgetBy}")})") : "";
        output.WriteLine($"{Amount.Count(CompletionTokens, "token")} · {Energy(Joules, share)}");
        if (Joules is not null)
            output.WriteLine(string.Join(", ", Stages.Select(s => $"{s.Stage} {(s.Count == 0 && s.Stage != "form" ? "not run" : s.Joules is { } j ? Receipts.Figure(j) + " J" : s.Reason)}")));
    }

    private string Energy(double? joules, string share = "") => joules is null ? $"energy unknown: {EnergyReason}" : $"{Receipts.Figure(joules.Value)} J{share} · {EnergySource}{(EnergyReason is null ? "" : $" ({EnergyReason})")}";
}

/// <summary>The leader of the vote is the model's likeliest answer, but for an error of at most <paramref name="Delta"/>; without <paramref name="Options"/> that was checked by simulation, not proven.</summary>
internal sealed record SolveCertificate(double Delta, int Votes, int RunnerUp, int? Options, string Text);

/// <summary>A verifier model: how many draws it was asked about, what it thinks of the answer, 0 to 1, and how many it gave no score for, why of the last.</summary>
internal sealed record SolveVerifier(string Name, int Asked, double? Score, int Failures, string? LastFailure);

internal sealed record SolveModel(string Name, int Draws, double? Joules);

internal sealed record SolveStage(string Stage, int Count, double? Joules, string? Reason);
