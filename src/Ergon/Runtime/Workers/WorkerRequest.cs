using System.Diagnostics;
using System.Threading.Channels;
using Ergon.Inference;

namespace Ergon.Runtime.Workers;

/// <summary>Something that a worker was asked for and has not ended. Its methods are called by the host's one reader.</summary>
internal abstract class WorkerRequest
{
    public uint Id { get; set; }

    /// <summary>Whether its reader wants no more of it.</summary>
    public bool IsCancelled { get; set; }

    /// <summary>Takes a frame of the worker.</summary>
    /// <returns>Whether it was the last.</returns>
    public abstract bool Take(WorkerFrame frame);

    /// <summary>Asks a worker for it, or for what is left of it.</summary>
    public abstract void Send(WorkerLink link);

    /// <summary>The worker is gone.</summary>
    /// <returns>Whether another worker may be asked; otherwise the request has ended.</returns>
    public abstract bool Survives(WorkerDiedException death, int maxRestarts);

    /// <summary>Ends it with an error for its reader.</summary>
    public abstract void Fail(Exception error);
}

/// <summary>A running generation and its journal: all that another worker needs to go on with it.</summary>
internal sealed class WorkerGeneration(int session, int[] prompt, GenerationOptions options) : WorkerRequest
{
    private readonly Channel<GeneratedToken> _tokens = Channel.CreateUnbounded<GeneratedToken>(new() { SingleReader = true, SingleWriter = true });
    private readonly long _began = Stopwatch.GetTimestamp();
    private long _firstToken;
    private long _lastToken;
    private long _died;
    private int _deaths; // since the last token
    private int _repeated; // tokens of the journal that this worker has given again
    private double _logProbability; // of the journal
    private double _before; // of the part of it that this worker was told, and does not count

    // Mirostat's state follows from logits that nobody kept, so its generations are computed again from the
    // prompt; the seed makes them draw the same tokens, which is checked.
    private bool IsRepeated => options.Sampling.Mirostat is not null;

    public ChannelReader<GeneratedToken> Tokens => _tokens.Reader;

    /// <summary>What it gave so far.</summary>
    public List<int> Journal { get; } = [];

    /// <summary>Set when it ended without a failure.</summary>
    public WorkerStatistics? Statistics { get; private set; }

    public int Restarts { get; private set; }

    public TimeSpan TimeLost { get; private set; }

    public override void Send(WorkerLink link)
    {
        _repeated = 0;
        _before = IsRepeated ? 0 : _logProbability;
        link.TrySend(WorkerMessage.Generate, Id, to => to
            .Int(session).Ints(prompt).Ints(IsRepeated ? [] : System.Runtime.InteropServices.CollectionsMarshal.AsSpan(Journal)).Write(options));
    }

    public override bool Take(WorkerFrame frame)
    {
        var payload = frame.Payload;
        switch (frame.Message)
        {
            case WorkerMessage.Token:
                return Take(new GeneratedToken(payload.Int(), payload.Text(), (float?)payload.OptionalDouble()));
            case WorkerMessage.Ended:
                var tail = payload.Text();
                var counts = payload.Statistics();
                Recover();
                if (tail.Length > 0)
                    _tokens.Writer.TryWrite(new GeneratedToken(-1, tail));
                End(counts);
                return true;
            case WorkerMessage.Failed:
                Fail(payload.Error());
                return true;
            default:
                return false;
        }
    }

    private bool Take(GeneratedToken token)
    {
        if (IsRepeated && _repeated < Journal.Count)
        {
            if (Journal[_repeated++] == token.Id)
                return false;
            Fail(new UnavailableException("The worker died, and the generation came out differently when it was repeated, as mirostat's may beside others; generate it anew."));
            return true;
        }
        Recover();
        _lastToken = Stopwatch.GetTimestamp();
        if (Journal.Count == 0)
            _firstToken = _lastToken;
        _deaths = 0;
        _repeated++;
        Journal.Add(token.Id);
        _logProbability += token.LogProbability ?? 0;
        _tokens.Writer.TryWrite(token);
        return false;
    }

    private void Recover()
    {
        if (_died == 0)
            return;
        TimeLost += Stopwatch.GetElapsedTime(_died);
        _died = 0;
    }

    public override bool Survives(WorkerDiedException death, int maxRestarts)
    {
        if (IsCancelled)
        {
            End(new GenerationStatistics(prompt.Length, 0, Journal.Count, FinishReason.Cancelled, null, TimeSpan.Zero, TimeSpan.Zero) { LogProbability = options.LogProbabilities ? _logProbability - _before : null });
            return false;
        }
        if (++_deaths > maxRestarts)
        {
            Fail(new UnavailableException($"The worker process died {_deaths} times in a row at token {Journal.Count + 1} of this answer, the last time because {death.How}. Try another --device."));
            return false;
        }
        Restarts++;
        if (_died == 0)
            _died = Stopwatch.GetTimestamp();
        return true;
    }

    public override void Fail(Exception error) => _tokens.Writer.TryComplete(error);

    private void End(GenerationStatistics counts)
    {
        Statistics = new WorkerStatistics(counts with
        {
            TimeToFirstToken = _firstToken == 0 ? null : Stopwatch.GetElapsedTime(_began, _firstToken),
            LogProbability = _before + counts.LogProbability,
            DecodeTime = Journal.Count > 1 ? Stopwatch.GetElapsedTime(_firstToken, _lastToken) : TimeSpan.Zero,
        }, Restarts, TimeLost);
        _tokens.Writer.TryComplete();
    }
}

/// <summary>Bytes of a session on their way. They are not kept, so a worker's death ends it.</summary>
internal sealed class WorkerTransfer(Action<WorkerLink, uint> send) : WorkerRequest
{
    private readonly Channel<byte[]> _chunks = Channel.CreateUnbounded<byte[]>(new() { SingleReader = true, SingleWriter = true });

    public ChannelReader<byte[]> Chunks => _chunks.Reader;

    /// <summary>The token ids that a worker restored.</summary>
    public int[] Tokens { get; private set; } = [];

    public override void Send(WorkerLink link) => send(link, Id);

    public override bool Take(WorkerFrame frame)
    {
        switch (frame.Message)
        {
            case WorkerMessage.Chunk:
                _chunks.Writer.TryWrite(frame.Memory.ToArray());
                return false;
            case WorkerMessage.Done:
                if (!frame.Memory.IsEmpty)
                {
                    var payload = frame.Payload;
                    Tokens = payload.Ints();
                }
                _chunks.Writer.TryComplete();
                return true;
            case WorkerMessage.Failed:
                var reason = frame.Payload;
                Fail(reason.Error());
                return true;
            default:
                return false;
        }
    }

    public override bool Survives(WorkerDiedException death, int maxRestarts)
    {
        Fail(new UnavailableException($"The worker process died while a session was being saved or restored ({death.How}); do it again."));
        return false;
    }

    public override void Fail(Exception error) => _chunks.Writer.TryComplete(error);
}

/// <summary>The counts and times of a generation in a worker.</summary>
/// <param name="Generation">As if it had run in one piece; times include what restarts took.</param>
/// <param name="Restarts">How often its worker died under it.</param>
/// <param name="TimeLost">From the notice of each death to the next token.</param>
public sealed record WorkerStatistics(GenerationStatistics Generation, int Restarts, TimeSpan TimeLost);
