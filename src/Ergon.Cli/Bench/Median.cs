namespace Ergon.Cli.Bench;

/// <summary>The median of a sample, and an interval that covers the population's median in at least 95 of 100 samples.</summary>
/// <param name="Value">The sample's median.</param>
/// <param name="Low">The interval's lower end; <see langword="null"/> below six values, which cannot bound it.</param>
/// <param name="High">The interval's upper end.</param>
internal readonly record struct Median(double Value, double? Low, double? High)
{
    /// <summary>Takes the interval between two order statistics, which assumes nothing about the distribution.</summary>
    /// <param name="values">At least one, in any order.</param>
    public static Median Of(IEnumerable<double> values)
    {
        double[] sorted = [.. values.Order()];
        var n = sorted.Length;
        ArgumentOutOfRangeException.ThrowIfZero(n);
        var value = (sorted[(n - 1) / 2] + sorted[n / 2]) / 2;
        // Each value lies below the true median like a fair coin shows heads, so the k-th smallest lies above it
        // with the chance of fewer than k heads. The largest k that keeps both ends together within 5 % counts.
        double term = Math.Pow(0.5, n), tail = 0;
        var k = 0;
        while (2 * (tail + term) <= 0.05)
        {
            tail += term;
            term *= (n - k) / (k + 1.0);
            k++;
        }
        return k == 0 ? new Median(value, null, null) : new Median(value, sorted[k - 1], sorted[n - k]);
    }
}
