using System.Diagnostics;
using Ergon.Inference;

namespace Ergon.Reasoning.Evaluation;

/// <summary>Perplexity chunk by chunk, each a line of the journal.</summary>
internal static class PerplexityEvaluation
{
    /// <summary>Measures what the journal lacks.</summary>
    /// <param name="model">As for <see cref="Perplexity.MeasureAsync(ErgonModel, string, IProgress{ValueTuple{PerplexityResult, int}}?, CancellationToken)"/>.</param>
    /// <param name="tokens">Of <see cref="Perplexity.Tokens"/>.</param>
    /// <param name="chunks">How many, from the first.</param>
    /// <param name="journal">Has the chunks that need not be measured again, and gets the others.</param>
    /// <param name="meter">Gets no session; <see langword="null"/> meters nothing.</param>
    /// <param name="progress">Told the result so far after each chunk, and how many chunks there are.</param>
    /// <param name="cancellation">Stops between two passes.</param>
    public static async Task<PerplexityResult> RunAsync(
        ErgonModel model, int[] tokens, int chunks, EvaluationJournal journal, Metering? meter, IProgress<(PerplexityResult SoFar, int Chunks)>? progress = null, CancellationToken cancellation = default)
    {
        var start = Stopwatch.GetTimestamp();
        List<ChunkLoss> losses = [];
        while (losses.Count < chunks)
        {
            if (journal.Find(losses.Count, 0) is not { Loss: { } loss })
            {
                var (began, close) = (Stopwatch.GetTimestamp(), meter?.Invoke(null));
                loss = await Perplexity.MeasureAsync(model, tokens, losses.Count, cancellation).ConfigureAwait(false);
                var seconds = Stopwatch.GetElapsedTime(began).TotalSeconds;
                journal.Add(new EvaluatedDraw
                {
                    Item = losses.Count,
                    Sample = 0,
                    Id = $"chunk/{losses.Count}",
                    Text = "",
                    Loss = loss,
                    PromptTokens = model.ContextLength,
                    Seconds = seconds,
                    Energy = close is null ? null : DrawEnergy.Of(await close(0).ConfigureAwait(false), null),
                    At = journal.Seconds + Stopwatch.GetElapsedTime(start).TotalSeconds,
                });
            }
            losses.Add(loss);
            progress?.Report((Perplexity.Result(losses), chunks));
        }
        return Perplexity.Result(losses);
    }
}
