namespace Ergon.Planning;

/// <summary>The volume of the objectives' space that plans dominate, the usual measure of a front.</summary>
internal static class Hypervolume
{
    // Beyond the worst of the front, so that its ends count.
    private const double Margin = 0.1;

    private const double Rounding = 1e-7;

    /// <summary>Of each front, scaled by the ranges over all of them together: comparable with each other, and no larger than 1.1^3.</summary>
    public static double[] Of(params IReadOnlyList<IReadOnlyList<PlanScore>> fronts)
    {
        var all = Best([.. fronts.SelectMany(f => f)]);
        Span<double> low = stackalloc double[PlanScore.Count], range = stackalloc double[PlanScore.Count];
        for (var i = 0; i < PlanScore.Count; i++)
        {
            var objective = i;
            low[i] = all.Length == 0 ? 0 : all.Min(s => s[objective]);
            range[i] = all.Length == 0 ? 0 : all.Max(s => s[objective]) - low[i];
        }
        var (lows, ranges) = (low.ToArray(), range.ToArray());
        // Where the best agree in an objective but for rounding, it tells only who is among them.
        double Scaled(PlanScore s, int i) => ranges[i] > Rounding * Math.Abs(lows[i]) ? (s[i] - lows[i]) / ranges[i] : s[i] <= lows[i] + (2 * Rounding * Math.Abs(lows[i])) ? 0 : 1 + Margin;
        return [.. fronts.Select(f => Volume([.. f.Select(s => (Scaled(s, 0), Scaled(s, 1), Scaled(s, 2)))]))];
    }

    private static PlanScore[] Best(PlanScore[] scores)
    {
        var archive = new PlanArchive(int.MaxValue / 2);
        foreach (var s in scores)
            archive.Add(s, []);
        return [.. archive.Members.Select(m => m.Score)];
    }

    // Slices along the third objective; in each the area of the staircase of the points that reach it.
    private static double Volume((double X, double Y, double Z)[] points)
    {
        const double end = 1 + Margin;
        var inside = points.Where(p => p.X < end && p.Y < end && p.Z < end).OrderBy(p => p.Z).ToArray();
        var stairs = new List<(double X, double Y)>();
        double volume = 0;
        for (var i = 0; i < inside.Length; i++)
        {
            var (x, y, z) = inside[i];
            if (!stairs.Any(s => s.X <= x && s.Y <= y))
            {
                stairs.RemoveAll(s => s.X >= x && s.Y >= y);
                stairs.Insert(~stairs.BinarySearch((x, y)) is var at && at >= 0 ? at : 0, (x, y));
            }
            var depth = (i + 1 < inside.Length ? inside[i + 1].Z : end) - z;
            if (depth <= 0)
                continue;
            double area = 0;
            for (var s = 0; s < stairs.Count; s++)
                area += ((s + 1 < stairs.Count ? stairs[s + 1].X : end) - stairs[s].X) * (end - stairs[s].Y);
            volume += area * depth;
        }
        return volume;
    }
}
