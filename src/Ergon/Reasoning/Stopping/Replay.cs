namespace Ergon.Reasoning.Stopping;

/// <summary>A draw that was made without stopping, so that any policy can be asked what it would have done.</summary>
/// <param name="Draw">What a policy sees.</param>
/// <param name="Tokens">Generated.</param>
/// <param name="FalseAt">How many had come when a step was seen to be false; <see langword="null"/> where none was.</param>
internal readonly record struct LoggedDraw(Draw Draw, int Tokens, int? FalseAt = null)
{
    /// <summary>The draw as it is where it ends with its first false step.</summary>
    public LoggedDraw Abandoned => FalseAt is { } at ? new LoggedDraw(new Draw(null, Evidence: 0), Math.Min(at, Tokens), at) : this;
}

/// <summary>All draws of one problem.</summary>
/// <param name="Gold">Its right answer in canonical form.</param>
/// <param name="Draws">In order; the budget.</param>
internal sealed record LoggedProblem(string Gold, IReadOnlyList<LoggedDraw> Draws)
{
    /// <summary>With draws that end with their first false step.</summary>
    public LoggedProblem Abandoned => this with { Draws = [.. Draws.Select(d => d.Abandoned)] };

    /// <summary>As if no verifier model had been asked.</summary>
    public LoggedProblem Unscored => this with { Draws = [.. Draws.Select(d => d with { Draw = d.Draw with { Score = null } })] };

    /// <summary>The tally after the first draws.</summary>
    public Tally After(int draws)
    {
        var tally = new Tally(Draws.Count);
        foreach (var draw in Draws.Take(draws))
            tally.Add(draw.Draw);
        return tally;
    }
}

/// <summary>What a policy makes of logged problems.</summary>
/// <param name="Problems">How many.</param>
/// <param name="Right">Answered right.</param>
/// <param name="Agreeing">Answered as the vote of all draws is; <see langword="null"/> where that was not asked.</param>
/// <param name="Draws">Until it stopped.</param>
/// <param name="Tokens">Of those.</param>
internal readonly record struct ReplayResult(int Problems, int Right, int? Agreeing, long Draws, long Tokens)
{
    public double Accuracy => Right / (double)Problems;

    /// <summary>Shows a policy the logged draws one by one: what it costs when draws are made one after another.</summary>
    public static ReplayResult Of(IEnumerable<LoggedProblem> problems, IStoppingPolicy policy)
    {
        var result = new ReplayResult(0, 0, 0, 0, 0);
        foreach (var problem in problems)
        {
            var tally = new Tally(problem.Draws.Count);
            var tokens = 0L;
            do
            {
                tokens += problem.Draws[tally.Draws.Count].Tokens;
                tally.Add(problem.Draws[tally.Draws.Count].Draw);
            }
            while (tally.Left > 0 && policy.Stop(tally) is null);
            var answer = policy.Choose(tally);
            var full = problem.After(problem.Draws.Count).Winner;
            result = new ReplayResult(result.Problems + 1, result.Right + (answer == problem.Gold ? 1 : 0), result.Agreeing + (answer == full ? 1 : 0), result.Draws + tally.Draws.Count, result.Tokens + tokens);
        }
        return result;
    }
}
