using Ergon.Inference;
using Ergon.Native.Llama;

namespace Ergon.Cli.Bench;

/// <summary>One of two engines that do the same work.</summary>
internal interface IContender
{
    /// <summary>Computes a prompt, in passes of up to 512 tokens; the logits of the last are wanted.</summary>
    void Prefill(ReadOnlySpan<int> prompt);

    /// <summary>Appends tokens one by one to several empty sequences at once, with the logits of each.</summary>
    /// <param name="tokens">One row of a token for each sequence after another.</param>
    /// <param name="sequences">How many.</param>
    void Decode(ReadOnlySpan<int> tokens, int sequences);
}

/// <summary>Ergon's engine, called on its own thread.</summary>
internal sealed class ErgonContender(IEngine engine) : IContender
{
    private readonly PassRow[] _rows = new PassRow[Engine.MaxRows];

    /// <summary>Told what each segment did in each pass.</summary>
    public Action<SegmentReport>? Seen { get; set; }

    public void Prefill(ReadOnlySpan<int> prompt)
    {
        var sequence = engine.Cells.Open()!.Value;
        for (var start = 0; start < prompt.Length; start += Engine.MaxRows)
        {
            var count = Math.Min(Engine.MaxRows, prompt.Length - start);
            for (var i = 0; i < count; i++)
                _rows[i] = new PassRow(sequence, prompt[start + i], WantsLogits: start + i == prompt.Length - 1);
            Run(count);
        }
        engine.Cells.Close(sequence);
    }

    public void Decode(ReadOnlySpan<int> tokens, int sequences)
    {
        var ids = new int[sequences];
        for (var s = 0; s < sequences; s++)
            ids[s] = engine.Cells.Open()!.Value;
        for (var start = 0; start < tokens.Length; start += sequences)
        {
            for (var s = 0; s < sequences; s++)
                _rows[s] = new PassRow(ids[s], tokens[start + s], WantsLogits: true);
            Run(sequences);
        }
        foreach (var id in ids)
            engine.Cells.Close(id);
    }

    private void Run(int count)
    {
        if (!engine.TryRun(_rows.AsSpan(0, count), out _))
            throw new InvalidOperationException("The benchmark's cache is too small for its tests.");
        if (Seen is null)
            return;
        foreach (var segment in engine.Reports)
            Seen(segment);
    }
}

/// <summary>libllama, on the same thread and the same pool of threads.</summary>
internal sealed class LlamaContender(LlamaContext context) : IContender
{
    private readonly LlamaRow[] _rows = new LlamaRow[Engine.MaxRows];

    public void Prefill(ReadOnlySpan<int> prompt)
    {
        context.Clear();
        for (var start = 0; start < prompt.Length; start += Engine.MaxRows)
        {
            var count = Math.Min(Engine.MaxRows, prompt.Length - start);
            for (var i = 0; i < count; i++)
                _rows[i] = new LlamaRow(0, start + i, prompt[start + i], WantsLogits: start + i == prompt.Length - 1);
            context.Decode(_rows.AsSpan(0, count));
        }
    }

    public void Decode(ReadOnlySpan<int> tokens, int sequences)
    {
        context.Clear();
        for (var start = 0; start < tokens.Length; start += sequences)
        {
            for (var s = 0; s < sequences; s++)
                _rows[s] = new LlamaRow(s, start / sequences, tokens[start + s], WantsLogits: true);
            context.Decode(_rows.AsSpan(0, sequences));
        }
    }
}
