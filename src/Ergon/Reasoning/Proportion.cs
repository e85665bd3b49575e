namespace Ergon.Reasoning;

/// <summary>A share of successes.</summary>
internal static class Proportion
{
    /// <summary>Wilson's 95 % interval of a proportion seen as <paramref name="successes"/> of <paramref name="trials"/> (Wilson 1927).</summary>
    public static (double Low, double High) Interval(long successes, long trials)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(trials, 1);
        ArgumentOutOfRangeException.ThrowIfNegative(successes);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(successes, trials);
        const double z = 1.959963984540054;
        double n = trials, p = successes / n, scale = 1 + (z * z / n), centre = (p + (z * z / (2 * n))) / scale;
        var half = z / scale * Math.Sqrt((p * (1 - p) / n) + (z * z / (4 * n * n)));
        return (Math.Max(0, centre - half), Math.Min(1, centre + half));
    }
}
