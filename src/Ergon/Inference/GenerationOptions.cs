namespace Ergon.Inference;

/// <summary>What to generate and when to stop.</summary>
public sealed record GenerationOptions
{
    /// <summary>Tokens at most; <see langword="null"/> for as many as the context holds.</summary>
    public int? MaxTokens { get; init; }

    /// <summary>Texts that end the answer; they are not part of it.</summary>
    public IReadOnlyList<string> StopSequences { get; init; } = [];

    /// <summary>Whether tokens that end an answer are generated past, for measurements. Default false.</summary>
    public bool IgnoreEndOfGeneration { get; init; }

    /// <summary>
    /// Ends the answer with the token for which it is true, as a stop does, but with that token's text; <see langword="null"/> for no such end. It is
    /// told each token as the reader is, but neither text that was held back to the end nor the token that ended the answer. It is called between two passes, on
    /// the thread that runs them: no token is computed past it, all generations wait for it, and so it must be quick. What it throws fails this generation alone, and is its reader's.
    /// One that remembers what it was told belongs to one generation.
    /// </summary>
    public Func<GeneratedToken, bool>? StopWhen { get; init; }

    /// <summary>
    /// Whether tokens come with their log-probabilities: natural logarithms under the model's own distribution, the softmax of its raw logits at
    /// temperature 1, before bias, penalties, grammar and truncation. Costs nothing where it is false, the default.
    /// </summary>
    public bool LogProbabilities { get; init; }

    /// <summary>How tokens are chosen.</summary>
    public SamplingOptions Sampling { get; init; } = new();

    /// <summary>Throws unless every value is in its range.</summary>
    /// <exception cref="ErgonException">Names the setting, its value and the range.</exception>
    public void Validate(int vocabularySize)
    {
        if (MaxTokens < 1)
            throw new ErgonException($"The number of tokens is {MaxTokens}, but must be 1 or more.");
        if (StopSequences.Contains(""))
            throw new ErgonException("A stop sequence is empty; leave it out.");
        Sampling.Validate(vocabularySize);
    }
}

/// <summary>A generated token.</summary>
/// <param name="Id">Its id; -1 for the text that was held back when the generation ended, which belongs to no token of its own.</param>
/// <param name="Text">The text that became certain with it: empty while a character is incomplete or a stop sequence may be starting.</param>
/// <param name="LogProbability">As <see cref="GenerationOptions.LogProbabilities"/> says; <see langword="null"/> where it was not asked for, and without an id.</param>
public readonly record struct GeneratedToken(int Id, string Text, float? LogProbability = null);

/// <summary>Why a generation ended.</summary>
public enum FinishReason
{
    /// <summary>The model ended its answer, or a stop sequence came.</summary>
    Stop,

    /// <summary>The number of tokens asked for, or the context, was reached.</summary>
    Length,

    /// <summary>The caller cancelled.</summary>
    Cancelled,
}

/// <summary>The counts and times of one generation.</summary>
/// <param name="PromptTokens">Tokens of the prompt.</param>
/// <param name="ReusedTokens">How many of them were in the cache already.</param>
/// <param name="CompletionTokens">Tokens generated, one that ended the answer included.</param>
/// <param name="FinishReason">Why it ended.</param>
/// <param name="TimeToFirstToken">From the call to the first token, waiting included; <see langword="null"/> when none came.</param>
/// <param name="PromptTime">Time spent on the prompt.</param>
/// <param name="DecodeTime">From the first token to the last.</param>
public sealed record GenerationStatistics(int PromptTokens, int ReusedTokens, int CompletionTokens, FinishReason FinishReason, TimeSpan? TimeToFirstToken, TimeSpan PromptTime, TimeSpan DecodeTime)
{
    /// <summary>The sum of the log-probabilities of all <see cref="CompletionTokens"/>, in nats; <see langword="null"/> unless <see cref="GenerationOptions.LogProbabilities"/> asked for it.</summary>
    public double? LogProbability { get; init; }

    /// <summary>Prompt tokens computed a second; 0 when none were.</summary>
    public double PromptTokensPerSecond => Rate(PromptTokens - ReusedTokens, PromptTime);

    /// <summary>Tokens generated a second after the first; 0 when there was only one.</summary>
    public double TokensPerSecond => Rate(CompletionTokens - 1, DecodeTime);

    private static double Rate(int count, TimeSpan time) => count > 0 && time > TimeSpan.Zero ? count / time.TotalSeconds : 0;
}
