using System.Diagnostics;

namespace Ergon.Runtime.Workers;

/// <summary>One worker process, from its start to its end.</summary>
internal sealed class WorkerLink : IDisposable
{
    private const int KeptLines = 8;

    private readonly Process _process;
    private readonly WorkerWriter _writer;
    private readonly Stream _output;
    private readonly Queue<string> _lastWords = new();
    private long _heard = Stopwatch.GetTimestamp();
    private string? _killed;

    private WorkerLink(Process process)
    {
        _process = process;
        _writer = new WorkerWriter(process.StandardInput.BaseStream);
        _output = process.StandardOutput.BaseStream;
        process.ErrorDataReceived += (_, line) => Remember(line.Data);
        process.BeginErrorReadLine();
    }

    /// <summary>The frame that <see cref="ReadAsync"/> read last.</summary>
    public WorkerFrame Frame { get; } = new();

    public int ProcessId => _process.Id;

    /// <summary>Time since the worker said anything, or <see cref="Touch"/>.</summary>
    public TimeSpan Silence => Stopwatch.GetElapsedTime(Interlocked.Read(ref _heard));

    /// <summary>Starts a process and has it load a model.</summary>
    /// <exception cref="ErgonException">The model cannot be loaded, or the command is no worker: another start would fail too.</exception>
    /// <exception cref="WorkerDiedException">The process ended or was too slow.</exception>
    public static async Task<(WorkerLink Link, WorkerModel Model)> StartAsync(WorkerOptions options, Action<WorkerWriter> load, CancellationToken cancellation)
    {
        var start = new ProcessStartInfo(options.Command[0]) { RedirectStandardInput = true, RedirectStandardOutput = true, RedirectStandardError = true, UseShellExecute = false };
        foreach (var argument in options.Command.Skip(1))
            start.ArgumentList.Add(argument);
        // ggml would start a debugger on its way to abort(), which takes longer than the restart.
        start.Environment["GGML_NO_BACKTRACE"] = "1";
        WorkerLink link;
        try
        {
            link = new WorkerLink(Process.Start(start)!);
        }
        catch (Exception e) when (e is System.ComponentModel.Win32Exception or FileNotFoundException)
        {
            throw new ErgonException($"The worker's command '{options.Command[0]}' cannot be started ({e.Message}).", e);
        }
        using var late = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        late.CancelAfter(options.LoadDeadline);
        await using var kill = late.Token.Register(() => link.Kill($"it had not loaded the model after {options.LoadDeadline}"));
        try
        {
            if (!await link.ReadAsync().ConfigureAwait(false))
                throw link.Died();
            if (link.Frame.Message != WorkerMessage.Hello || link.Frame.Payload.Int() is var version && version != WorkerProtocol.Version)
                throw new ErgonException($"The worker's command '{string.Join(' ', options.Command)}' speaks another protocol; let it be of the same version.");
            link.TrySend(WorkerMessage.Load, 0, load);
            if (!await link.ReadAsync().ConfigureAwait(false))
                throw link.Died();
            var payload = link.Frame.Payload;
            return link.Frame.Message switch
            {
                WorkerMessage.Loaded => (link, payload.Model()),
                WorkerMessage.Failed => throw payload.Error(),
                _ => throw new ErgonException($"The worker answered {link.Frame.Message} instead of loading the model."),
            };
        }
        catch
        {
            link.Dispose();
            cancellation.ThrowIfCancellationRequested();
            throw;
        }
    }

    /// <summary>Reads the next frame.</summary>
    /// <returns>False when the process is gone or talks nonsense.</returns>
    public async Task<bool> ReadAsync()
    {
        try
        {
            if (!await WorkerProtocol.ReadAsync(_output, Frame).ConfigureAwait(false))
                return false;
            Touch();
            return true;
        }
        catch (Exception e) when (e is InvalidDataException or IOException or ObjectDisposedException)
        {
            Kill(e.Message);
            return false;
        }
    }

    /// <summary>Sends a frame; a worker that is gone is noticed where its frames are read.</summary>
    public void TrySend(WorkerMessage message, uint id, Action<WorkerWriter>? payload = null)
    {
        try
        {
            _writer.Send(message, id, payload);
        }
        catch (Exception e) when (e is IOException or ObjectDisposedException)
        {
        }
    }

    /// <summary>Asks whether the engine still works.</summary>
    public void Ping() => _ = Task.Run(() =>
    {
        try
        {
            _writer.TrySend(WorkerMessage.Ping, 0);
        }
        catch (Exception e) when (e is IOException or ObjectDisposedException)
        {
        }
    });

    /// <summary>Begins a new silence.</summary>
    public void Touch() => Interlocked.Exchange(ref _heard, Stopwatch.GetTimestamp());

    /// <summary>Ends the process.</summary>
    public void Kill(string? reason)
    {
        _killed ??= reason;
        try
        {
            _process.Kill(entireProcessTree: true);
        }
        catch (Exception e) when (e is InvalidOperationException or System.ComponentModel.Win32Exception)
        {
            // It has ended by itself.
        }
    }

    /// <summary>Why the process is gone: waits for its end.</summary>
    public WorkerDiedException Died()
    {
        Kill(null);
        _process.WaitForExit();
        const int signalled = 128;
        var code = _process.ExitCode;
        lock (_lastWords)
        {
            return new WorkerDiedException((_killed is { } reason && code == signalled + 9 ? reason : code > signalled ? $"signal {code - signalled} ended it" : $"it ended with code {code}")
                + (_lastWords.Count > 0 ? $"; it said: {string.Join(" / ", _lastWords)}" : ""));
        }
    }

    private void Remember(string? line)
    {
        if (string.IsNullOrWhiteSpace(line))
            return;
        lock (_lastWords)
        {
            if (_lastWords.Count == KeptLines)
                _lastWords.Dequeue();
            _lastWords.Enqueue(line.Trim());
        }
    }

    /// <summary>Lets the process end, or ends it if it does not.</summary>
    public void Dispose()
    {
        try
        {
            _process.StandardInput.Close();
        }
        catch (IOException)
        {
            // What was buffered has no reader any more.
        }
        if (!_process.WaitForExit(TimeSpan.FromSeconds(1)))
            Kill("the host closed");
        _process.WaitForExit();
        _process.Dispose();
    }
}

/// <summary>A worker process ended; another may do better.</summary>
internal sealed class WorkerDiedException(string how) : UnavailableException($"The worker process died: {how}.")
{
    public string How => how;
}
