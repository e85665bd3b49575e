using Ergon.Reasoning;

namespace Ergon.Tests.Reasoning;

public sealed class PassAtKTests
{
    [Theory]
    [InlineData(16, 0, 1, 0)]
    [InlineData(16, 16, 1, 1)]
    [InlineData(16, 4, 1, 0.25)]
    [InlineData(4, 2, 2, 1 - (1.0 / 6))]
    [InlineData(16, 15, 2, 1)]
    public void Known_values(int samples, int right, int k, double expected) => Assert.Equal(expected, PassAtK.Estimate(samples, right, k), 12);

    [Fact]
    public void It_is_the_mean_over_all_subsets_of_the_samples()
    {
        const int n = 9;
        for (var right = 0; right <= n; right++)
        {
            for (var k = 1; k <= n; k++)
            {
                var subsets = Enumerable.Range(0, 1 << n).Where(s => System.Numerics.BitOperations.PopCount((uint)s) == k).ToArray();
                var hit = subsets.Count(s => (s & ((1 << right) - 1)) != 0);
                Assert.Equal((double)hit / subsets.Length, PassAtK.Estimate(n, right, k), 12);
            }
        }
    }

    [Fact]
    public void Large_numbers_neither_overflow_nor_leave_the_unit_interval() =>
        Assert.InRange(PassAtK.Estimate(100_000, 50, 1000), 0.39, 0.41);
}
