namespace Ergon.Reasoning;

/// <summary>The probability that at least one of k samples is right.</summary>
public static class PassAtK
{
    /// <summary>
    /// The unbiased estimate from n samples of which c are right, 1 - C(n-c, k) / C(n, k), as a product that
    /// neither overflows nor cancels (Chen et al., arXiv 2107.03374).
    /// </summary>
    /// <param name="samples">n, at least <paramref name="k"/>.</param>
    /// <param name="right">c, 0 to n.</param>
    /// <param name="k">At least 1.</param>
    public static double Estimate(int samples, int right, int k)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(k, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(samples, k);
        ArgumentOutOfRangeException.ThrowIfNegative(right);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(right, samples);
        if (samples - right < k)
            return 1;
        var allWrong = 1.0;
        for (var j = samples - right + 1; j <= samples; j++)
            allWrong *= 1 - ((double)k / j);
        return 1 - allWrong;
    }
}
