namespace Ergon.Planning;

/// <summary>What planning gives.</summary>
internal sealed record PlanOutcome
{
    /// <summary>Feasible plans of which none dominates another, by joules; empty where nothing was found that keeps the limits.</summary>
    public required IReadOnlyList<PlanEvaluation> Front { get; init; }

    /// <summary>The plan of the policy; <see langword="null"/> where the front is empty.</summary>
    public required PlanEvaluation? Chosen { get; init; }

    /// <summary>Why that one, or which limit stands in the way.</summary>
    public required string Reason { get; init; }

    /// <summary>Plans looked at.</summary>
    public required int Evaluations { get; init; }
}

/// <summary>Finds plans and chooses one.</summary>
internal static class Planner
{
    // Where nothing was found among so few plans, looking at each of them makes it certain.
    private const double Few = 20_000;

    /// <summary>Plans with <see cref="Pgsam"/> from <see cref="PlanSeeds"/>.</summary>
    public static PlanOutcome Plan(PlanProblem problem, PlanPolicy policy, SearchOptions? options = null)
    {
        options ??= new();
        var began = options.Clock.GetTimestamp();
        // The exact chains get half of the time.
        Func<bool>? stop = options.Budget is { } budget ? () => options.Clock.GetElapsedTime(began) > budget / 2 : null;
        var result = Pgsam.Run(problem, PlanSeeds.Of(problem, stop), options);
        if (result.Nearest is not null && Math.Pow(problem.Devices, problem.Places) * problem.Levels.Aggregate(1.0, (a, b) => a * b) <= Few)
            result = Baselines.Exhaustive(problem);
        var state = new PlanState(problem);
        if (result.Nearest is { } nearest)
            return new() { Front = [], Chosen = null, Reason = $"No plan was found that keeps the limits; the nearest one passes {Evaluate(nearest).Binding}.", Evaluations = result.Evaluations };
        return Of([.. result.Front.Select(f => Evaluate(f.Genes))], policy, result.Evaluations);

        PlanEvaluation Evaluate(byte[] genes)
        {
            state.Load(genes);
            return state.Evaluate();
        }
    }

    /// <summary>The outcome of a search that found these plans, at least one.</summary>
    public static PlanOutcome Of(PlanEvaluation[] front, PlanPolicy policy, int evaluations)
    {
        var chosen = Choose([.. front.Select(p => p.Score)], policy);
        return new() { Front = front, Chosen = front[chosen], Reason = Why(front, chosen, policy), Evaluations = evaluations };
    }

    /// <summary>Plans for devices that run several passes at a time, or one with all sequences: whichever is better, as the engine can run it.</summary>
    /// <param name="problem">A problem with <see cref="Workload.InFlight"/> passes.</param>
    /// <param name="policy">What counts.</param>
    /// <param name="runnable">Makes plans ones that can be run.</param>
    /// <param name="options">Of each search.</param>
    public static (PlanProblem Problem, PlanOutcome Outcome) PlanTogetherOrApart(PlanProblem problem, PlanPolicy policy, Func<PlanProblem, PlanOutcome, PlanPolicy, PlanOutcome> runnable, SearchOptions? options = null)
    {
        var apart = runnable(problem, Plan(problem, policy, options), policy);
        if (problem.Workload.InFlight == 1)
            return (problem, apart);
        var w = problem.Workload;
        var whole = new PlanProblem(problem.Model, problem.Profiles, w with { Batch = w.Batch * w.InFlight, InFlight = 1 }, problem.Limits, problem.Granularity);
        var together = runnable(whole, Plan(whole, policy, options), policy);
        return apart.Chosen is { } a && (together.Chosen is not { } t || Value(a.Score, policy) < Value(t.Score, policy)) ? (problem, apart) : (whole, together);
    }

    /// <summary>The index of the policy's plan.</summary>
    /// <param name="front">At least one.</param>
    /// <param name="policy">What counts.</param>
    public static int Choose(IReadOnlyList<PlanScore> front, PlanPolicy policy)
    {
        // The knee is looked for in joules and seconds: a device that is busy is no end in itself.
        var (joules, seconds) = (front.Min(s => s.Joules), front.Min(s => s.Seconds));
        var (wide, long_) = (front.MinBy(s => s.Seconds).Joules - joules, front.MinBy(s => s.Joules).Seconds - seconds);
        double Of(PlanScore s) => policy == PlanPolicy.Balanced ? Math.Pow(Share(s.Joules - joules, wide), 2) + Math.Pow(Share(s.Seconds - seconds, long_), 2) : Value(s, policy);
        return Enumerable.Range(0, front.Count).OrderBy(i => Of(front[i])).ThenBy(i => front[i].Joules * front[i].Seconds).First();

        static double Share(double gap, double range) => range > 0 ? gap / range : gap > 0 ? 1 : 0;
    }

    /// <summary>What a policy makes least, of a plan without others beside it; the balance is then the product.</summary>
    public static double Value(PlanScore s, PlanPolicy policy) => policy switch
    {
        PlanPolicy.Energy => s.Joules,
        PlanPolicy.Latency => s.Seconds,
        _ => s.Joules * s.Seconds,
    };

    private static string Why(PlanEvaluation[] front, int chosen, PlanPolicy policy)
    {
        var (joules, seconds) = (front.Min(p => p.Score.Joules), front.Min(p => p.Score.Seconds));
        var s = front[chosen].Score;
        if (front.Length == 1)
            return "no other plan that was found is better in anything";
        var what = policy switch
        {
            PlanPolicy.Energy => "the fewest joules a token",
            PlanPolicy.Latency => "the fewest seconds a token",
            PlanPolicy.Edp => "the least product of joules and seconds a token",
            _ => "closest to the best of joules and of seconds at once",
        };
        return string.Create(System.Globalization.CultureInfo.InvariantCulture,
            $"{what} of {front.Length} plans; {100 * ((s.Joules / joules) - 1):F1} % above the fewest joules, {100 * ((s.Seconds / seconds) - 1):F1} % above the fewest seconds");
    }
}
