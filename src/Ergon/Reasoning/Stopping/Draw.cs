namespace Ergon.Reasoning.Stopping;

/// <summary>What one answer of a model shows to whoever decides how to go on.</summary>
/// <param name="Answer">The canonical answer: draws agree where these are equal; <see langword="null"/> where there was none.</param>
/// <param name="Verified">What a true verifier said; <see langword="null"/> where none was asked.</param>
/// <param name="Evidence">The share of worked steps that hold, 0 to 1; <see langword="null"/> where there are none.</param>
/// <param name="LogProbability">The mean over the tokens, in nats; <see langword="null"/> where it was not kept.</param>
/// <param name="Score">What a verifier model thinks of the text, above 0 and below 1; <see langword="null"/> where none was asked. No verdict.</param>
internal readonly record struct Draw(string? Answer, bool? Verified = null, double? Evidence = null, double? LogProbability = null, double? Score = null);

/// <summary>The draws of one problem so far, counted by answer. The winner is the answer with most votes; of equals the one seen first.</summary>
internal sealed class Tally
{
    private readonly List<Draw> _draws = [];
    private readonly List<string> _answers = [];
    private readonly List<int> _votes = [];

    /// <param name="budget">S: draws at most.</param>
    public Tally(int budget)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(budget, 1);
        Budget = budget;
    }

    /// <summary>S.</summary>
    public int Budget { get; }

    /// <summary>How many draws are still allowed.</summary>
    public int Left => Budget - _draws.Count;

    public IReadOnlyList<Draw> Draws => _draws;

    /// <summary>The answers, in the order in which they were first seen.</summary>
    public IReadOnlyList<string> Answers => _answers;

    /// <summary>Votes for each of the answers.</summary>
    public IReadOnlyList<int> Votes => _votes;

    /// <summary>The index of the winner among the answers; -1 before any.</summary>
    public int Leader { get; private set; } = -1;

    /// <summary>The winner; <see langword="null"/> before any answer.</summary>
    public string? Winner => Leader < 0 ? null : _answers[Leader];

    /// <summary>The winner's votes.</summary>
    public int Lead => Leader < 0 ? 0 : _votes[Leader];

    /// <summary>The most votes of any other answer; 0 where there is none, which stands for one unseen.</summary>
    public int RunnerUp { get; private set; }

    /// <summary>Counts one more draw.</summary>
    /// <exception cref="InvalidOperationException">The budget is spent.</exception>
    public void Add(Draw draw)
    {
        if (Left == 0)
            throw new InvalidOperationException("The budget is spent.");
        _draws.Add(draw);
        if (draw.Answer is not { } answer)
            return;
        var index = _answers.IndexOf(answer);
        if (index < 0)
        {
            index = _answers.Count;
            _answers.Add(answer);
            _votes.Add(0);
        }
        _votes[index]++;
        Leader = _votes.IndexOf(_votes.Max());
        RunnerUp = _votes.Where((_, i) => i != Leader).DefaultIfEmpty(0).Max();
    }
}
