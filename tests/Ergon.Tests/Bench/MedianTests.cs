using Ergon.Cli.Bench;

namespace Ergon.Tests.Bench;

public sealed class MedianTests
{
    [Theory]
    [InlineData(1, 1.0)]
    [InlineData(2, 1.5)]
    [InlineData(5, 3.0)]
    public void Fewer_than_six_values_have_a_median_and_no_interval(int count, double median) =>
        Assert.Equal(new Median(median, null, null), Median.Of(OneTo(count)));

    // The ranks that tables of the sign test give for 95 %.
    [Theory]
    [InlineData(6, 1, 6)]
    [InlineData(8, 1, 8)]
    [InlineData(9, 2, 8)]
    [InlineData(10, 2, 9)]
    [InlineData(20, 6, 15)]
    [InlineData(30, 10, 21)]
    [InlineData(100, 40, 61)]
    public void The_interval_lies_between_the_order_statistics_of_the_sign_test(int count, int low, int high)
    {
        var median = Median.Of(OneTo(count).Reverse());

        Assert.Equal((low, high), (median.Low, median.High));
        Assert.Equal((count + 1) / 2.0, median.Value);
    }

    [Fact]
    public void The_interval_covers_the_true_median_of_a_skewed_distribution_in_95_of_100_samples()
    {
        var random = new Random(1);
        const int samples = 20_000;
        var covered = Enumerable.Range(0, samples)
            .Select(_ => Median.Of(Enumerable.Range(0, 20).Select(_ => -Math.Log(1 - random.NextDouble()))))
            .Count(m => m.Low <= Math.Log(2) && Math.Log(2) <= m.High);

        // 95.86 % for 20 values; five standard errors to either side.
        Assert.InRange(covered / (double)samples, 0.951, 0.966);
    }

    [Fact]
    public void Ratios_are_taken_pair_by_pair()
    {
        // A machine that slows down by half in the middle: both sides slow down, and the ratio stays.
        var result = BenchResult.Of("tg128", "t/s", [10, 10, 10, 5, 5, 5], [20, 20, 20, 10, 10, 10]);

        Assert.Equal(new BenchResult("tg128", 7.5, "t/s", 15, 0.5, 0.5, 0.5, 6), result);
    }

    [Fact]
    public async Task The_side_that_begins_alternates()
    {
        var order = "";
        var effort = new Effort(3, TimeSpan.FromMinutes(1));
        await effort.MeasureAsync("test", "s", isBaseline =>
        {
            order += isBaseline ? 'b' : 'a';
            return Task.FromResult(1.0);
        }, hasBaseline: true, (_, _) => { }, CancellationToken.None);

        Assert.Equal("ab" + "ab" + "ba" + "ab", order);
    }

    [Fact]
    public async Task A_spent_budget_ends_a_test_once_there_are_enough_values_for_an_interval() =>
        Assert.Equal(6, (await new Effort(20, TimeSpan.Zero).MeasureAsync("test", "s", _ => Task.FromResult(1.0), hasBaseline: false, (_, _) => { }, CancellationToken.None)).Pairs);

    private static IEnumerable<double> OneTo(int n) => Enumerable.Range(1, n).Select(i => (double)i);
}
