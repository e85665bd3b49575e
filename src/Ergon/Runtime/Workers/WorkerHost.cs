using System.Diagnostics;
using Ergon.Inference;

namespace Ergon.Runtime.Workers;

/// <summary>
/// A model in a process of its own, so that what ends that process (a failed assertion in native code, a lost
/// device, the system's memory killer) costs time and no answer: prompts and generated tokens are kept here, a new
/// process is started, and every running generation goes on where it stood. Safe to use from any thread.
/// </summary>
public sealed class WorkerHost : IAsyncDisposable
{
    private readonly WorkerOptions _options;
    private readonly Action<WorkerWriter> _load;
    private readonly WorkerModel _model;
    private readonly Dictionary<uint, WorkerRequest> _requests = [];
    private readonly HashSet<int> _sessions = [];
    private readonly CancellationTokenSource _stopping = new();
    private readonly Lock _gate = new();
    private WorkerLink? _link; // null while another process is started
    private Exception? _failure;
    private readonly Task _supervision;
    private readonly Task _watch;
    private uint _lastId;
    private bool _disposed;

    private WorkerHost(WorkerOptions options, Action<WorkerWriter> load, WorkerLink link, WorkerModel model)
    {
        (_options, _load, _link, _model) = (options, load, link, model);
        _supervision = Task.Run(() => SuperviseAsync(link));
        _watch = Task.Run(WatchAsync);
    }

    /// <summary>Positions that a session can have.</summary>
    public int ContextLength => _model.ContextLength;

    /// <summary>Sessions that may be open at once.</summary>
    public int MaxSequences => _model.MaxSequences;

    /// <summary>Token ids are below this.</summary>
    public int VocabularySize => _model.VocabularySize;

    /// <summary>CPU threads in use.</summary>
    public int Threads => _model.Threads;

    /// <summary>The name of the device that the model runs on.</summary>
    public string Device => _model.Device;

    /// <summary>How often the worker died and was replaced.</summary>
    public int Restarts { get; private set; }

    /// <summary>From the notice of the last death to the moment when a new worker had the model and the running generations.</summary>
    public TimeSpan LastRestart { get; private set; }

    /// <summary>The worker's process; <see langword="null"/> while there is none.</summary>
    public int? ProcessId
    {
        get
        {
            lock (_gate)
                return _link?.ProcessId;
        }
    }

    /// <summary>Starts a worker and loads a model in it.</summary>
    /// <param name="path">The file, or the first of its parts.</param>
    /// <param name="modelOptions">How it is loaded; logger and progress stay in this process and hear nothing.</param>
    /// <param name="options">The worker's command, and how it is watched.</param>
    /// <param name="cancellation">Stops the start.</param>
    /// <exception cref="ErgonException">The model cannot be loaded, or the worker not be started.</exception>
    public static async Task<WorkerHost> StartAsync(string path, ModelOptions modelOptions, WorkerOptions options, CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(modelOptions);
        ArgumentNullException.ThrowIfNull(options);
        options.Validate();
        void Load(WorkerWriter to) => to.Text(Path.GetFullPath(path)).Write(modelOptions);
        var (link, model) = await WorkerLink.StartAsync(options, Load, cancellation).ConfigureAwait(false);
        return new WorkerHost(options, Load, link, model);
    }

    /// <summary>Opens an empty session.</summary>
    /// <exception cref="ErgonException">As many sessions are open as the model was loaded for.</exception>
    public WorkerSession CreateSession()
    {
        lock (_gate)
        {
            ObjectDisposedException.ThrowIf(_disposed, this);
            var free = Enumerable.Range(0, MaxSequences).FirstOrDefault(number => !_sessions.Contains(number), -1);
            if (free < 0)
                throw new ErgonException($"All {MaxSequences} sessions of this model are open; dispose one, or load the model with a larger MaxSequences.");
            _sessions.Add(free);
            return new WorkerSession(this, free);
        }
    }

    /// <summary>Opens a session with what <see cref="WorkerSession.SaveAsync"/> or <see cref="Session.SaveAsync"/> wrote.</summary>
    /// <exception cref="ErgonException">The bytes are of another model, cache or version, or damaged, or do not fit.</exception>
    /// <exception cref="UnavailableException">The worker died meanwhile.</exception>
    public async Task<WorkerSession> RestoreSessionAsync(Stream source, CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(source);
        var session = CreateSession();
        try
        {
            await session.RestoreAsync(source, cancellation).ConfigureAwait(false);
            return session;
        }
        catch
        {
            session.Dispose();
            throw;
        }
    }

