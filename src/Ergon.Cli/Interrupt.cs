using System.Runtime.InteropServices;

namespace Ergon.Cli;

/// <summary>
/// Turns the first Ctrl-C (or SIGTERM) into a cancelled token, so that a command ends in order. A second one,
/// and any while nothing can be cancelled, ends the process at once.
/// </summary>
internal sealed class Interrupt : IDisposable
{
    private readonly PosixSignalRegistration[] _signals;
    private CancellationTokenSource? _current = new();

    public Interrupt() => _signals =
    [
        PosixSignalRegistration.Create(PosixSignal.SIGINT, OnSignal),
        PosixSignalRegistration.Create(PosixSignal.SIGTERM, OnSignal),
    ];

    /// <summary>Cancelled by Ctrl-C.</summary>
    public CancellationToken Token => _current?.Token ?? CancellationToken.None;

    /// <summary>Starts something that Ctrl-C cancels on its own, like one answer of a chat.</summary>
    public CancellationToken Renew()
    {
        Interlocked.Exchange(ref _current, new CancellationTokenSource())?.Dispose();
        return Token;
    }

    /// <summary>From here on Ctrl-C ends the process: it waits for a person.</summary>
    public void Disarm() => Interlocked.Exchange(ref _current, null)?.Dispose();

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (var signal in _signals)
            signal.Dispose();
        Disarm();
    }

    private void OnSignal(PosixSignalContext context)
    {
        if (_current is not { IsCancellationRequested: false } current)
            return;
        context.Cancel = true;
        current.Cancel();
    }
}
