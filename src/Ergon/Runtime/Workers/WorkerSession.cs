using System.Runtime.CompilerServices;
using System.Security.Cryptography;
using System.Threading.Channels;
using Ergon.Inference;

namespace Ergon.Runtime.Workers;

/// <summary>A <see cref="Session"/> in a worker: the same contract, but that it outlives the worker.</summary>
public sealed class WorkerSession : IDisposable
{
    private const int ChunkBytes = 1 << 18;

    private readonly WorkerHost _host;
    private readonly int _number;
    private readonly Lock _gate = new();
    private int[] _tokens = []; // of the last prompt and answer: what a worker's session has, or can have again
    private WorkerRequest? _request;
    private bool _busy;
    private bool _disposed;

    internal WorkerSession(WorkerHost host, int number) => (_host, _number) = (host, number);

    /// <summary>Counts and times of the last generation; <see langword="null"/> before the first ends, while one runs, and after one failed.</summary>
    public WorkerStatistics? Statistics { get; private set; }

    /// <summary>Generates after a prompt, whatever becomes of the worker meanwhile.</summary>
    /// <param name="prompt">The whole prompt, what was said before included; token ids of the model's vocabulary.</param>
    /// <param name="options">
    /// What to generate; <see langword="null"/> for greedy tokens up to the end of the answer or of the context. <see cref="GenerationOptions.StopWhen"/> is called in this
    /// process, as the reader takes a token: no token is given past the one for which it is true, but those that the worker computed meanwhile are spent and counted.
    /// </param>
    /// <param name="cancellation">Ends the generation between two passes.</param>
    /// <exception cref="ErgonException">The prompt is empty or does not fit, an option is out of range, or the model failed.</exception>
    /// <exception cref="UnavailableException">The worker died again and again.</exception>
    /// <exception cref="OperationCanceledException">It was cancelled.</exception>
    /// <exception cref="InvalidOperationException">Another generation of this session is running.</exception>
    public async IAsyncEnumerable<GeneratedToken> GenerateAsync(IReadOnlyList<int> prompt, GenerationOptions? options = null, [EnumeratorCancellation] CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(prompt);
        options ??= new GenerationOptions();
        options.Validate(_host.VocabularySize);
        // The next worker must draw with this one's seed.
        options = options with { Sampling = options.Sampling with { Seed = options.Sampling.Seed ?? BitConverter.ToUInt32(RandomNumberGenerator.GetBytes(sizeof(uint))) } };
        var generation = new WorkerGeneration(_number, [.. prompt], options);
        Enter(generation);
        Statistics = null;
        var (begun, stopped) = (false, false);
        try
        {
            _host.Begin(generation);
            begun = true;
            await using var stop = cancellation.Register(() => _host.Cancel(generation)).ConfigureAwait(false);
            await foreach (var token in generation.Tokens.ReadAllAsync(CancellationToken.None).ConfigureAwait(false))
            {
                stopped = token.Id >= 0 && options.StopWhen?.Invoke(token) == true;
                yield return token;
                if (stopped)
                    yield break;
            }
            cancellation.ThrowIfCancellationRequested();
            ObjectDisposedException.ThrowIf(_disposed, this);
        }
        finally
        {
            if (begun)
            {
                _host.Cancel(generation);
                await DrainAsync(generation.Tokens).ConfigureAwait(false);
                Statistics = stopped && generation.Statistics is { } counts ? counts with { Generation = counts.Generation with { FinishReason = FinishReason.Stop } } : generation.Statistics;
                _tokens = [.. prompt, .. generation.Journal];
            }
            Leave();
        }
    }

    // The worker's session is free when the worker says that the request ended.
    private static async Task DrainAsync<T>(ChannelReader<T> unread)
    {
        try
        {
            await foreach (var _ in unread.ReadAllAsync().ConfigureAwait(false))
            {
            }
        }
#pragma warning disable CA1031 // whoever reads the tokens got it
        catch
#pragma warning restore CA1031
        {
        }
    }

    /// <summary>Writes what this session has computed, for <see cref="WorkerHost.RestoreSessionAsync"/> or <see cref="ErgonModel.RestoreSessionAsync"/>.</summary>
    /// <param name="destination">Gets the bytes.</param>
    /// <param name="cancellation">Stops writing, which leaves an incomplete stream.</param>
    /// <exception cref="UnavailableException">The worker died meanwhile; the stream is incomplete.</exception>
    /// <exception cref="InvalidOperationException">A generation is running.</exception>
    public async Task SaveAsync(Stream destination, CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(destination);
        // The last token of a full context has no place.
        var tokens = _tokens.AsMemory(0, Math.Min(_tokens.Length, _host.ContextLength));
        await TransferAsync((link, id) => link.TrySend(WorkerMessage.Save, id, to => to.Int(_number).Ints(tokens.Span)), async saving =>
        {
            await foreach (var chunk in saving.Chunks.ReadAllAsync(cancellation).ConfigureAwait(false))
                await destination.WriteAsync(chunk, cancellation).ConfigureAwait(false);
        }).ConfigureAwait(false);
    }

    internal Task RestoreAsync(Stream source, CancellationToken cancellation) =>
        TransferAsync((link, id) => link.TrySend(WorkerMessage.Restore, id, to => to.Int(_number)), async restoring =>
        {
            var buffer = new byte[ChunkBytes];
            // A worker that has refused, or has all, reads no further.
            try
            {
                for (int read; !restoring.Chunks.Completion.IsCompleted && (read = await source.ReadAsync(buffer, cancellation).ConfigureAwait(false)) > 0;)
                    _host.SendPart(WorkerMessage.Chunk, restoring.Id, buffer.AsMemory(0, read));
            }
            finally
            {
                _host.SendPart(WorkerMessage.Done, restoring.Id, default);
            }
            await restoring.Chunks.Completion.ConfigureAwait(false);
            _tokens = restoring.Tokens;
        });

    private async Task TransferAsync(Action<WorkerLink, uint> send, Func<WorkerTransfer, Task> move)
    {
        var transfer = new WorkerTransfer(send);
        Enter(transfer);
        var begun = false;
        try
        {
            _host.Begin(transfer);
            begun = true;
            await move(transfer).ConfigureAwait(false);
        }
        finally
        {
            if (begun)
                await DrainAsync(transfer.Chunks).ConfigureAwait(false);
            Leave();
        }
    }

    private void Enter(WorkerRequest request)
    {
        lock (_gate)
        {
            ObjectDisposedException.ThrowIf(_disposed, this);
            if (_busy)
                throw new InvalidOperationException("A generation of this session is running; wait for it, or open another session.");
            _busy = true;
            _request = request;
        }
    }

    private void Leave()
    {
        lock (_gate)
        {
            _busy = false;
            _request = null;
            if (_disposed)
                _host.Close(_number);
        }
    }

    /// <summary>Ends the generation that runs, if any, and gives the session back.</summary>
    public void Dispose()
    {
        WorkerRequest? running;
        lock (_gate)
        {
            if (_disposed)
                return;
            _disposed = true;
            running = _request;
            if (!_busy)
                _host.Close(_number);
        }
        if (running is not null)
            _host.Cancel(running);
    }
}