    /// <summary>Sends a request, now or as soon as there is a worker.</summary>
    internal void Begin(WorkerRequest request)
    {
        WorkerLink? link;
        lock (_gate)
        {
            ObjectDisposedException.ThrowIf(_disposed, this);
            if (_failure is not null)
                throw _failure;
            request.Id = ++_lastId;
            if (_requests.Count == 0)
                _link?.Touch();
            _requests.Add(request.Id, request);
            link = _link;
        }
        // A worker that dies now is asked again with what is in the journal: nothing is lost, and nothing asked twice.
        if (link is not null)
            request.Send(link);
    }

    internal void Cancel(WorkerRequest request)
    {
        WorkerLink? link;
        lock (_gate)
        {
            request.IsCancelled = true;
            link = _requests.ContainsKey(request.Id) ? _link : null;
        }
        link?.TrySend(WorkerMessage.Cancel, request.Id);
    }

    internal void Close(int session)
    {
        WorkerLink? link;
        lock (_gate)
        {
            link = _link;
            link?.TrySend(WorkerMessage.Close, (uint)session);
            _sessions.Remove(session);
        }
    }

    /// <summary>Sends a part of a request that is a transfer.</summary>
    internal void SendPart(WorkerMessage message, uint id, ReadOnlyMemory<byte> bytes)
    {
        WorkerLink? link;
        lock (_gate)
            link = _requests.ContainsKey(id) ? _link : null;
        link?.TrySend(message, id, to => to.Bytes(bytes.Span));
    }

    /// <summary>Makes a worker that was started with <c>--faults</c> fail.</summary>
    internal void Inject(WorkerFault fault)
    {
        lock (_gate)
            _link?.TrySend(WorkerMessage.Fault, 0, to => to.Int((int)fault));
    }

    private async Task SuperviseAsync(WorkerLink link)
    {
        while (true)
        {
            while (await link.ReadAsync().ConfigureAwait(false))
                Dispatch(link.Frame);
            var noticed = Stopwatch.GetTimestamp();
            var death = link.Died();
            link.Dispose();
            lock (_gate)
            {
                _link = null;
                foreach (var request in _requests.Values.Where(r => !_disposed && !r.Survives(death, _options.MaxRestarts)).ToArray())
                    _requests.Remove(request.Id);
            }
            try
            {
                link = await RestartAsync().ConfigureAwait(false);
            }
#pragma warning disable CA1031 // whoever waits, and whoever asks later, gets it
            catch (Exception e)
#pragma warning restore CA1031
            {
                GiveUp(e);
                return;
            }
            WorkerRequest[] left;
            lock (_gate)
            {
                _link = link;
                left = [.. _requests.Values];
            }
            foreach (var request in left)
            {
                request.Send(link);
                if (request.IsCancelled)
                    link.TrySend(WorkerMessage.Cancel, request.Id);
            }
            LastRestart = Stopwatch.GetElapsedTime(noticed);
            Restarts++;
        }
    }

    private async Task<WorkerLink> RestartAsync()
    {
        for (var attempt = 1; ; attempt++)
        {
            try
            {
                return (await WorkerLink.StartAsync(_options, _load, _stopping.Token).ConfigureAwait(false)).Link;
            }
            catch (WorkerDiedException e)
            {
                if (attempt > _options.MaxRestarts)
                    throw new UnavailableException($"The worker process could not be started again, {attempt} times in a row: {e.How}.", e);
            }
        }
    }

    private void GiveUp(Exception cause)
    {
        lock (_gate)
        {
            _failure = _disposed ? new ObjectDisposedException(nameof(WorkerHost)) : cause;
            foreach (var request in _requests.Values)
                request.Fail(_failure);
            _requests.Clear();
        }
    }

    private void Dispatch(WorkerFrame frame)
    {
        WorkerRequest? request;
        lock (_gate)
            _requests.TryGetValue(frame.Id, out request);
        if (request is null || !request.Take(frame))
            return;
        lock (_gate)
            _requests.Remove(frame.Id);
    }

    private async Task WatchAsync()
    {
        using var timer = new PeriodicTimer(_options.Deadline / 4);
        try
        {
            while (await timer.WaitForNextTickAsync(_stopping.Token).ConfigureAwait(false))
            {
                WorkerLink? link;
                lock (_gate)
                    link = _requests.Count > 0 ? _link : null;
                // An idle worker may sleep, and so may this process.
                if (link?.Silence > _options.Deadline)
                    link.Kill($"it had said nothing for {_options.Deadline}");
                else
                    link?.Ping();
            }
        }
        catch (OperationCanceledException)
        {
        }
    }

    /// <summary>Ends all generations and the worker.</summary>
    public async ValueTask DisposeAsync()
    {
        WorkerLink? link;
        lock (_gate)
        {
            if (_disposed)
                return;
            _disposed = true;
            link = _link;
        }
        await _stopping.CancelAsync().ConfigureAwait(false);
        link?.Kill("the host closed");
        await Task.WhenAll(_supervision, _watch).ConfigureAwait(false);
        _stopping.Dispose();
    }
}
