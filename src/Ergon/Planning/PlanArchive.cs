namespace Ergon.Planning;

/// <summary>Plans of which none dominates another, all feasible. Past twice its size it is thinned where it is densest.</summary>
/// <param name="size">How many are kept.</param>
internal sealed class PlanArchive(int size = 128)
{
    private readonly List<(PlanScore Score, byte[] Genes)> _members = [];
    private readonly double[] _low = new double[PlanScore.Count], _ranges = new double[PlanScore.Count];

    public IReadOnlyList<(PlanScore Score, byte[] Genes)> Members => _members;

    /// <summary>The spread of each objective over the members; 0 while there is none.</summary>
    public ReadOnlySpan<double> Ranges => _ranges;

    /// <summary>Whether a plan gained a place.</summary>
    /// <param name="score">Infeasible plans gain none.</param>
    /// <param name="genes">Copied.</param>
    public bool Add(in PlanScore score, ReadOnlySpan<byte> genes)
    {
        if (!score.IsFeasible)
            return false;
        foreach (var (member, _) in _members)
        {
            if (member.Covers(score))
                return false;
        }
        var (kept, touched) = (0, false);
        for (var i = 0; i < _members.Count; i++)
        {
            // Ranges change only where an end of one comes or goes.
            if (score.Dominates(_members[i].Score))
                touched |= IsEnd(_members[i].Score);
            else
                _members[kept++] = _members[i];
        }
        _members.RemoveRange(kept, _members.Count - kept);
        _members.Add((score, genes.ToArray()));
        if (_members.Count > 2 * size)
            Thin();
        else if (!touched && !IsEnd(score) && _members.Count > 1)
            return true;
        Measure();
        return true;
    }

    /// <summary>
    /// The mean amount by which members dominate a score, the least of those amounts with its member, and how many there are.
    /// </summary>
    public (int Count, double Sum, double Least, int LeastMember) Dominating(in PlanScore score)
    {
        var (count, sum, least, at) = (0, 0.0, double.MaxValue, -1);
        for (var i = 0; i < _members.Count; i++)
        {
            if (!_members[i].Score.Dominates(score))
                continue;
            var amount = _members[i].Score.Amount(score, _ranges);
            (count, sum) = (count + 1, sum + amount);
            if (amount < least)
                (least, at) = (amount, i);
        }
        return (count, sum, least, at);
    }

    private bool IsEnd(in PlanScore score)
    {
        for (var i = 0; i < PlanScore.Count; i++)
        {
            if (score[i] <= _low[i] || score[i] >= _low[i] + _ranges[i])
                return true;
        }
        return false;
    }

    private void Measure()
    {
        for (var i = 0; i < PlanScore.Count; i++)
        {
            var (low, high) = (double.MaxValue, double.MinValue);
            foreach (var (member, _) in _members)
                (low, high) = (Math.Min(low, member[i]), Math.Max(high, member[i]));
            (_low[i], _ranges[i]) = (low, high - low);
        }
    }

    // Removes those whose neighbours along the objectives are closest (the crowding distance of NSGA-II), an eighth at a time,
    // because what lies beside a removed one is less crowded then.
    private void Thin()
    {
        Measure();
        while (_members.Count > size)
        {
            var distances = Crowding([.. _members.Select(m => m.Score)], _ranges);
            var limit = distances.Order().ElementAt(Math.Min(_members.Count - size, _members.Count / 8));
            for (var i = _members.Count - 1; i >= 0; i--)
            {
                if (distances[i] < limit || (distances[i] == limit && _members.Count > size && !double.IsInfinity(limit)))
                    _members.RemoveAt(i);
            }
        }
    }

    /// <summary>The crowding distance of each score (Deb et al., 2002): the sum over the objectives of the gap between its neighbours; infinite at the ends.</summary>
    public static double[] Crowding(PlanScore[] scores, ReadOnlySpan<double> ranges)
    {
        var distances = new double[scores.Length];
        var order = new int[scores.Length];
        var keys = new double[scores.Length];
        for (var objective = 0; objective < PlanScore.Count; objective++)
        {
            for (var i = 0; i < scores.Length; i++)
                (order[i], keys[i]) = (i, scores[i][objective]);
            Array.Sort(keys, order);
            (distances[order[0]], distances[order[^1]]) = (double.PositiveInfinity, double.PositiveInfinity);
            for (var i = 1; i < order.Length - 1 && ranges[objective] > 0; i++)
                distances[order[i]] += (keys[i + 1] - keys[i - 1]) / ranges[objective];
        }
        return distances;
    }
}
