using Ergon.Reasoning.Stopping;

namespace Ergon.Cli.Evaluation;

/// <summary>A policy under the name that <c>--policy</c> has for it.</summary>
/// <param name="Name">One of <see cref="StoppingPolicies.Names"/>.</param>
/// <param name="Policy">What it does.</param>
internal sealed record NamedPolicy(string Name, IStoppingPolicy Policy)
{
    private const string All = "all";
    private const string NeedsVerifier = "first-verified";

    /// <summary>Options that are chosen by their likelihood: the one there is.</summary>
    public static NamedPolicy Likelihood { get; } = new("likelihood", new FixedBudget());

    /// <summary>Whether it never stops before the budget.</summary>
    public bool DrawsAll => Policy is FixedBudget or BestOfN;

    /// <summary>Whether a draw ends for it with its first false step, which is no evidence.</summary>
    public bool AbandonsFalse => StoppingPolicies.AbandonsFalse(Name);

    /// <summary>Makes the policies of a list.</summary>
    /// <param name="list">Names parted by commas, or <c>all</c>.</param>
    /// <param name="delta">As for <see cref="StoppingPolicies.Named"/>.</param>
    /// <param name="options">K, where answers are one of so many.</param>
    /// <param name="hasVerifier">Whether the task has a true verifier; without one <c>all</c> leaves out what needs it.</param>
    /// <exception cref="ErgonException">A name is unknown, or needs a verifier where there is none.</exception>
    public static IReadOnlyList<NamedPolicy> Parse(string list, double delta, int? options, bool hasVerifier)
    {
        string[] names = list == All ? [.. StoppingPolicies.Names.Where(n => hasVerifier || n != NeedsVerifier)] : [.. list.Split(',', StringSplitOptions.TrimEntries).Distinct()];
        foreach (var name in names)
        {
            if (!StoppingPolicies.Names.Contains(name))
                throw new ErgonException($"--policy is '{list}', but must be '{All}' or a list of {string.Join(", ", StoppingPolicies.Names)}.");
            if (name == NeedsVerifier && !hasVerifier)
                throw new ErgonException($"--policy has '{NeedsVerifier}', but this task has no verifier; give one with --task own --verifier, or use first-clean.");
        }
        // The vote is what the others are compared with: where it is among all, it comes first.
        return [.. names.Select(n => new NamedPolicy(n, StoppingPolicies.Named(n, delta, options))).OrderByDescending(p => list == All && p.Policy is FixedBudget)];
    }
}
