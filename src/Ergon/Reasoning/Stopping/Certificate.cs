namespace Ergon.Reasoning.Stopping;

/// <summary>
/// Stops when it is certain, at any time and however often one looks, that the leader is the model's likeliest answer. Against a rival with b
/// votes the leader's a are the evidence E = 2^(a+b+1) * integral from 1/2 to 1 of x^a (1-x)^b dx: the odds that a fair coin loses to one whose
/// bias is uniform above a half, a supermartingale while the rival is at least as likely, so that by Ville's inequality it ever reaches 1/d with
/// probability at most d. Certified where the least E over all rivals is (K-1)/delta for K options. Ergon's own definition.
/// </summary>
/// <param name="delta">How often a certificate may be wrong, above 0 and below 1.</param>
/// <param name="options">K; <see langword="null"/> for an open set of answers, certified at 1/delta, which simulation supports and no proof.</param>
internal sealed class Certificate(double delta = 0.05, int? options = null) : IStoppingPolicy
{
    private readonly double _needed = Math.Log(Threshold(delta, options));

    public string Name => "certificate";

    // E falls with b, so the least is the runner-up's; while an option is unseen, the runner-up may be that, with 0 votes.
    public string? Stop(Tally tally) => tally.Leader >= 0 && LogEvidence(tally.Lead, tally.RunnerUp) >= _needed
        ? FormattableString.Invariant($"certified at {delta}: {tally.Lead} votes to {tally.RunnerUp}") : null;

    /// <summary>ln E of <paramref name="a"/> votes against <paramref name="b"/>; exact to rounding, for any numbers of votes.</summary>
    public static double LogEvidence(int a, int b)
    {
        // E = sum over j > b of a! b! / (j! (a+b+1-j)!), whose first term is 1/(b+1) and whose terms grow by (n+1-j)/(j+1).
        ArgumentOutOfRangeException.ThrowIfNegative(a);
        ArgumentOutOfRangeException.ThrowIfNegative(b);
        double term = 1.0 / (b + 1), sum = 0, scale = 0;
        for (var j = b + 1; j <= a + b + 1; j++)
        {
            sum += term;
            term *= (a + b + 1.0 - j) / (j + 1.0);
            if (sum > 1e200)
                (sum, term, scale) = (sum * 1e-200, term * 1e-200, scale + (200 * Math.Log(10)));
        }
        return scale + Math.Log(sum);
    }

    /// <summary>The posterior probability, after <paramref name="a"/> votes to <paramref name="b"/> and a uniform prior, that the rival is the likelier: I_1/2(a+1, b+1).</summary>
    public static double LeaderIsBehind(int a, int b) =>
        // E seen from the other side, without its factor: the integral over the lower half, as a share of B(a+1, b+1).
        Math.Exp(LogEvidence(b, a) - ((a + b + 1) * Math.Log(2)) - SpecialFunctions.LogBeta(a + 1, b + 1));

    private static double Threshold(double delta, int? options) =>
        delta is not (> 0 and < 1) ? throw new ErgonException(FormattableString.Invariant($"delta is {delta}, but must be above 0 and below 1."))
        : options < 2 ? throw new ErgonException($"The number of options is {options}, but must be 2 or more; leave it out for an open set of answers.")
        : ((options ?? 2) - 1) / delta;
}
