namespace Ergon.Reasoning.Entropies;

/// <summary>Entropies of more than a distribution, and what merging states does to them.</summary>
internal static class StructuredEntropies
{
    public static EntropyFacts GuiasuFacts { get; } = new("Guiasu weighted", "-sum w p ln p", "w >= 0", "Guiasu 1971", Monotonicity.Conditional,
        "the merged state's weight is the mean of the two, weighted by their probabilities; the plain mean breaks it");

    public static EntropyFacts DengFacts { get; } = new("Deng", "-sum m ln(m / (2^c - 1))", "c >= 1, the elements of each set", "Deng 2016", Monotonicity.No,
        "a merged set has more elements");

    public static EntropyFacts MarkovRateFacts { get; } = new("first-order Markov rate", "-sum pi_i P_ij ln P_ij", "rows of P sum to 1", "Shannon 1948; lumping: Burke and Rosenblatt 1958", Monotonicity.No,
        "a lumped chain forgets what its next step depends on");

    /// <summary>Guiasu's weighted entropy: -sum w p ln p, in nats.</summary>
    /// <exception cref="ErgonException">Not a distribution, or a weight is negative or missing.</exception>
    public static double Guiasu(ReadOnlySpan<double> p, ReadOnlySpan<double> weights)
    {
        Entropy.Validate(p);
        Require(weights.Length == p.Length, $"There are {weights.Length} weights for {p.Length} probabilities; give one for each.");
        var sum = 0.0;
        for (var i = 0; i < p.Length; i++)
        {
            Require(weights[i] >= 0 && double.IsFinite(weights[i]), FormattableString.Invariant($"Weight {i} is {weights[i]}, but must be 0 or more."));
            sum -= p[i] > 0 ? weights[i] * p[i] * Math.Log(p[i]) : 0;
        }
        return sum;
    }

    /// <summary>Deng's entropy of masses on sets of possibilities, in nats: -sum m ln(m / (2^c - 1)).</summary>
    /// <param name="masses">Sum to 1.</param>
    /// <param name="cardinalities">How many elements each set has, 1 to 1023.</param>
    /// <exception cref="ErgonException">Not a distribution, or a cardinality is out of range or missing.</exception>
    public static double Deng(ReadOnlySpan<double> masses, ReadOnlySpan<int> cardinalities)
    {
        Entropy.Validate(masses);
        Require(cardinalities.Length == masses.Length, $"There are {cardinalities.Length} cardinalities for {masses.Length} masses; give one for each.");
        var sum = 0.0;
        for (var i = 0; i < masses.Length; i++)
        {
            Require(cardinalities[i] is >= 1 and <= 1023, $"Cardinality {i} is {cardinalities[i]}, but must be 1 to 1023.");
            sum -= masses[i] > 0 ? masses[i] * Math.Log(masses[i] / (Math.Pow(2, cardinalities[i]) - 1)) : 0;
        }
        return sum;
    }

    /// <summary>What a step of a chain adds, in nats, when only the present state is known: -sum pi_i P_ij ln P_ij.</summary>
    /// <param name="pairs">pi_i P_ij: how likely each pair of states follows one another, [n, n] row by row; sums to 1.</param>
    /// <param name="states">n.</param>
    /// <exception cref="ErgonException">Not a distribution over n x n pairs.</exception>
    public static double MarkovRate(ReadOnlySpan<double> pairs, int states)
    {
        Entropy.Validate(pairs);
        Require(pairs.Length == (long)states * states, $"There are {pairs.Length} pairs for {states} states, but must be {(long)states * states}.");
        var rate = 0.0;
        for (var i = 0; i < states; i++)
        {
            var row = pairs.Slice(i * states, states);
            var stationary = 0.0;
            foreach (var x in row)
                stationary += x;
            foreach (var x in row)
                rate -= x > 0 ? x * Math.Log(x / stationary) : 0;
        }
        return rate;
    }

    private static void Require(bool condition, string message)
    {
        if (!condition)
            throw new ErgonException(message);
    }
}
