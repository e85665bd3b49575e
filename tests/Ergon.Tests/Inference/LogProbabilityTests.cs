using Ergon.Inference;
using Ergon.Native;

namespace Ergon.Tests.Inference;

public sealed class LogProbabilityTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    private ErgonModel Load(int sequences = 1, string architecture = "llama", EngineChoice engine = EngineChoice.Ergon) =>
        ErgonModel.Load(new RandomModel(architecture, GgmlType.F32).Write(_folder.Path), new ModelOptions { Threads = 1, ContextLength = 256, MaxSequences = sequences, Engine = engine });

    // ln softmax of the logits before each token but the first, by the definition.
    private static async Task<double[]> Expected(ErgonModel model, int[] tokens) => await model.Batcher.InvokeAsync(engine =>
    {
        var sequence = engine.Cells.Open()!.Value;
        Assert.True(engine.TryRun([.. tokens.Select(t => new PassRow(sequence, t, WantsLogits: true))], out var logits));
        var result = new double[tokens.Length - 1];
        for (var i = 0; i < result.Length; i++)
        {
            var row = logits.Slice(i * engine.VocabularySize, engine.VocabularySize).ToArray();
            result[i] = row[tokens[i + 1]] - Math.Log(row.Sum(x => Math.Exp(x)));
        }
        engine.Cells.Close(sequence);
        return result;
    });

    [Fact]
    public async Task Tokens_carry_the_log_softmax_of_the_raw_logits_whatever_the_sampler_makes_of_them()
    {
        using var model = Load(2);
        using var session = model.CreateSession();
        int[] prompt = [5, 9, 200, 33];
        var options = new GenerationOptions
        {
            MaxTokens = 30,
            IgnoreEndOfGeneration = true,
            LogProbabilities = true,
            Sampling = new SamplingOptions { Temperature = 0.7f, TopK = 20, RepeatPenalty = 1.5f, Seed = 3, LogitBias = new Dictionary<int, float> { [7] = 8 } },
        };
        List<GeneratedToken> tokens = [];
        await foreach (var token in session.GenerateAsync(prompt, options))
            tokens.Add(token);
        tokens.RemoveAll(t => t.Id < 0);
        var expected = await Expected(model, [.. prompt, .. tokens.Select(t => t.Id)]);
        foreach (var (token, value) in tokens.Zip(expected[^tokens.Count..]))
            Assert.Equal(value, token.LogProbability!.Value, 1e-3);
        Assert.Equal(expected[^tokens.Count..].Sum(), session.Statistics!.LogProbability!.Value, 1e-2);
    }

    [Fact]
    public async Task Without_being_asked_for_there_is_none()
    {
        using var model = Load();
        using var session = model.CreateSession();
        await foreach (var token in session.GenerateAsync([5, 9], new GenerationOptions { MaxTokens = 3, IgnoreEndOfGeneration = true }))
            Assert.Null(token.LogProbability);
        Assert.Null(session.Statistics!.LogProbability);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(7)]
    [InlineData(16)]
    [InlineData(1003)]
    public void The_softmax_is_exact_for_any_length_and_size_of_logits(int length)
    {
        var random = new Random(length);
        foreach (var scale in new[] { 0.01f, 5, 1e4f })
        {
            float[] logits = [.. Enumerable.Range(0, length).Select(_ => scale * ((2 * random.NextSingle()) - 1))];
            var max = (double)logits.Max();
            var all = Math.Log(logits.Sum(x => Math.Exp(x - max)));
            for (var token = 0; token < length; token += 1 + (length / 10))
                Assert.Equal(logits[token] - max - all, LogSoftmax.Of(logits, token), 1e-5);
        }
    }

    // Two sessions: one text at a time; nine: all in one pass. Layers with a window and with short convolutions, and another engine.
    [Theory]
    [InlineData(2, "llama", EngineChoice.Ergon)]
    [InlineData(9, "llama", EngineChoice.Ergon)]
    [InlineData(2, "gemma3", EngineChoice.Ergon)]
    [InlineData(9, "gemma3", EngineChoice.Ergon)]
    [InlineData(4, "lfm2", EngineChoice.Ergon)]
    [InlineData(4, "llama", EngineChoice.Libllama)]
    public async Task Texts_have_the_likelihood_of_their_tokens_after_the_prompt(int sequences, string architecture, EngineChoice engine)
    {
        using var model = Load(sequences, architecture, engine);
        const string prompt = "The answer is t";
        // "he" is one token, and reaches over the border.
        string[] texts = [" 4", "a", "he cat sat on the mat", "here", new('x', 200)];
        var scores = await LogLikelihood.ScoreAsync(model, prompt, texts);
        var before = model.Tokenizer.Tokenize(prompt, addSpecial: true, parseSpecial: false);
        foreach (var (text, score) in texts.Zip(scores))
        {
            var whole = model.Tokenizer.Tokenize(prompt + text, addSpecial: true, parseSpecial: false);
            var start = whole.AsSpan().CommonPrefixLength(before);
            Assert.Equal(whole.Length - start, score.Tokens);
            var expected = (await Expected(model, whole)).Skip(start - 1).Sum();
            Assert.Equal(expected, score.LogProbability, 1e-3 * Math.Abs(expected));
            Assert.Equal(expected / score.Tokens, score.PerToken, 1e-2);
        }
        // What it opened it has closed.
        Session[] sessions = [.. Enumerable.Range(0, sequences).Select(_ => model.CreateSession())];
        Assert.All(sessions, s => s.Dispose());
    }

    [Fact]
    public async Task Scoring_refuses_what_it_cannot_score()
    {
        using var alone = Load();
        Assert.Contains("2 free sessions", (await Assert.ThrowsAsync<ErgonException>(() => LogLikelihood.ScoreAsync(alone, "ab", ["cd"]))).Message, StringComparison.Ordinal);
        using var model = Load(2);
        Assert.Contains("adds no token", (await Assert.ThrowsAsync<ErgonException>(() => LogLikelihood.ScoreAsync(model, "ab", ["c", ""]))).Message, StringComparison.Ordinal);
        Assert.Contains("the context holds 256", (await Assert.ThrowsAsync<ErgonException>(() => LogLikelihood.ScoreAsync(model, "ab", [new string('x', 300)]))).Message, StringComparison.Ordinal);
    }
}
