using System.Security.Cryptography;
using Ergon.Native.Llama;

namespace Ergon.Inference;

/// <summary>Chooses one sequence's tokens by its <see cref="SamplingOptions"/>. Not thread-safe.</summary>
internal sealed class TokenSampler : IDisposable
{
    private static readonly string[] DryBreakers = ["\n", ":", "\"", "*"]; // llama.cpp's defaults
    private readonly SamplerChain? _chain;
    private readonly PlainDraw? _plain;
    private readonly GrammarSampler? _grammar;
    private readonly bool _learns;
    private int _generated;

    public TokenSampler(Vocabulary vocabulary, SamplingOptions options, int contextLength)
    {
        options.Validate(vocabulary.Count);
        _learns = options.Mirostat is not null;
        if (options.Grammar is { } grammar)
            _grammar = new GrammarSampler(vocabulary, grammar);
        try
        {
            if (IsPlainDraw(options))
                _plain = new PlainDraw(SeedOf(options), options.Temperature);
            else
                _chain = IsPlainGreedy(options) ? null : Chain(vocabulary, options, contextLength);
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    /// <summary>Chooses the token after a row.</summary>
    /// <param name="logits">[n_vocab].</param>
    /// <param name="candidates">Scratch space, shared by all samplers of one thread.</param>
    /// <returns>The token; <see langword="null"/> when the grammar allows none.</returns>
    public int? Sample(ReadOnlySpan<float> logits, Candidates candidates)
    {
        // Testing one token is cheap and narrowing the whole vocabulary is not, so the grammar is
        // asked about the free choice first, and a second draw is made only where it refuses, as
        // llama.cpp does. Mirostat learns from each draw, so there the narrowing comes first.
        _chain?.BeginDraw(_generated);
        var token = _plain is { } plain ? plain.Sample(logits, _generated) : _chain is null ? IndexOfMax(logits) : _learns && _grammar is not null ? -1 : _chain.Sample(logits, candidates);
        if (_grammar is not null && (token < 0 || !_grammar.Allows(token)))
        {
            token = _chain is null ? _grammar.Likeliest(logits, candidates) : _chain.Sample(logits, candidates, _grammar);
            if (token < 0)
                return null;
        }
        Accept(token);
        return token;
    }

    /// <summary>Goes on as if the sampler had just chosen <paramref name="token"/>. Mirostat alone does not: it learns from logits.</summary>
    /// <exception cref="ErgonException">The grammar does not allow it here.</exception>
    public void AcceptGenerated(int token)
    {
        if (_grammar is not null && !_grammar.Allows(token))
            throw new ErgonException("The grammar does not allow what was generated before; the two do not belong together.");
        Accept(token);
    }

    private void Accept(int token)
    {
        _generated++;
        _chain?.Accept(token);
        _grammar?.Accept(token);
    }

    /// <summary>Tells the penalties about a prompt's tokens.</summary>
    public void AcceptPrompt(ReadOnlySpan<int> tokens)
    {
        if (_chain is null)
            return;
        foreach (var token in tokens)
            _chain.Accept(token);
    }

    private static bool IsPlainGreedy(SamplingOptions o) => o.Temperature == 0 && IsUnbent(o);

    // Narrowing by a grammar needs candidates.
    private static bool IsPlainDraw(SamplingOptions o) =>
        o is { Temperature: > 0, TopK: <= 0, TopP: >= 1, MinP: <= 0, TypicalP: >= 1, Grammar: null, Xtc: null or { Probability: <= 0 } } && IsUnbent(o);

    private static bool IsUnbent(SamplingOptions o) =>
        o is { RepeatPenalty: 1, FrequencyPenalty: 0, PresencePenalty: 0, Dry: null, Mirostat: null } && (o.LogitBias?.Count ?? 0) == 0;

    private static uint SeedOf(SamplingOptions o) => o.Seed ?? BitConverter.ToUInt32(RandomNumberGenerator.GetBytes(4));

    private static SamplerChain Chain(Vocabulary vocabulary, SamplingOptions o, int contextLength)
    {
        var seed = SeedOf(o);
        var chain = new SamplerChain(vocabulary);
        if (o.LogitBias is { Count: > 0 } bias)
            chain.LogitBias(bias);
        if (o.RepeatPenalty != 1 || o.FrequencyPenalty != 0 || o.PresencePenalty != 0)
            chain.Penalties(LookBack(o.RepeatLastN), o.RepeatPenalty, o.FrequencyPenalty, o.PresencePenalty);
        if (o.Dry is { Multiplier: > 0 } dry)
            chain.Dry(dry.Multiplier, dry.Base, dry.AllowedLength, LookBack(dry.LastN), DryBreakers);
        if (o.Temperature == 0)
            return chain.Greedy();
        if (o.Mirostat is { } mirostat)
        {
            chain.Temperature(o.Temperature);
            return mirostat.Version == 1 ? chain.Mirostat(seed, mirostat.Tau, mirostat.Eta) : chain.MirostatV2(seed, mirostat.Tau, mirostat.Eta);
        }
        if (o.TopK > 0)
            chain.TopK(o.TopK);
        if (o.TypicalP < 1)
            chain.TypicalP(o.TypicalP);
        if (o.TopP < 1)
            chain.TopP(o.TopP);
        if (o.MinP > 0)
            chain.MinP(o.MinP);
        return chain.Draw(seed, o.Xtc is { Probability: > 0 } xtc ? (xtc.Probability, xtc.Threshold) : null, o.Temperature);

        // Native code allocates as much as it is told to look back.
        int LookBack(int tokens) => tokens < 0 ? contextLength : Math.Min(tokens, contextLength);
    }

    // The first of equals, as llama.cpp's greedy sampler.
    internal static int IndexOfMax(ReadOnlySpan<float> values) => values.IndexOf(LogSoftmax.Max(values));

    public void Dispose()
    {
        _chain?.Dispose();
        _grammar?.Dispose();
    }
}
