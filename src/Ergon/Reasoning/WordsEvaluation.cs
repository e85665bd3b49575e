using System.Diagnostics;
using System.Globalization;
using Ergon.Inference;
using Ergon.Models.Templates;

namespace Ergon.Reasoning;

/// <summary>What to evaluate a model on, and how.</summary>
public sealed record WordsEvaluationOptions
{
    /// <summary>Held-out problems. Default 500.</summary>
    public int Items { get; init; } = 500;

    /// <summary>Samples a problem. Default 1.</summary>
    public int Samples { get; init; } = 1;

    /// <summary>0 for greedy answers, of which more than one makes no sense. Default 0.</summary>
    public float Temperature { get; init; }

    /// <summary>Chooses the problems and the draws. Default <see cref="WordProblems.EvaluationSeed"/>.</summary>
    public ulong Seed { get; init; } = WordProblems.EvaluationSeed;

    /// <summary>Throws unless every value is in its range.</summary>
    /// <exception cref="ErgonException">Names the setting, its value and the range.</exception>
    public void Validate()
    {
        if (Items < 1)
            throw new ErgonException($"items is {Items}, but must be 1 or more.");
        if (Samples < 1)
            throw new ErgonException($"samples is {Samples}, but must be 1 or more.");
        if (Samples > 1 && Temperature == 0)
            throw new ErgonException($"samples is {Samples} at temperature 0, where all would be the same; use --temp 0.8, or one sample.");
    }
}

/// <summary>How a model did.</summary>
/// <param name="Items">Problems.</param>
/// <param name="Samples">Samples a problem.</param>
/// <param name="Accuracy">Share of right answers among all samples.</param>
/// <param name="PassAtK">Unbiased pass@k for k = 1, 2, 4, ... up to the samples.</param>
/// <param name="PromptTokens">Tokens of all prompts, each counted once a problem.</param>
/// <param name="CompletionTokens">Tokens generated.</param>
/// <param name="Time">Wall-clock time.</param>
public sealed record EvaluationResult(int Items, int Samples, double Accuracy, IReadOnlyDictionary<int, double> PassAtK, long PromptTokens, long CompletionTokens, TimeSpan Time);

/// <summary>Measures a model on generated word problems that no training saw.</summary>
public static class WordsEvaluation
{
    /// <summary>Runs as many problems at a time as the model has sessions; the result does not depend on how many, but for rounding in batched arithmetic.</summary>
    /// <param name="model">A model with a chat template and no open session.</param>
    /// <param name="options">What to evaluate.</param>
    /// <param name="progress">Told how many problems are done.</param>
    /// <param name="cancellation">Stops it.</param>
    public static async Task<EvaluationResult> RunAsync(ErgonModel model, WordsEvaluationOptions options, IProgress<int>? progress = null, CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(model);
        ArgumentNullException.ThrowIfNull(options);
        options.Validate();
        var began = Stopwatch.GetTimestamp();
        WordProblem[] problems = [.. WordProblems.HeldOut(options.Seed).Take(options.Items)];
        var right = new int[problems.Length];
        int next = -1, done = 0;
        long promptTokens = 0, completionTokens = 0;
        using var failed = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        await Task.WhenAll(Enumerable.Range(0, Math.Min(model.MaxSequences, problems.Length)).Select(_ => Task.Run(WorkAsync, cancellation))).ConfigureAwait(false);
        var ks = Enumerable.Range(0, 31).Select(i => 1 << i).TakeWhile(k => k <= options.Samples);
        return new EvaluationResult(problems.Length, options.Samples, right.Sum() / ((double)problems.Length * options.Samples),
            ks.ToDictionary(k => k, k => right.Average(c => PassAtK.Estimate(options.Samples, c, k))), promptTokens, completionTokens, Stopwatch.GetElapsedTime(began));

        async Task WorkAsync()
        {
            using var session = model.CreateSession();
            try
            {
                int item;
                while ((item = Interlocked.Increment(ref next)) < problems.Length)
                {
                    var prompt = model.Tokenize(new ChatTemplateInput { Messages = [new ChatTemplateMessage("user", problems[item].Question)] });
                    Interlocked.Add(ref promptTokens, prompt.Length);
                    // The session keeps the prompt's cache, so it is computed once for all samples.
                    for (var sample = 0; sample < options.Samples; sample++)
                    {
                        var text = new System.Text.StringBuilder();
                        var sampling = new SamplingOptions { Temperature = options.Temperature, TopK = 0, TopP = 1, MinP = 0, Seed = DrawSeed(options.Seed, item, sample) };
                        await foreach (var token in session.GenerateAsync(prompt, new GenerationOptions { Sampling = sampling }, failed.Token).ConfigureAwait(false))
                            text.Append(token.Text);
                        Interlocked.Add(ref completionTokens, session.Statistics!.CompletionTokens);
                        if (IsRight(text.ToString(), problems[item].Answer))
                            right[item]++;
                    }
                    progress?.Report(Interlocked.Increment(ref done));
                }
            }
            catch
            {
                // One failure ends the evaluation: a figure over fewer problems would not be what was asked for.
                await failed.CancelAsync().ConfigureAwait(false);
                throw;
            }
        }
    }

    /// <summary>Whether the number after the last <c>####</c> of an answer is the right one.</summary>
    public static bool IsRight(string text, int answer)
    {
        ArgumentNullException.ThrowIfNull(text);
        var mark = text.LastIndexOf("####", StringComparison.Ordinal);
        return mark >= 0 && int.TryParse(text.AsSpan(mark + 4).Trim(), NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out var number) && number == answer;
    }

    // Every draw has a stream of its own, whatever runs beside it.
    internal static uint DrawSeed(ulong seed, int item, int sample) => (uint)new SplitMix64(seed ^ 0x5eed, ((ulong)item << 32) | (uint)sample).Next();
}
