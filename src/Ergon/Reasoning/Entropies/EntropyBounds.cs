namespace Ergon.Reasoning.Entropies;

/// <summary>What an aggregated distribution says about the full one, in nats.</summary>
internal static class EntropyBounds
{
    /// <summary>
    /// Bounds on the Shannon entropy of a distribution over <paramref name="vocabulary"/> tokens of which the k likeliest are known: H_k, the
    /// entropy with all others merged into one, and H_k + r ln(V-k), all others equally likely; r = 1 - sum of the k. From the chain rule.
    /// </summary>
    /// <param name="top">The k probabilities, of the full distribution; not renormalised.</param>
    /// <param name="vocabulary">V, at least k.</param>
    /// <exception cref="ErgonException">A probability is out of range, they sum to more than 1, or to less with no other token left.</exception>
    public static (double Lower, double Upper) TopK(ReadOnlySpan<double> top, int vocabulary)
    {
        if (vocabulary < top.Length)
            throw new ErgonException($"The vocabulary is {vocabulary}, but {top.Length} probabilities are given.");
        var rest = 1.0;
        foreach (var p in top)
            rest -= p;
        double[] merged = [.. top, Math.Max(0, rest)];
        var lower = EntropyCatalogue.Shannon.Of(merged);
        if (vocabulary == top.Length && rest > Entropy.SumTolerance)
            throw new ErgonException(FormattableString.Invariant($"The probabilities of all {vocabulary} tokens sum to {1 - rest}, but must sum to 1."));
        return (lower, vocabulary == top.Length ? lower : lower + (merged[^1] * Math.Log(vocabulary - top.Length)));
    }

    /// <summary>The Shannon entropy of meanings: strings of one meaning are merged, so it is at most that of the strings (semantic entropy, Kuhn et al. 2023).</summary>
    /// <param name="p">Of each string.</param>
    /// <param name="meanings">Each string's, any numbers.</param>
    /// <exception cref="ErgonException">Not a distribution, or a meaning is missing.</exception>
    public static double Semantic(ReadOnlySpan<double> p, ReadOnlySpan<int> meanings)
    {
        if (meanings.Length != p.Length)
            throw new ErgonException($"There are {meanings.Length} meanings for {p.Length} strings; give one for each.");
        Entropy.Validate(p);
        var merged = new Dictionary<int, double>();
        for (var i = 0; i < p.Length; i++)
            merged[meanings[i]] = merged.GetValueOrDefault(meanings[i]) + p[i];
        return EntropyCatalogue.Shannon.Of([.. merged.Values]);
    }

    /// <summary>
    /// A lower bound on how likely a drafted token is accepted, from the entropy of the drafter's distribution: max(0, 1 - sqrt(0.2 H)), H in
    /// nats (AdaEDL, arXiv 2410.18351; the 0.2 is theirs, fitted, so it is a bound for the models that they measured).
    /// </summary>
    /// <exception cref="ErgonException">H is negative or not a number.</exception>
    public static double Acceptance(double entropy) => entropy >= 0 ? Math.Max(0, 1 - Math.Sqrt(0.2 * entropy))
        : throw new ErgonException(FormattableString.Invariant($"The entropy is {entropy}, but must be 0 or more."));
}
