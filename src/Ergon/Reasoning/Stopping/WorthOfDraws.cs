namespace Ergon.Reasoning.Stopping;

/// <summary>
/// Stops when no number of further draws is expected to gain what its joules cost. The value of an answer is its share of the model's answers;
/// m draws are expected to raise the best posterior mean share (Dirichlet process, weight theta unseen) from max to E[max], so they are worth
/// worth * (E[max] - max), for m joules * price. The best m is looked at, since one draw alone often can change nothing
/// (Frazier and Powell 2010, KG(*)); expectations by seeded simulation. Ergon's own definition.
/// </summary>
internal sealed class WorthOfDraws : IStoppingPolicy
{
    private const int Simulations = 2000;
    private readonly double _cost, _theta;
    private readonly int _seed;

    /// <param name="worth">Of an answer that is certainly the model's likeliest, in the user's money.</param>
    /// <param name="joules">Of a draw.</param>
    /// <param name="price">Of a joule, in the same money.</param>
    /// <param name="theta">How much an unseen answer weighs.</param>
    /// <param name="seed">Of the simulation.</param>
    /// <exception cref="ErgonException">A value is out of its range.</exception>
    public WorthOfDraws(double worth, double joules, double price, double theta = 1, int seed = 1)
    {
        foreach (var (name, value) in new[] { (nameof(worth), worth), (nameof(joules), joules), (nameof(price), price), (nameof(theta), theta) })
        {
            if (!(double.IsFinite(value) && value >= 0) || (value == 0 && name is nameof(worth) or nameof(theta)))
                throw new ErgonException(FormattableString.Invariant($"{name} is {value}, but must be {(name is nameof(worth) or nameof(theta) ? "above 0" : "0 or more")}."));
        }
        (_cost, _theta, _seed) = (joules * price / worth, theta, seed);
    }

    public string Name => "worth";

    public string? Stop(Tally tally)
    {
        if (tally.Leader < 0)
            return null;
        var gains = Gains(tally);
        return Enumerable.Range(1, tally.Left).All(m => gains[m] <= _cost * m) ? "further draws cost more than they are worth" : null;
    }

    /// <summary>E[max] - max after each number of further draws, 0 to all that are left.</summary>
    internal double[] Gains(Tally tally)
    {
        var random = new Random(unchecked((_seed * 65_537) + tally.Draws.Count));
        var sums = new double[tally.Left + 1];
        List<int> votes = [];
        for (var s = 0; s < Simulations; s++)
        {
            votes.Clear();
            votes.AddRange(tally.Votes);
            var (drawn, most, leader) = (votes.Sum(), tally.Lead, tally.Lead);
            for (var m = 1; m <= tally.Left; m++)
            {
                var x = random.NextDouble() * (drawn++ + _theta);
                var i = 0;
                while (i < votes.Count && (x -= votes[i]) >= 0)
                    i++;
                if (i == votes.Count)
                    votes.Add(0);
                most = Math.Max(most, ++votes[i]);
                if (i == tally.Leader)
                    leader++;
                // The leader's own share has mean zero gain, which is left out of the noise.
                sums[m] += (most - leader) / (drawn + _theta);
            }
        }
        return [.. sums.Select(x => x / Simulations)];
    }
}
