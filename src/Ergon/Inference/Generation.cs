using System.Diagnostics;
using System.Runtime.InteropServices;
using System.Threading.Channels;

namespace Ergon.Inference;

/// <summary>One running generation: what is left of its prompt, how it chooses tokens, and where they go. Used by the batcher's thread alone, but for the channel.</summary>
internal sealed class Generation : IDisposable
{
    private readonly TokenSampler _sampler;
    private readonly TextStream _text;
    private readonly GenerationOptions _options;
    private readonly Func<int, bool> _isEnd;
    private readonly Channel<GeneratedToken> _tokens = Channel.CreateUnbounded<GeneratedToken>(new() { SingleReader = true, SingleWriter = true });
    private readonly long _began;
    private readonly List<int> _known; // the prompt, and what was generated
    private readonly int _promptLength;
    private readonly int _before;
    private int _reused;
    private long _firstToken;
    private long _lastToken;
    private long _promptBegan;
    private int _completed;
    private double _logProbability;
    private int _rowsInFlight;

    /// <param name="sequence">The sequence of the engine that it extends.</param>
    /// <param name="prompt">The whole prompt, and after it what was generated before.</param>
    /// <param name="before">How many of its last tokens those are.</param>
    /// <param name="reusable">How many of its first tokens the sequence had at least once.</param>
    /// <param name="options">What to generate.</param>
    /// <param name="model">Whose vocabulary and context.</param>
    /// <param name="began">When it was asked for, a timestamp of <see cref="Stopwatch"/>.</param>
    /// <param name="cancellation">Ends it between two passes.</param>
    public Generation(int sequence, int[] prompt, int before, int reusable, GenerationOptions options, ErgonModel model, long began, CancellationToken cancellation)
    {
        _began = began;
        Sequence = sequence;
        _known = [.. prompt];
        _promptLength = prompt.Length - before;
        _before = before;
        Reusable = reusable;
        _options = options;
        Cancellation = cancellation;
        _isEnd = options.IgnoreEndOfGeneration ? _ => false : model.Tokenizer.IsEndOfGeneration;
        _sampler = new TokenSampler(model.Tokenizer.Vocabulary, options.Sampling, model.ContextLength);
        _text = new TextStream(model.Tokenizer.Vocabulary, options.StopSequences);
        RoomLeft = model.ContextLength - _promptLength;
        try
        {
            _sampler.AcceptPrompt(prompt.AsSpan(..^before));
            foreach (var token in prompt.AsSpan(^before..))
            {
                _sampler.AcceptGenerated(token);
                _completed++;
                _text.Append(token);
            }
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    public int Sequence { get; }

    public CancellationToken Cancellation { get; }

    /// <summary>The tokens as they come; completes when the generation ends.</summary>
    public ChannelReader<GeneratedToken> Tokens => _tokens.Reader;

    /// <summary>Set when it ended without a failure.</summary>
    public GenerationStatistics? Statistics { get; private set; }

    public bool Ended { get; private set; }

    /// <summary>How many tokens are in the cache; in its sequence.</summary>
    public int Next { get; private set; }

    /// <summary>Tokens that no pass has seen: of the prompt, and what was generated last.</summary>
    public int Left => _known.Count - Next;

    /// <summary>Of those <see cref="Left"/>, tokens that have no position yet: not in a pass in flight either.</summary>
    public int LeftToBegin => Left - _rowsInFlight;

    /// <summary>Tokens of the prompt.</summary>
    public int PromptLength => _promptLength;

    /// <summary>Whether the prompt is not computed yet; otherwise a pass takes one row.</summary>
    public bool IsPrefilling => Next < _promptLength;

    /// <summary>What the next pass takes, at most <paramref name="rows"/>. Tokens generated before come one by one, as they did: products of several rows round otherwise.</summary>
    public ReadOnlySpan<int> NextChunk(int rows) => CollectionsMarshal.AsSpan(_known).Slice(Next, Math.Min(rows, IsPrefilling ? _promptLength - Next : 1));

    /// <summary>First tokens that need not be computed where the cache still has them.</summary>
    public int Reusable { get; }

    /// <summary>Notes that the cache has the first <paramref name="count"/> tokens.</summary>
    public void Reuse(int count) => Next = _reused = count;

    /// <summary>Notes that the cache has lost all of it: the next passes compute it again.</summary>
    public void StartOver() => Next = _reused = 0;

    private int RoomLeft { get; set; }

    /// <summary>Notes that a pass with rows of this generation is about to run.</summary>
    public void EnterPass()
    {
        if (_promptBegan == 0)
            _promptBegan = Stopwatch.GetTimestamp();
    }

    /// <summary>Notes that a pass with rows of this generation is in flight.</summary>
    /// <param name="pass">The number of the pass.</param>
    /// <param name="rows">How many rows.</param>
    public void FlyWith(long pass, int rows) => (LastPass, _rowsInFlight) = (pass, rows);

    /// <summary>Notes that the pass is over.</summary>
    public void Land() => _rowsInFlight = 0;

    /// <summary>Whether a pass in flight has rows of it: its cells are the devices'.</summary>
    public bool IsInFlight => _rowsInFlight > 0;

    /// <summary>The number of the last pass that had rows of it.</summary>
    public long LastPass { get; private set; }

    /// <summary>Notes that a pass computed the next <paramref name="count"/> tokens.</summary>
    public void Advance(int count) => Next += count;

    /// <summary>Chooses and publishes the token after a row, and ends the generation where that is the last.</summary>
    public void Accept(ReadOnlySpan<float> logits, Native.Llama.Candidates candidates)
    {
        if (_sampler.Sample(logits, candidates) is not { } token)
        {
            Fail(new ErgonException("The grammar allows no token of this vocabulary here, so the answer cannot go on; change the grammar."));
            return;
        }
        double? logProbability = _options.LogProbabilities ? LogSoftmax.Of(logits, token) : null;
        _logProbability += logProbability ?? 0;
        _lastToken = Stopwatch.GetTimestamp();
        if (_completed++ == _before)
            _firstToken = _lastToken;
        if (_isEnd(token))
        {
            End(FinishReason.Stop);
            return;
        }
        var given = new GeneratedToken(token, _text.Append(token), (float?)logProbability);
        _tokens.Writer.TryWrite(given);
        _known.Add(token);
        if (_options.StopWhen?.Invoke(given) == true)
            End(FinishReason.Stop);
        else
            EndIfComplete();
    }

    /// <summary>Ends it where what is generated already is all that was asked for.</summary>
    public void EndIfComplete()
    {
        // The token itself needs a place before another can follow it.
        if (_text.Stopped)
            End(FinishReason.Stop);
        else if (_completed >= (_options.MaxTokens ?? int.MaxValue) || _completed > RoomLeft)
            End(FinishReason.Length);
    }

    /// <summary>Ends it and publishes what text was held back.</summary>
    public void End(FinishReason reason)
    {
        Ended = true;
        if (_text.Finish() is { Length: > 0 } rest)
            _tokens.Writer.TryWrite(new GeneratedToken(-1, rest));
        var promptEnd = _firstToken == 0 ? Stopwatch.GetTimestamp() : _firstToken;
        Statistics = new GenerationStatistics(_promptLength, Math.Min(_reused, _promptLength), _completed, reason, _firstToken == 0 ? null : Stopwatch.GetElapsedTime(_began, _firstToken),
            _promptBegan == 0 ? TimeSpan.Zero : Stopwatch.GetElapsedTime(_promptBegan, promptEnd), _completed > _before + 1 ? Stopwatch.GetElapsedTime(_firstToken, _lastToken) : TimeSpan.Zero)
        {
            LogProbability = _options.LogProbabilities ? _logProbability : null,
        };
        _tokens.Writer.TryComplete();
    }

    /// <summary>Ends it with an error for the reader.</summary>
    public void Fail(Exception error)
    {
        Ended = true;
        _tokens.Writer.TryComplete(error);
    }

    public void Dispose() => _sampler.Dispose();
}
