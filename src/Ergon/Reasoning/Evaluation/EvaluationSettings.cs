namespace Ergon.Reasoning.Evaluation;

/// <summary>
/// What draws depend on; the first line of a journal. Two evaluations whose settings are equal draw the same, but for rounding beside other
/// rows, so one goes on where the other was interrupted.
/// </summary>
internal sealed record EvaluationSettings
{
    /// <summary>The journal's form; a later one is another number.</summary>
    public int Journal { get; init; } = 1;

    /// <summary>As <c>--task</c> names it.</summary>
    public required string Task { get; init; }

    /// <summary>SHA-256 of the data file; <see langword="null"/> where problems are generated.</summary>
    public string? Data { get; init; }

    /// <summary>The model's name.</summary>
    public required string Model { get; init; }

    /// <summary><see cref="Fingerprint"/> of the model's file.</summary>
    public required string ModelFingerprint { get; init; }

    /// <summary>Problems, from the first.</summary>
    public required int Items { get; init; }

    /// <summary>Worked examples before each problem, which are not among the problems; <see langword="null"/> for none.</summary>
    public int? Shots { get; init; }

    /// <summary>SHA-256 of the file that these are from; <see langword="null"/> where they are from <see cref="Data"/>, generated or none.</summary>
    public string? ShotsData { get; init; }

    /// <summary>S: draws of a problem at most.</summary>
    public required int Samples { get; init; }

    /// <summary>Of the draws; 0 for greedy answers, of which more than one makes no sense.</summary>
    public required float Temperature { get; init; }

    /// <summary>Of generated problems and of the draws.</summary>
    public required ulong Seed { get; init; }

    /// <summary>Whether options are chosen by their likelihood, with nothing drawn; of multiple choice, one sample.</summary>
    public bool Scores { get; init; }

    /// <summary>Tokens of a draw at most; <see langword="null"/> for what the context holds.</summary>
    public int? MaxTokens { get; init; }

    /// <summary>The policy that stopped drawing; <see langword="null"/> where all draws are made, whatever policies are compared on them.</summary>
    public string? Policy { get; init; }

    /// <summary>Whether a draw ends with its first false step, without an answer.</summary>
    public bool AbandonsFalse { get; init; }

    /// <summary>Of that policy, how often it may be wrong.</summary>
    public double? Delta { get; init; }

    /// <summary>Positions of the context.</summary>
    public required int Context { get; init; }

    /// <summary>How keys and values are stored.</summary>
    public required string KvType { get; init; }

    /// <summary>What computes the model.</summary>
    public required string Engine { get; init; }

    /// <summary>What became of malformed lines.</summary>
    public required string OnBadLine { get; init; }

    /// <summary>How answers are found and judged, where that was said.</summary>
    public string? Answers { get; init; }

    /// <summary>Throws unless every value is in its range.</summary>
    /// <exception cref="ErgonException">Names the setting, its value and the range.</exception>
    public void Validate()
    {
        if (Items < 1)
            throw new ErgonException($"items is {Items}, but must be 1 or more.");
        if (Samples < 1)
            throw new ErgonException($"samples is {Samples}, but must be 1 or more.");
        if (Scores && Samples > 1)
            throw new ErgonException($"samples is {Samples}, but options are chosen by likelihood, which is the same each time; use one sample, or generate.");
        if (Samples > 1 && Temperature == 0)
            throw new ErgonException($"samples is {Samples} at temperature 0, where all would be the same; use --temp 0.8, or one sample.");
    }
}
