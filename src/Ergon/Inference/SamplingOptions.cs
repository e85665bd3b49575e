namespace Ergon.Inference;

/// <summary>How the next token is chosen from the logits. The defaults choose the likeliest.</summary>
/// <remarks>Order and meaning are llama.cpp's: bias, penalties, DRY, top-k, typical, top-p, min-p, XTC, temperature, draw.</remarks>
public sealed record SamplingOptions
{
    /// <summary>0 chooses the likeliest token (greedy); above 0 draws, flatter the higher. Default 0.</summary>
    public float Temperature { get; init; }

    /// <summary>Draws among this many likeliest tokens; 0 for all. Default 40.</summary>
    public int TopK { get; init; } = 40;

    /// <summary>Draws among the likeliest tokens that together reach this probability; 1 for all. Default 0.95.</summary>
    public float TopP { get; init; } = 0.95f;

    /// <summary>Leaves out tokens less likely than this share of the likeliest; 0 for none. Default 0.05.</summary>
    public float MinP { get; init; } = 0.05f;

    /// <summary>Locally typical sampling (arXiv 2202.00666); 1 turns it off. Default 1.</summary>
    public float TypicalP { get; init; } = 1;

    /// <summary>Divides the logits of recent tokens; 1 turns it off. Default 1.</summary>
    public float RepeatPenalty { get; init; } = 1;

    /// <summary>How many recent tokens the penalties look at; -1 for the whole context. Default 64.</summary>
    public int RepeatLastN { get; init; } = 64;

    /// <summary>Subtracted from a recent token's logit for each time it occurred. Default 0.</summary>
    public float FrequencyPenalty { get; init; }

    /// <summary>Subtracted from a recent token's logit once. Default 0.</summary>
    public float PresencePenalty { get; init; }

    /// <summary>Penalises repeated sequences; <see langword="null"/> turns it off.</summary>
    public DryOptions? Dry { get; init; }

    /// <summary>Leaves out the likeliest tokens now and then; <see langword="null"/> turns it off.</summary>
    public XtcOptions? Xtc { get; init; }

    /// <summary>Holds the surprise of the text at a level instead of top-k, top-p and the like; <see langword="null"/> turns it off.</summary>
    public MirostatOptions? Mirostat { get; init; }

    /// <summary>Added to the logits of single tokens; minus infinity forbids one.</summary>
    public IReadOnlyDictionary<int, float>? LogitBias { get; init; }

    /// <summary>Makes draws repeatable; <see langword="null"/> takes a seed from the system.</summary>
    public uint? Seed { get; init; }

    /// <summary>A grammar in GBNF that the text must follow; <see langword="null"/> for none.</summary>
    public string? Grammar { get; init; }

    /// <summary>Draws from the model's whole distribution: nothing is cut off.</summary>
    internal static SamplingOptions Whole(float temperature, uint seed) => new() { Temperature = temperature, TopK = 0, TopP = 1, MinP = 0, Seed = seed };

    /// <summary>Throws unless every value is in its range.</summary>
    /// <exception cref="ErgonException">Names the setting, its value and the range.</exception>
    public void Validate(int vocabularySize)
    {
        Require(Temperature is >= 0 and <= 100, "temperature", Temperature, "0 to 100");
        Require(TopK >= 0, "top-k", TopK, "0 (all) or more");
        Require(TopP is > 0 and <= 1, "top-p", TopP, "above 0, up to 1");
        Require(MinP is >= 0 and <= 1, "min-p", MinP, "0 to 1");
        Require(TypicalP is > 0 and <= 1, "typical-p", TypicalP, "above 0, up to 1");
        Require(RepeatPenalty is > 0 and <= 100, "repeat-penalty", RepeatPenalty, "above 0, up to 100");
        Require(RepeatLastN >= -1, "repeat-last-n", RepeatLastN, "-1 (the whole context) or more");
        Require(float.IsFinite(FrequencyPenalty), "frequency-penalty", FrequencyPenalty, "a finite number");
        Require(float.IsFinite(PresencePenalty), "presence-penalty", PresencePenalty, "a finite number");
        if (Dry is { } dry)
        {
            Require(dry.Multiplier is >= 0 and <= 100, "dry-multiplier", dry.Multiplier, "0 to 100");
            Require(dry.Base is >= 1 and <= 100, "dry-base", dry.Base, "1 to 100");
            Require(dry.AllowedLength >= 0, "dry-allowed-length", dry.AllowedLength, "0 or more");
            Require(dry.LastN >= -1, "dry-penalty-last-n", dry.LastN, "-1 (the whole context) or more");
        }
        if (Xtc is { } xtc)
        {
            Require(xtc.Probability is >= 0 and <= 1, "xtc-probability", xtc.Probability, "0 to 1");
            Require(xtc.Threshold is >= 0 and <= 1, "xtc-threshold", xtc.Threshold, "0 to 1");
        }
        if (Mirostat is { } mirostat)
        {
            Require(mirostat.Version is 1 or 2, "mirostat", mirostat.Version, "1 or 2");
            Require(mirostat.Tau is > 0 and <= 100, "mirostat-tau", mirostat.Tau, "above 0, up to 100");
            Require(mirostat.Eta is > 0 and <= 1, "mirostat-eta", mirostat.Eta, "above 0, up to 1");
        }
        foreach (var (token, bias) in LogitBias ?? new Dictionary<int, float>())
        {
            Require(token >= 0 && token < vocabularySize, "logit-bias", token, $"a token id of 0 to {vocabularySize - 1}");
            Require(!float.IsNaN(bias) && !float.IsPositiveInfinity(bias), "logit-bias", bias, "a number below infinity");
        }
    }

    private static void Require<T>(bool condition, string setting, T value, string range)
    {
        if (!condition)
            throw new ErgonException(string.Create(System.Globalization.CultureInfo.InvariantCulture, $"{setting} is {value}, but must be {range}."));
    }
}

/// <summary>DRY: a penalty that grows with the length of a repeated sequence (llama.cpp's <c>--dry-*</c>).</summary>
/// <param name="Multiplier">Strength; 0 turns it off.</param>
/// <param name="Base">Growth per token of the repeated sequence.</param>
/// <param name="AllowedLength">Repetitions up to this many tokens are free.</param>
/// <param name="LastN">How far to look back; -1 for the whole context.</param>
public sealed record DryOptions(float Multiplier, float Base = 1.75f, int AllowedLength = 2, int LastN = -1);

/// <summary>XTC: with a probability, leaves out all but the least likely of the tokens above a threshold.</summary>
/// <param name="Probability">How often, 0 to 1.</param>
/// <param name="Threshold">Tokens at least this likely are candidates for leaving out; above 0.5 nothing is.</param>
public sealed record XtcOptions(float Probability, float Threshold = 0.1f);

/// <summary>Mirostat (arXiv 2007.14966).</summary>
/// <param name="Version">1 or 2.</param>
/// <param name="Tau">Target surprise, in bits.</param>
/// <param name="Eta">Learning rate.</param>
public sealed record MirostatOptions(int Version = 2, float Tau = 5, float Eta = 0.1f);
