using System.Runtime.InteropServices;

namespace Ergon.Reasoning.Stopping;

/// <summary>
/// Stops when the winner of the whole budget is, with posterior predictive probability at least 1 - epsilon, the present leader. Votes follow a
/// Polya urn: an answer with c votes is next with weight c + alpha, one that was never seen with a weight of its own. For K options
/// that is the Dirichlet-multinomial (alpha each, K of them); for an open set alpha is 0 and all that is unseen weighs theta together (the Dirichlet
/// process). Exact by convolution where that is cheap, otherwise by seeded simulation. Ergon's own definition.
/// </summary>
internal sealed class Prediction : IStoppingPolicy
{
    private const int Simulations = 4000;
    private const long ExactBelow = 20_000_000;
    private readonly double _epsilon, _alpha, _theta;
    private readonly int? _options;
    private readonly int _seed;

    /// <param name="epsilon">How likely a change of the winner may be, above 0 and below 1; 0.05 changed one winner in a hundred on words problems.</param>
    /// <param name="options">K; <see langword="null"/> for an open set.</param>
    /// <param name="prior">Alpha for K options, theta for an open set; above 0.</param>
    /// <param name="seed">Of the simulation.</param>
    /// <exception cref="ErgonException">A value is out of its range.</exception>
    public Prediction(double epsilon = 0.05, int? options = null, double prior = 1, int seed = 1)
    {
        if (epsilon is not (> 0 and < 1))
            throw new ErgonException(FormattableString.Invariant($"epsilon is {epsilon}, but must be above 0 and below 1."));
        if (options < 2)
            throw new ErgonException($"The number of options is {options}, but must be 2 or more; leave it out for an open set of answers.");
        if (!(prior > 0 && double.IsFinite(prior)))
            throw new ErgonException(FormattableString.Invariant($"The prior weight is {prior}, but must be above 0."));
        (_epsilon, _options, _seed) = (epsilon, options, seed);
        (_alpha, _theta) = options is null ? (0.0, prior) : (prior, 0.0);
    }

    public string Name => FormattableString.Invariant($"prediction {_epsilon}");

    public string? Stop(Tally tally)
    {
        if (tally.Leader < 0)
            return null;
        var change = Change(tally);
        return change <= _epsilon ? FormattableString.Invariant($"the winner of {tally.Budget} would change with probability {change:G2}") : null;
    }

    /// <summary>The predictive probability that the whole budget's winner is not the present leader, draws without an answer left out of account.</summary>
    public double Change(Tally tally)
    {
        if (tally.Leader < 0)
            return 1;
        if (tally.Left == 0)
            return 0;
        var cost = (long)(tally.Votes.Count + 1) * tally.Left * tally.Left * tally.Left;
        return cost <= ExactBelow ? Exact(tally) : Simulated(tally);
    }

    /// <summary>By convolution. What m further draws add is, per answer, a coefficient of (1-z)^-(its weight): those of the rivals, cut off where they would overtake
    /// the leader, are multiplied for every number of votes that the leader may gain. For the unseen of an open set the factor is exp(theta sum_{l up to the cut} z^l / l).</summary>
    internal double Exact(Tally tally)
    {
        int m = tally.Left, unseen = (_options ?? 0) - tally.Votes.Count;
        var all = tally.Votes.Sum(v => v + _alpha) + _theta + (Math.Max(0, unseen) * _alpha);
        double[] leader = Urn(tally.Lead + _alpha, m, m), total = Urn(all, m, m);
        var stays = 0.0;
        for (var gained = 0; gained <= m; gained++)
        {
            var rest = m - gained;
            double[] product = [1, .. new double[rest]];
            for (var i = 0; i < tally.Votes.Count; i++)
            {
                // An answer seen before the leader wins with as many votes.
                if (i != tally.Leader)
                    product = Times(product, Urn(tally.Votes[i] + _alpha, tally.Lead + gained - tally.Votes[i] - (i < tally.Leader ? 1 : 0), rest));
            }
            for (var i = 0; i < unseen; i++)
                product = Times(product, Urn(_alpha, tally.Lead + gained, rest));
            if (_theta > 0)
                product = Times(product, Unseen(_theta, tally.Lead + gained, rest));
            stays += leader[gained] * product[rest];
        }
        return Math.Clamp(1 - (stays / total[m]), 0, 1);
    }

    /// <summary>By 4000 continuations; standard error at most 0.008.</summary>
    internal double Simulated(Tally tally)
    {
        var random = new Random(unchecked((_seed * 65_537) + tally.Draws.Count));
        List<int> votes = [];
        var changed = 0;
        for (var s = 0; s < Simulations; s++)
        {
            votes.Clear();
            votes.AddRange(tally.Votes);
            for (var i = 0; i < tally.Left; i++)
                Extend(votes, random);
            var best = CollectionsMarshal.AsSpan(votes);
            for (var i = 0; i < best.Length; i++)
            {
                if (i != tally.Leader && best[i] >= best[tally.Leader] + (i < tally.Leader ? 0 : 1))
                {
                    changed++;
                    break;
                }
            }
        }
        return changed / (double)Simulations;
    }

    /// <summary>Draws one more answer from the urn.</summary>
    private void Extend(List<int> votes, Random random)
    {
        var unseen = _options is { } k ? Math.Max(0, k - votes.Count) * _alpha : _theta;
        var x = random.NextDouble() * (votes.Sum(v => v + _alpha) + unseen);
        for (var i = 0; i < votes.Count; i++)
        {
            x -= votes[i] + _alpha;
            if (x < 0)
            {
                votes[i]++;
                return;
            }
        }
        votes.Add(1);
    }

    /// <summary>Coefficients 0 to <paramref name="length"/> of (1-z)^-weight, those above <paramref name="cut"/> left out: Gamma(y+w) / (y! Gamma(w)).</summary>
    private static double[] Urn(double weight, int cut, int length)
    {
        var c = new double[length + 1];
        if (cut < 0)
            return c;
        c[0] = 1;
        for (var y = 1; y <= Math.Min(cut, length); y++)
            c[y] = c[y - 1] * (weight + y - 1) / y;
        return c;
    }

    // f = exp(theta sum z^l/l) has f' = theta (1 + z + ... + z^(cut-1)) f.
    private static double[] Unseen(double theta, int cut, int length)
    {
        var f = new double[length + 1];
        f[0] = 1;
        for (var u = 1; u <= length; u++)
        {
            for (var l = 1; l <= Math.Min(cut, u); l++)
                f[u] += f[u - l];
            f[u] *= theta / u;
        }
        return f;
    }

    private static double[] Times(double[] a, double[] b)
    {
        var product = new double[a.Length];
        for (var i = 0; i < a.Length; i++)
        {
            for (var j = 0; j < a.Length - i && a[i] != 0; j++)
                product[i + j] += a[i] * b[j];
        }
        return product;
    }
}
