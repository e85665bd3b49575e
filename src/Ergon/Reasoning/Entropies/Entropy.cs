namespace Ergon.Reasoning.Entropies;

/// <summary>Whether merging states never increases an entropy (arXiv 2205.08336).</summary>
internal enum Monotonicity
{
    /// <summary>Proven for every parameter in range.</summary>
    Proven,

    /// <summary>For some parameters only; a counterexample is known for others.</summary>
    Conditional,

    /// <summary>A counterexample is known.</summary>
    No,
}

/// <summary>What is known of an entropy. Logarithms are natural, so a Shannon entropy is in nats.</summary>
/// <param name="Name">Whose, or what it is called.</param>
/// <param name="Formula">In p, the probabilities, and the parameters' names.</param>
/// <param name="Range">Of the parameters; empty without any.</param>
/// <param name="Reference">Author and year.</param>
/// <param name="Monotone">Under merging of states.</param>
/// <param name="Condition">Where it is monotone, or why it is not; <see langword="null"/> where it always is.</param>
internal sealed record EntropyFacts(string Name, string Formula, string Range, string Reference, Monotonicity Monotone, string? Condition = null);

/// <summary>An entropy of a probability distribution.</summary>
/// <param name="facts">What is known of it.</param>
/// <param name="value">Of a valid distribution and parameters in range.</param>
/// <param name="parameters">How many there are.</param>
/// <param name="inRange">Whether parameters are in range; all finite numbers where absent.</param>
/// <param name="monotone">Whether it is monotone for parameters in range; as the facts say where absent.</param>
internal sealed class Entropy(
    EntropyFacts facts, Func<ReadOnlySpan<double>, ReadOnlySpan<double>, double> value, int parameters = 0,
    Func<ReadOnlySpan<double>, bool>? inRange = null, Func<ReadOnlySpan<double>, bool>? monotone = null)
{
    /// <summary>How far from 1 the probabilities may sum: what a softmax in 32-bit arithmetic over 10^5 tokens can miss.</summary>
    public const double SumTolerance = 1e-3;

    public EntropyFacts Facts => facts;

    public int Parameters => parameters;

    /// <summary>The entropy of <paramref name="p"/>, whose zeros count for nothing.</summary>
    /// <exception cref="ErgonException">The probabilities are not a distribution, or a parameter is out of range.</exception>
    public double Of(ReadOnlySpan<double> p, params ReadOnlySpan<double> arguments)
    {
        Validate(p);
        if (!Accepts(arguments))
            throw new ErgonException(FormattableString.Invariant($"The parameters of the {facts.Name} entropy are ({string.Join(", ", arguments.ToArray())}), but must be {(parameters == 0 ? "absent" : facts.Range)}."));
        return value(p, arguments);
    }

    /// <summary>Whether the parameters are as many as they must be, and in range.</summary>
    public bool Accepts(ReadOnlySpan<double> arguments)
    {
        foreach (var a in arguments)
        {
            if (!double.IsFinite(a))
                return false;
        }
        return arguments.Length == parameters && (inRange is null || inRange(arguments));
    }

    /// <summary>Whether merging states never increases it at these parameters.</summary>
    public bool IsMonotoneAt(ReadOnlySpan<double> arguments) => facts.Monotone switch
    {
        Monotonicity.Proven => true,
        Monotonicity.Conditional => monotone!(arguments),
        _ => false,
    };

    /// <summary>Throws unless the probabilities are 0 to 1 and sum to 1.</summary>
    /// <exception cref="ErgonException">Names the first that is out of range, or the sum.</exception>
    public static void Validate(ReadOnlySpan<double> p)
    {
        var sum = 0.0;
        for (var i = 0; i < p.Length; i++)
        {
            if (!(p[i] is >= 0 and <= 1 + SumTolerance))
                throw new ErgonException(FormattableString.Invariant($"Probability {i} is {p[i]}, but must be 0 to 1."));
            sum += p[i];
        }
        if (Math.Abs(sum - 1) > SumTolerance)
            throw new ErgonException(FormattableString.Invariant($"The {p.Length} probabilities sum to {sum}, but must sum to 1; divide them by their sum."));
    }
}
