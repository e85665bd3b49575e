namespace Ergon.Planning;

/// <summary>How long a search may take and how it draws.</summary>
internal sealed record SearchOptions
{
    public int Seed { get; init; }

    /// <summary>Plans looked at, the seeds included.</summary>
    public int Evaluations { get; init; } = 20_000;

    /// <summary>Looked at without gain before the search ends by itself.</summary>
    public int Stagnation { get; init; } = 8_000;

    /// <summary>Time after which the search ends with what it has; <see langword="null"/>: none. The one thing that makes results depend on the machine.</summary>
    public TimeSpan? Budget { get; init; }

    public TimeProvider Clock { get; init; } = TimeProvider.System;

    /// <summary>Plans that the front holds.</summary>
    public int ArchiveSize { get; init; } = 128;
}

/// <summary>What a search found.</summary>
/// <param name="Front">Feasible plans of which none dominates another, by joules.</param>
/// <param name="Nearest">The plan that passes its limits by least, where no plan was feasible.</param>
/// <param name="Evaluations">Plans looked at.</param>
internal sealed record SearchResult(IReadOnlyList<(PlanScore Score, byte[] Genes)> Front, byte[]? Nearest, int Evaluations);

/// <summary>
/// Pareto-guided simulated annealing with momentum: AMOSA's archive and acceptance (Bandyopadhyay et al., IEEE TEVC 2008) with
/// the moves of <see cref="PlanMoves"/>. A plan that is dominated by an amount D is accepted with 1/(1 + exp(D/T)): colder is
/// stricter. Limits come first: a plan that passes them by less is better. The same options give the same result unless
/// the budget ends it.
/// </summary>
internal sealed class Pgsam
{
    private const double Hot = 0.5, Cold = 1e-5;

    // So many walks start from the archive: a chain that has wandered off comes back to where the front is thin.
    private const int Walks = 300;

    private const int Rivals = 4;

    // A plan that passes limits counts as dominated by at least this much.
    private const double Infeasible = 0.01;

    private readonly PlanProblem _problem;
    private readonly SearchOptions _options;
    private readonly Random _random;
    private readonly PlanState _state;
    private readonly PlanMoves _moves;
    private readonly PlanArchive _archive;
    private byte[] _nearest;
    private PlanScore _nearestScore, _current;

    private Pgsam(PlanProblem problem, SearchOptions options)
    {
        (_problem, _options, _random) = (problem, options, new Random(options.Seed));
        _state = new PlanState(problem);
        _moves = new PlanMoves(problem, _state, _random);
        _archive = new PlanArchive(options.ArchiveSize);
        (_nearest, _nearestScore) = ([.. _state.Genes], _state.Score());
        _archive.Add(_nearestScore, _nearest);
        _current = _nearestScore;
    }

    /// <summary>Searches from seeds; with none, from everything on the first device.</summary>
    public static SearchResult Run(PlanProblem problem, IEnumerable<byte[]> seeds, SearchOptions options)
    {
        var began = options.Clock.GetTimestamp();
        var search = new Pgsam(problem, options);
        foreach (var seed in seeds)
        {
            search._state.Load(seed);
            search.Visit(search._state.Score());
        }
        search.Anneal(began);
        return search.Result();
    }

    private void Anneal(long began)
    {
        var (start, gained, walk) = (_state.Evaluations, _state.Evaluations, 0);
        Restart();
        // A proposal may change nothing, so the loop counts those too: one device and one level end at once.
        for (var tries = 0; _state.Evaluations < _options.Evaluations && tries < 20 * _options.Evaluations; tries++)
        {
            var done = (double)(_state.Evaluations - start) / Math.Max(1, _options.Evaluations - start);
            if (_state.Evaluations - gained > _options.Stagnation)
                break;
            if (tries % 64 == 0 && _options.Budget is { } budget && _options.Clock.GetElapsedTime(began) > budget)
                break;
            if ((int)(done * Walks) > walk)
            {
                walk = (int)(done * Walks);
                Restart();
            }
            if (!_moves.Propose(_archive))
                continue;
            var next = _state.Score();
            var known = _archive.Dominating(next);
            var added = Visit(next);
            if (added)
                gained = _state.Evaluations;
            if (Accepts(next, known, Hot * Math.Pow(Cold / Hot, done)))
            {
                _current = next;
                if (added)
                    _moves.Learn();
            }
            else
            {
                _moves.Undo();
            }
        }
    }

    private bool Accepts(in PlanScore next, in (int Count, double Sum, double Least, int LeastMember) known, double temperature)
    {
        if (!next.IsFeasible || !_current.IsFeasible)
        {
            var worse = next.Excess - _current.Excess;
            return worse <= 0 || Passes((_current.IsFeasible ? Infeasible : 0) + worse, temperature);
        }
        if (_current.Dominates(next))
            return Passes((known.Sum + _current.Amount(next, _archive.Ranges)) / (known.Count + 1), temperature);
        if (known.Count == 0)
            return true;
        if (!next.Dominates(_current))
            return Passes(known.Sum / known.Count, temperature);
        // Better than where the walk is, and yet dominated: AMOSA goes on from the nearest dominating member with this chance.
        if (_random.NextDouble() < 1 / (1 + Math.Exp(-known.Least)))
        {
            From(_archive.Members[known.LeastMember]);
            return false;
        }
        return true;
    }

    private bool Passes(double amount, double temperature) => _random.NextDouble() < 1 / (1 + Math.Exp(Math.Min(700, amount / temperature)));

    private bool Visit(in PlanScore score)
    {
        if (score.Excess < _nearestScore.Excess)
            (_nearest, _nearestScore) = ([.. _state.Genes], score);
        return _archive.Add(score, _state.Genes);
    }

    private void Restart()
    {
        if (_archive.Members.Count == 0)
            From((_nearestScore, _nearest));
        else
        {
            // The lonelier of a few, as NSGA-II's tournaments choose: ends and gaps of the front are where it grows.
            var lonely = PlanArchive.Crowding([.. _archive.Members.Select(m => m.Score)], _archive.Ranges);
            From(_archive.Members[Enumerable.Range(0, Rivals).Select(_ => _random.Next(lonely.Length)).MaxBy(i => lonely[i])]);
        }
    }

    private void From((PlanScore Score, byte[] Genes) plan)
    {
        _state.Load(plan.Genes);
        _moves.Forget();
        _current = plan.Score;
    }

    private SearchResult Result()
    {
        // Sums drifted by moves; what is handed out is scored anew.
        var final = new PlanArchive(int.MaxValue / 2);
        foreach (var (_, genes) in _archive.Members)
        {
            _state.Load(genes);
            final.Add(_state.Score(), genes);
        }
        return new([.. final.Members.OrderBy(m => m.Score.Joules)], final.Members.Count > 0 ? null : _nearest, _state.Evaluations);
    }
}
