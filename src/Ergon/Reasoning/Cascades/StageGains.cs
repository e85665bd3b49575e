namespace Ergon.Reasoning.Cascades;

/// <summary>What was seen where a stage ran in some situation.</summary>
/// <param name="Stage">Which stage.</param>
/// <param name="Confidence">Tenths of the confidence before it, 0 to 9.</param>
/// <param name="Draws">Doublings of the draws before it: 0 for none, 1 for one, 2 for two or three, ...</param>
/// <param name="Count">How often it ran.</param>
/// <param name="Gain">How many more answers were right after it than before, all those times together.</param>
/// <param name="Cost">What it took, all those times together, in shares of a problem's full budget.</param>
/// <param name="Model">Whose draws these were; <see langword="null"/> for what is thought of models in general.</param>
internal sealed record StageCell(Stage Stage, int Confidence, int Draws, long Count, double Gain, double Cost, string? Model = null);

/// <summary>
/// What stages are expected to gain in accuracy and to cost, learned from outcomes by situation. Where little was seen a prior counts as ten
/// outcomes; what was seen of models in general is the prior for each. Costs are shares of the joules of a problem's full budget, so that what one machine taught serves another. Thread-safe. Ergon's own definition.
/// </summary>
internal sealed class StageGains
{
    private const double PriorWeight = 10;
    private readonly Dictionary<(string?, Stage, int, int), StageCell> _cells = [];
    private readonly Lock _gate = new();

    /// <param name="cells">What was learned before.</param>
    public StageGains(params IEnumerable<StageCell> cells)
    {
        foreach (var cell in cells)
            _cells[(cell.Model, cell.Stage, cell.Confidence, cell.Draws)] = cell;
    }

    /// <summary>What was learned, in a fixed order.</summary>
    public IReadOnlyList<StageCell> Cells
    {
        get
        {
            lock (_gate)
                return [.. _cells.Values.OrderBy(c => c.Model, StringComparer.Ordinal).ThenBy(c => c.Stage).ThenBy(c => c.Draws).ThenBy(c => c.Confidence)];
        }
    }

    /// <summary>What a stage is expected to gain and to cost.</summary>
    /// <param name="stage">Which.</param>
    /// <param name="confidence">How likely the answer is right before it, 0 to 1.</param>
    /// <param name="draws">How many draws there are before it.</param>
    /// <param name="priorGain">Assumed where nothing was seen.</param>
    /// <param name="priorCost">Likewise.</param>
    /// <param name="model">Whose draws; <see langword="null"/> for any model's.</param>
    public (double Gain, double Cost) Expect(Stage stage, double confidence, int draws, double priorGain, double priorCost, string? model = null)
    {
        lock (_gate)
        {
            if (model is not null)
                (priorGain, priorCost) = Expect(stage, confidence, draws, priorGain, priorCost);
            return _cells.TryGetValue(Key(model, stage, confidence, draws), out var cell)
                ? ((cell.Gain + (PriorWeight * priorGain)) / (cell.Count + PriorWeight), (cell.Cost + (PriorWeight * priorCost)) / (cell.Count + PriorWeight))
                : (priorGain, priorCost);
        }
    }

    /// <summary>Notes one outcome.</summary>
    /// <param name="stage">What ran.</param>
    /// <param name="confidence">Before it.</param>
    /// <param name="draws">Before it.</param>
    /// <param name="gain">1 where it made a wrong answer right, -1 where a right one wrong, otherwise 0.</param>
    /// <param name="cost">In shares of the full budget.</param>
    /// <param name="model">Whose draws; <see langword="null"/> for models in general.</param>
    public void Learn(Stage stage, double confidence, int draws, double gain, double cost, string? model = null)
    {
        var key = Key(model, stage, confidence, draws);
        lock (_gate)
        {
            var cell = _cells.GetValueOrDefault(key) ?? new StageCell(key.Stage, key.Confidence, key.Draws, 0, 0, 0, model);
            _cells[key] = cell with { Count = cell.Count + 1, Gain = cell.Gain + gain, Cost = cell.Cost + cost };
        }
    }

    private static (string? Model, Stage Stage, int Confidence, int Draws) Key(string? model, Stage stage, double confidence, int draws) =>
        (model, stage, Math.Clamp((int)(confidence * 10), 0, 9), draws == 0 ? 0 : int.Log2(draws) + 1);
}
