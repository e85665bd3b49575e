using System.Globalization;
using System.Net.Sockets;
using System.Text.Json;

namespace Ergon.Runtime;

/// <summary>
/// Tells the programs of the same user what a monitor sees: each that connects to the Unix-domain socket gets a line of
/// JSON at once and one a second. Nothing listens on the network.
/// </summary>
internal sealed class StatusSocket : IDisposable
{
    private const string Extension = ".sock";
    // No shorter command is seen by somebody who looks once a second, and none pays the 7 ms of processor time that a first socket takes.
    private static readonly TimeSpan Start = TimeSpan.FromMilliseconds(250);
    private static readonly TimeSpan Interval = TimeSpan.FromSeconds(1), Patience = TimeSpan.FromSeconds(1), Binding = TimeSpan.FromSeconds(5);
    private static readonly Lock Opening = new();

    private readonly EnergyMonitor _monitor;
    private readonly string _folder;
    private readonly Action<string> _say;
    private readonly CancellationTokenSource _stop = new();
    private readonly Task _running;

    /// <summary>Opens the socket <c>PID.sock</c>, or <c>PID-2.sock</c> and so on for further ones of a process, in a moment; the file is gone when this is disposed.</summary>
    /// <param name="monitor">Whose status.</param>
    /// <param name="folder">As <see cref="StatusFolder.OfUser()"/>; made where it is missing.</param>
    /// <param name="say">Told, on another thread, why the socket cannot be opened.</param>
    /// <exception cref="ErgonException">The folder must not be used.</exception>
    public StatusSocket(EnergyMonitor monitor, string folder, Action<string> say)
    {
        StatusFolder.Make(folder);
        (_monitor, _folder, _say) = (monitor, folder, say);
        _running = RunAsync();
    }

    private static Socket Open(string folder)
    {
        // Another of this process may have bound and not begun to listen.
        lock (Opening)
        {
            for (var number = 1; ;)
            {
                var path = Path.Combine(folder, string.Create(CultureInfo.InvariantCulture, $"{Environment.ProcessId}{(number == 1 ? "" : $"-{number}")}{Extension}"));
                var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
                try
                {
                    socket.Bind(new UnixDomainSocketEndPoint(path));
                    socket.Listen();
                    return socket;
                }
                catch (SocketException e) when (e.SocketErrorCode == SocketError.AddressAlreadyInUse)
                {
                    socket.Dispose();
                    // A process of the same number was before this one; or the file is of a neighbour in the same process, or in another container.
                    if (IsListening(path) || !TryRemove(path))
                        number++;
                }
                catch (Exception e) when (e is SocketException or ArgumentException)
                {
                    socket.Dispose();
                    throw new ErgonException($"The status socket '{path}' cannot be opened ({e.Message.TrimEnd('.')}); set XDG_RUNTIME_DIR to another folder of your own.", e);
                }
            }
        }
    }

    /// <summary>Asks every process that has a socket in a folder, and removes the files of those that are gone.</summary>
    /// <param name="folder">As <see cref="StatusFolder.OfUser()"/>; it need not be there.</param>
    /// <param name="cancellation">Stops asking.</param>
    /// <returns>By process; one that does not answer has no devices.</returns>
    public static async Task<IReadOnlyList<EnergyStatus>> ReadAllAsync(string folder, CancellationToken cancellation)
    {
        if (!Directory.Exists(folder))
            return [];
        var all = await Task.WhenAll(Directory.GetFiles(folder, "*" + Extension).Select(path => ReadAsync(path, cancellation))).ConfigureAwait(false);
        return [.. all.OfType<EnergyStatus>().OrderBy(s => s.Pid)];
    }

    private static async Task<EnergyStatus?> ReadAsync(string path, CancellationToken cancellation)
    {
        using var patience = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        patience.CancelAfter(Patience);
        using var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        try
        {
            await socket.ConnectAsync(new UnixDomainSocketEndPoint(path), patience.Token).ConfigureAwait(false);
            using var reader = new StreamReader(new NetworkStream(socket));
            return await reader.ReadLineAsync(patience.Token).ConfigureAwait(false) is { } line ? JsonSerializer.Deserialize(line, StatusJson.Default.EnergyStatus) : null;
        }
        catch (SocketException e) when (e.SocketErrorCode == SocketError.ConnectionRefused)
        {
            // Between binding and listening is an instant.
            if (TimeProvider.System.GetUtcNow() - File.GetLastWriteTimeUtc(path) > Binding)
                TryRemove(path);
            return null;
        }
        catch (Exception e) when (e is SocketException or IOException)
        {
            return null;
        }
        catch (Exception e) when (e is JsonException || (e is OperationCanceledException && !cancellation.IsCancellationRequested))
        {
            // A process that is stopped, or of another version.
            return int.TryParse(Path.GetFileNameWithoutExtension(path).Split('-')[0], CultureInfo.InvariantCulture, out var pid) ? new EnergyStatus(pid, null, [], 0, null) : null;
        }
    }

    private static bool IsListening(string path)
    {
        using var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        try
        {
            socket.Connect(new UnixDomainSocketEndPoint(path));
            return true;
        }
        catch (SocketException e)
        {
            return e.SocketErrorCode != SocketError.ConnectionRefused;
        }
    }

    private static bool TryRemove(string path)
    {
        try
        {
            File.Delete(path);
            return true;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return false;
        }
    }

    private async Task RunAsync()
    {
        await Task.Delay(Start, _stop.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        if (_stop.IsCancellationRequested)
            return;
        try
        {
            // Disposing it removes the file that it bound.
            using var listener = Open(_folder);
            while (true)
                _ = ServeAsync(await listener.AcceptAsync(_stop.Token).ConfigureAwait(false));
        }
        catch (ErgonException e)
        {
            _say(e.Message);
        }
        catch (Exception e) when (e is OperationCanceledException or SocketException or ObjectDisposedException)
        {
            // Closed, or the process has no file handles left: answers go on without.
        }
    }

    private async Task ServeAsync(Socket reader)
    {
        // The accepting thread goes on.
        await Task.Yield();
        try
        {
            using var stream = new NetworkStream(reader, ownsSocket: true);
            using var timer = new PeriodicTimer(Interval);
            do
            {
                byte[] line = [.. JsonSerializer.SerializeToUtf8Bytes(_monitor.Status(), StatusJson.Default.EnergyStatus), (byte)'\n'];
                await stream.WriteAsync(line, _stop.Token).ConfigureAwait(false);
            }
            while (await timer.WaitForNextTickAsync(_stop.Token).ConfigureAwait(false));
        }
        catch (Exception e) when (e is OperationCanceledException or IOException or SocketException or ObjectDisposedException)
        {
            // The reader went away, or this ends.
        }
    }

    /// <summary>Ends all connections and removes the file.</summary>
    public void Dispose()
    {
        _stop.Cancel();
        _running.GetAwaiter().GetResult();
    }
}
