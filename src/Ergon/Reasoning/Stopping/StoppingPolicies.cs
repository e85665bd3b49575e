using Ergon.Reasoning.Cascades;

namespace Ergon.Reasoning.Stopping;

/// <summary>The policies by the names that <c>--policy</c> takes.</summary>
internal static class StoppingPolicies
{
    private static readonly (string Name, Func<double, int?, CascadeState, double, IStoppingPolicy> Make)[] s_all =
    [
        ("cascade", (_, _, state, worth) => new Cascade(state, worth)),
        ("majority", (_, _, _, _) => new FixedBudget()),
        ("first-verified", (_, _, _, _) => new FirstVerified()),
        ("first-clean", (_, _, _, _) => new FirstVerified(acceptEvidence: true)),
        ("best-of-n", (_, _, _, _) => new BestOfN()),
        ("adaptive-consistency", (delta, _, _, _) => new AdaptiveConsistency(1 - delta)),
        ("esc", (_, _, _, _) => new EarlyStoppingSelfConsistency()),
        ("settled", (_, _, _, _) => new Settled()),
        ("prediction", (delta, options, _, _) => new Prediction(delta, options)),
        ("certificate", (delta, options, _, _) => new Certificate(delta, options)),
    ];

    /// <summary>The names, the default first.</summary>
    public static IReadOnlyList<string> Names { get; } = [.. s_all.Select(p => p.Name)];

    /// <summary>Makes a policy.</summary>
    /// <param name="name">One of <see cref="Names"/>.</param>
    /// <param name="delta">How often a certificate may be wrong, a prediction change or a leader be behind; above 0 and below 1. Default 0.05.</param>
    /// <param name="options">How many answers there are to choose from; <see langword="null"/> for an open set.</param>
    /// <param name="state">What the cascade has learned; <see langword="null"/> for what comes with Ergon.</param>
    /// <param name="worth">As for <see cref="Cascade"/>.</param>
    /// <exception cref="ErgonException">There is no such policy, or a value is out of its range.</exception>
    public static IStoppingPolicy Named(string name, double delta = 0.05, int? options = null, CascadeState? state = null, double worth = Cascade.DefaultWorth)
    {
        if (delta is not (> 0 and < 1))
            throw new ErgonException(FormattableString.Invariant($"delta is {delta}, but must be above 0 and below 1."));
        return Array.Find(s_all, p => p.Name == name).Make is { } make ? make(delta, options, state ?? CascadeState.OfWords(), worth)
            : throw new ErgonException($"policy is '{name}', but must be one of {string.Join(", ", Names)}.");
    }
}
