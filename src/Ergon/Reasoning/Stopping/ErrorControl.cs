namespace Ergon.Reasoning.Stopping;

/// <summary>How often a rule that stops early, looking after every draw, settles on an answer that is not the likeliest.</summary>
/// <param name="Tasks">Simulated.</param>
/// <param name="Stopped">Of those, stopped by the rule before the budget.</param>
/// <param name="Wrong">Of those, with an answer that is less likely than another.</param>
/// <param name="Draws">In all.</param>
internal readonly record struct ErrorCount(int Tasks, int Stopped, int Wrong, long Draws)
{
    public double WrongShare => Wrong / (double)Tasks;

    public double MeanDraws => Draws / (double)Tasks;
}

/// <summary>Tasks with known likeliest answers, to see what rules get wrong. Pure; seeded.</summary>
internal static class ErrorControl
{
    /// <summary>How answers are spread.</summary>
    internal enum Spread
    {
        /// <summary>All as likely, but for one that is a hundredth of its probability likelier.</summary>
        NearUniform,

        /// <summary>Two as likely as one another, but for a hundredth; the others share what is left.</summary>
        TwoRivals,

        /// <summary>Uniform on the simplex.</summary>
        Random,
    }

    /// <summary>The probabilities of a task's answers; those of an open set are 200, near uniform or falling as in a language.</summary>
    internal static double[] Task(Spread spread, int options, Random random)
    {
        double[] w = spread switch
        {
            Spread.NearUniform => [1.01, .. Enumerable.Repeat(1.0, options - 1)],
            Spread.TwoRivals => [1.01, 1.0, .. Enumerable.Repeat(options == 2 ? 0 : 1.0 / (options - 2), options - 2)],
            _ => [.. Enumerable.Range(0, options).Select(_ => -Math.Log(1 - random.NextDouble()))],
        };
        var sum = w.Sum();
        return [.. w.Select(x => x / sum)];
    }

    /// <summary>Counts the errors of each rule, which all see the same draws.</summary>
    /// <param name="rules">Looked at after every draw.</param>
    /// <param name="spread">Of the answers.</param>
    /// <param name="options">How many answers there are.</param>
    /// <param name="tasks">How many to simulate.</param>
    /// <param name="budget">Draws at most for each.</param>
    /// <param name="seed">Of tasks and draws.</param>
    /// <param name="cancellation">Stops it.</param>
    public static ErrorCount[] Count(IReadOnlyList<IStoppingPolicy> rules, Spread spread, int options, int tasks, int budget, int seed, CancellationToken cancellation = default)
    {
        var random = new Random(seed);
        string[] names = [.. Enumerable.Range(0, options).Select(i => i.ToString(System.Globalization.CultureInfo.InvariantCulture))];
        var counts = new ErrorCount[rules.Count];
        for (var task = 0; task < tasks; task++)
        {
            cancellation.ThrowIfCancellationRequested();
            var p = Task(spread, options, random);
            var best = p.Max();
            List<int> running = [.. Enumerable.Range(0, rules.Count)];
            var tally = new Tally(budget);
            while (running.Count > 0 && tally.Left > 0)
            {
                tally.Add(new Draw(names[One(p, random)]));
                for (var i = running.Count - 1; i >= 0 && tally.Left > 0; i--)
                {
                    if (rules[running[i]].Stop(tally) is null)
                        continue;
                    ref var count = ref counts[running[i]];
                    var chosen = Array.IndexOf(names, rules[running[i]].Choose(tally));
                    count = count with { Stopped = count.Stopped + 1, Wrong = count.Wrong + (p[chosen] < best ? 1 : 0), Draws = count.Draws + tally.Draws.Count };
                    running.RemoveAt(i);
                }
            }
            foreach (var i in running)
                counts[i] = counts[i] with { Draws = counts[i].Draws + tally.Draws.Count };
        }
        return [.. counts.Select(c => c with { Tasks = tasks })];
    }

    /// <summary>Counts the errors of a rule on a model's draws.</summary>
    /// <param name="rule">Looked at after every draw but the last.</param>
    /// <param name="problems">Each with its draws, and its likeliest answer as far more draws have shown it; <see langword="null"/> where they have not, so that nothing the rule says is wrong.</param>
    public static ErrorCount Count(IStoppingPolicy rule, IEnumerable<(LoggedProblem Problem, string? Likeliest)> problems)
    {
        var count = new ErrorCount(0, 0, 0, 0);
        foreach (var (problem, likeliest) in problems)
        {
            var tally = new Tally(problem.Draws.Count);
            var stopped = false;
            while (!stopped && tally.Left > 0)
            {
                tally.Add(problem.Draws[tally.Draws.Count].Draw);
                stopped = tally.Left > 0 && rule.Stop(tally) is not null;
            }
            var wrong = stopped && likeliest is not null && rule.Choose(tally) != likeliest;
            count = new ErrorCount(count.Tasks + 1, count.Stopped + (stopped ? 1 : 0), count.Wrong + (wrong ? 1 : 0), count.Draws + tally.Draws.Count);
        }
        return count;
    }

    private static int One(double[] p, Random random)
    {
        var x = random.NextDouble();
        for (var i = 0; i < p.Length - 1; i++)
        {
            x -= p[i];
            if (x < 0)
                return i;
        }
        return p.Length - 1;
    }
}
