using Ergon.Inference;

namespace Ergon.Cli.Bench;

/// <summary>Draws of one prompt, for benchmarks.</summary>
/// <param name="model">The model.</param>
/// <param name="prompt">Its tokens.</param>
/// <param name="logProbabilities">Whether tokens carry them.</param>
internal sealed class SharedDraws(ErgonModel model, int[] prompt, bool logProbabilities)
{
    /// <summary>Computes the prompt once, and draws that often side by side from its cache.</summary>
    public async Task RunAsync(int draws, int tokens, CancellationToken cancellation)
    {
        using var root = model.CreateSession();
        await GenerateAsync(root, 0, 1, cancellation);
        var forks = new List<Session>();
        try
        {
            for (var i = 0; i < draws; i++)
                forks.Add(await root.ForkAsync());
            await Task.WhenAll(forks.Select((fork, i) => Task.Run(() => GenerateAsync(fork, i, tokens, cancellation), cancellation)));
        }
        finally
        {
            forks.ForEach(f => f.Dispose());
        }
    }

    /// <summary>One draw in a session, of so many tokens.</summary>
    public async Task GenerateAsync(Session session, int seed, int tokens, CancellationToken cancellation)
    {
        var options = new GenerationOptions
        {
            MaxTokens = tokens, IgnoreEndOfGeneration = true, LogProbabilities = logProbabilities, Sampling = SamplingOptions.Whole(0.8f, (uint)seed),
        };
        await foreach (var _ in session.GenerateAsync(prompt, options, cancellation))
        {
        }
    }
}
