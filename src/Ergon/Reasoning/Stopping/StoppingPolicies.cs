using Ergon.Reasoning.Cascades;

namespace Ergon.Reasoning.Stopping;

/// <summary>The policies by the names that <c>--policy</c> takes.</summary>
internal static class StoppingPolicies
{
    private static readonly (string Name, Func<double, int?, Cascade?, IStoppingPolicy> Make)[] s_all =
    [
        ("cascade", (_, _, cascade) => cascade ?? new Cascade(CascadeState.OfWords())),
        ("majority", (_, _, _) => new FixedBudget()),
        ("first-verified", (_, _, _) => new FirstVerified()),
        ("first-clean", (_, _, _) => new FirstVerified(acceptEvidence: true)),
        ("best-of-n", (_, _, _) => new BestOfN()),
        ("adaptive-consistency", (delta, _, _) => new AdaptiveConsistency(1 - delta)),
        ("esc", (_, _, _) => new EarlyStoppingSelfConsistency()),
        ("settled", (_, _, _) => new Settled()),
        ("prediction", (delta, options, _) => new Prediction(delta, options)),
        ("certificate", (delta, options, _) => new Certificate(delta, options)),
    ];

    /// <summary>The names, the default first.</summary>
    public static IReadOnlyList<string> Names { get; } = [.. s_all.Select(p => p.Name)];

    /// <summary>Whether a policy's draws end with their first false step: where evidence decides, such a draw is none; where votes count, it has its vote.</summary>
    public static bool AbandonsFalse(string name) => name is "cascade" or "first-clean";

    /// <summary>Makes a policy.</summary>
    /// <param name="name">One of <see cref="Names"/>.</param>
    /// <param name="delta">How often a certificate may be wrong, a prediction change or a leader be behind; above 0 and below 1. Default 0.05.</param>
    /// <param name="options">How many answers there are to choose from; <see langword="null"/> for an open set.</param>
    /// <param name="cascade">What stands for the cascade; <see langword="null"/> for one with the state that comes with Ergon.</param>
    /// <exception cref="ErgonException">There is no such policy, or a value is out of its range.</exception>
    public static IStoppingPolicy Named(string name, double delta = 0.05, int? options = null, Cascade? cascade = null)
    {
        if (delta is not (> 0 and < 1))
            throw new ErgonException(FormattableString.Invariant($"delta is {delta}, but must be above 0 and below 1."));
        return Array.Find(s_all, p => p.Name == name).Make is { } make ? make(delta, options, cascade)
            : throw new ErgonException($"policy is '{name}', but must be one of {string.Join(", ", Names)}.");
    }
}
