namespace Ergon.Planning;

/// <summary>What a plan is judged by; less is better in all.</summary>
/// <param name="Joules">A token of an answer, all devices that are on included.</param>
/// <param name="Seconds">A token of an answer: the machine's time over all tokens that it gives in it.</param>
/// <param name="Underutilisation">1 - sum of busy_d w_d / (makespan x sum of w_d), w the peak arithmetic.</param>
/// <param name="Excess">By how much limits are passed, as shares of them; 0: the plan is feasible.</param>
internal readonly record struct PlanScore(double Joules, double Seconds, double Underutilisation, double Excess)
{
    /// <summary>How many objectives there are.</summary>
    public const int Count = 3;

    // Sums in another order differ in the last bits; such plans are equal.
    private const double Tolerance = 1e-9;

    /// <summary>One of the objectives.</summary>
    public double this[int objective] => objective switch { 0 => Joules, 1 => Seconds, _ => Underutilisation };

    public bool IsFeasible => Excess == 0;

    /// <summary>Whether this is at least as good in everything and better in something.</summary>
    public bool Dominates(in PlanScore other) => NotWorse(Joules, other.Joules) && NotWorse(Seconds, other.Seconds) && NotWorse(Underutilisation, other.Underutilisation)
        && (Better(Joules, other.Joules) || Better(Seconds, other.Seconds) || Better(Underutilisation, other.Underutilisation));

    /// <summary>Whether this is at least as good in everything.</summary>
    public bool Covers(in PlanScore other) => NotWorse(Joules, other.Joules) && NotWorse(Seconds, other.Seconds) && NotWorse(Underutilisation, other.Underutilisation);

    /// <summary>
    /// The amount of domination: the geometric mean of the differences, each as a share of the objective's range. AMOSA
    /// (Bandyopadhyay et al., 2008) takes their product, which at one temperature is strict where two plans differ in one
    /// objective and lax where they differ in three. Objectives in which the two tie are left out, because a factor of 0
    /// would call every such pair equal.
    /// </summary>
    public double Amount(in PlanScore other, ReadOnlySpan<double> ranges)
    {
        var (amount, differing) = (1.0, 0);
        for (var i = 0; i < Count; i++)
        {
            var gap = Math.Abs(this[i] - other[i]);
            if (gap > Tolerance * Math.Abs(other[i]) && ranges[i] > 0)
                (amount, differing) = (amount * Math.Min(1, gap / ranges[i]), differing + 1);
        }
        return differing switch { 3 => Math.Cbrt(amount), 2 => Math.Sqrt(amount), _ => amount };
    }

    private static bool NotWorse(double a, double b) => a <= b + (Tolerance * Math.Abs(b));

    private static bool Better(double a, double b) => a < b - (Tolerance * Math.Abs(b));
}
