using Ergon.Inference;
using Ergon.Native;

namespace Ergon.Runtime.Workers;

/// <summary>What a worker tells about the model that it loaded.</summary>
internal sealed record WorkerModel(int ContextLength, int MaxSequences, int VocabularySize, int Threads, string Device);

/// <summary>The records that cross between host and worker, field by field.</summary>
internal static class WorkerPayloads
{
    public static void Write(this WorkerWriter to, ModelOptions o) => to
        .OptionalText(o.Device).OptionalInt(o.ContextLength).OptionalInt(o.Threads).OptionalInt((int?)o.KvType).Int(o.MaxSequences).OptionalInt(o.CacheLength).Int((int)o.Engine);

    public static ModelOptions ModelOptions(ref this WorkerReader from) => new()
    {
        Device = from.OptionalText(),
        ContextLength = from.OptionalInt(),
        Threads = from.OptionalInt(),
        KvType = (KvCacheType?)from.OptionalInt(),
        MaxSequences = from.Int(),
        CacheLength = from.OptionalInt(),
        // A worker is a process of its own already: no trial.
        Engine = (EngineChoice)from.Int(),
    };

    public static void Write(this WorkerWriter to, WorkerModel m) => to.Int(m.ContextLength).Int(m.MaxSequences).Int(m.VocabularySize).Int(m.Threads).Text(m.Device);

    public static WorkerModel Model(ref this WorkerReader from) => new(from.Int(), from.Int(), from.Int(), from.Int(), from.Text());

    /// <summary>All but what is called: <see cref="Inference.GenerationOptions.StopWhen"/> stays with the host.</summary>
    public static void Write(this WorkerWriter to, GenerationOptions o)
    {
        to.OptionalInt(o.MaxTokens).Bool(o.IgnoreEndOfGeneration).Bool(o.LogProbabilities).Int(o.StopSequences.Count);
        foreach (var stop in o.StopSequences)
            to.Text(stop);
        var s = o.Sampling;
        to.Float(s.Temperature).Int(s.TopK).Float(s.TopP).Float(s.MinP).Float(s.TypicalP)
            .Float(s.RepeatPenalty).Int(s.RepeatLastN).Float(s.FrequencyPenalty).Float(s.PresencePenalty)
            .OptionalInt((int?)s.Seed).OptionalText(s.Grammar);
        to.Bool(s.Dry is not null);
        if (s.Dry is { } dry)
            to.Float(dry.Multiplier).Float(dry.Base).Int(dry.AllowedLength).Int(dry.LastN);
        to.Bool(s.Xtc is not null);
        if (s.Xtc is { } xtc)
            to.Float(xtc.Probability).Float(xtc.Threshold);
        to.Bool(s.Mirostat is not null);
        if (s.Mirostat is { } mirostat)
            to.Int(mirostat.Version).Float(mirostat.Tau).Float(mirostat.Eta);
        to.Int(s.LogitBias?.Count ?? 0);
        foreach (var (token, bias) in s.LogitBias ?? new Dictionary<int, float>())
            to.Int(token).Float(bias);
    }

    public static GenerationOptions GenerationOptions(ref this WorkerReader from)
    {
        var options = new GenerationOptions { MaxTokens = from.OptionalInt(), IgnoreEndOfGeneration = from.Bool(), LogProbabilities = from.Bool() };
        var stops = new string[from.Count(sizeof(int))];
        for (var i = 0; i < stops.Length; i++)
            stops[i] = from.Text();
        var sampling = new SamplingOptions
        {
            Temperature = from.Float(),
            TopK = from.Int(),
            TopP = from.Float(),
            MinP = from.Float(),
            TypicalP = from.Float(),
            RepeatPenalty = from.Float(),
            RepeatLastN = from.Int(),
            FrequencyPenalty = from.Float(),
            PresencePenalty = from.Float(),
            Seed = (uint?)from.OptionalInt(),
            Grammar = from.OptionalText(),
            Dry = from.Bool() ? new DryOptions(from.Float(), from.Float(), from.Int(), from.Int()) : null,
            Xtc = from.Bool() ? new XtcOptions(from.Float(), from.Float()) : null,
            Mirostat = from.Bool() ? new MirostatOptions(from.Int(), from.Float(), from.Float()) : null,
        };
        var bias = new Dictionary<int, float>();
        for (var left = from.Count(sizeof(int) + sizeof(float)); left > 0; left--)
            bias[from.Int()] = from.Float();
        return options with { StopSequences = stops, Sampling = sampling with { LogitBias = bias.Count > 0 ? bias : null } };
    }

    public static void Write(this WorkerWriter to, GenerationStatistics s) => to
        .Int(s.PromptTokens).Int(s.ReusedTokens).Int(s.CompletionTokens).Int((int)s.FinishReason).Long(s.PromptTime.Ticks).OptionalDouble(s.LogProbability);

    /// <summary>The counts; times that the reader sees are the host's to measure.</summary>
    public static GenerationStatistics Statistics(ref this WorkerReader from) =>
        new(from.Int(), from.Int(), from.Int(), (FinishReason)from.Int(), null, new TimeSpan(from.Long()), TimeSpan.Zero) { LogProbability = from.OptionalDouble() };

    /// <summary>An error keeps its kind, on which exit codes and retries depend.</summary>
    public static void Write(this WorkerWriter to, Exception e) => to
        .Int(e switch { NativeException => 1, UnavailableException => 2, ErgonException => 0, _ => 3 })
        .Int((e as NativeException)?.Code ?? 0)
        .Text(e is ErgonException ? e.Message : $"The worker met an error of Ergon's own ({e.GetType().Name}: {e.Message}).");

    public static ErgonException Error(ref this WorkerReader from)
    {
        var (kind, code, message) = (from.Int(), from.Int(), from.Text());
        return kind switch
        {
            1 => new NativeException(message, code),
            2 or 3 => new UnavailableException(message),
            _ => new ErgonException(message),
        };
    }
}
