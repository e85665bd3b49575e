using Ergon.Inference;

namespace Ergon.Tests.Inference;

/// <summary>Groups for devices whose passes take a base time and a time for each row, in turn or in flight.</summary>
public sealed class GroupChoiceTests
{
    [Theory]
    // Time that goes by rows divides without loss, so two even devices take half of it.
    [InlineData(8, 2, new[] { 0.0, 0.0 }, new[] { 10.0, 10.0 })]
    // Reading weights takes the same for few rows, so an uneven cut makes everybody wait for the larger part twice.
    [InlineData(8, 2, new[] { 90.0, 10.0 }, new[] { 0.1, 0.1 })]
    [InlineData(8, 2, new[] { 50.0, 50.0 }, new[] { 10.0, 10.0 })]
    [InlineData(6, 3, new[] { 5.0, 5.0, 5.0 }, new[] { 10.0, 10.0, 10.0 })]
    [InlineData(6, 3, new[] { 20.0, 1.0, 20.0 }, new[] { 5.0, 0.0, 5.0 })]
    [InlineData(2, 4, new[] { 1.0, 1.0, 1.0, 1.0 }, new[] { 9.0, 9.0, 9.0, 9.0 })]
    public void The_fastest_number_of_groups_is_taken(int sequences, int most, double[] bases, double[] perRow)
    {
        var choice = new GroupChoice(most, sequences);
        var fleet = new Fleet(choice, sequences);
        fleet.Run(100, bases, perRow);
        var best = Enumerable.Range(1, Math.Min(most, sequences)).MinBy(groups => Fleet.Period(groups, sequences, bases, perRow));
        Assert.True(fleet.RoundsBy[best] >= 70, $"{best} groups are best, rounds by groups: {string.Join(", ", fleet.RoundsBy)}");
    }

    [Fact]
    public void A_choice_is_looked_at_again_and_trials_cost_little()
    {
        var choice = new GroupChoice(2, 8);
        var fleet = new Fleet(choice, 8);
        fleet.Run(1000, [1, 1], [10, 10]);
        Assert.Equal(2, choice.For(8));
        Assert.InRange(fleet.RoundsBy[1], 1, 60);
        // The devices now share what they read.
        var rounds = fleet.RoundsBy[1];
        fleet.Run(1000, [90, 10], [0.1, 0.1]);
        Assert.InRange(fleet.RoundsBy[1] - rounds, 800, 1000);
    }

    [Fact]
    public void Each_number_of_sequences_has_a_choice_of_its_own_and_one_is_never_divided()
    {
        var choice = new GroupChoice(2, 8);
        new Fleet(choice, 8).Run(100, [50, 50], [10, 10]);
        new Fleet(choice, 2).Run(100, [50, 0], [1, 1]);
        Assert.Equal((2, 1, 1), (choice.For(8), choice.For(2), choice.For(1)));
        Assert.Equal(1, new GroupChoice(1, 8).For(8));
    }

    // Rounds in virtual time: each group goes over all devices, and a device computes one group at a time.
    private sealed class Fleet(GroupChoice choice, int sequences)
    {
        private double _now = 1;

        public int[] RoundsBy { get; } = new int[10];

        public static double Period(int groups, int sequences, double[] bases, double[] perRow)
        {
            var rows = Math.Ceiling(sequences / (double)groups);
            double[] times = [.. bases.Zip(perRow, (b, r) => b + (r * rows))];
            return Math.Max(times.Sum(), groups * times.Max());
        }

        public void Run(int rounds, double[] bases, double[] perRow)
        {
            for (var round = 0; round < rounds; round++)
            {
                var groups = choice.For(sequences);
                RoundsBy[groups]++;
                var left = sequences;
                for (var group = 0; group < groups; group++)
                {
                    _now += Period(groups, sequences, bases, perRow) / groups;
                    var rows = Math.Min(left, (sequences + groups - 1) / groups);
                    left -= rows;
                    choice.Land(sequences, groups, rows, (long)(1000 * _now));
                }
            }
        }
    }
}
