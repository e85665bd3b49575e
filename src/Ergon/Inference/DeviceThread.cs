using System.Collections.Concurrent;
using System.Runtime.ExceptionServices;
using Ergon.Native.Tensors;

namespace Ergon.Inference;

/// <summary>
/// An opened device and the one thread that makes all calls of it: in ggml the calling thread is a worker of the
/// CPU's pool and keeps to the device's processors. Work of several devices overlaps by running on several of these.
/// </summary>
internal sealed class DeviceThread : IDisposable
{
    private readonly SemaphoreSlim _begin = new(0), _done = new(0);
    private readonly Thread? _thread;
    private Backend? _backend;
    private readonly ConcurrentQueue<Action?> _work = new();
    private ExceptionDispatchInfo? _failure;

    /// <param name="device">The device.</param>
    /// <param name="threads">CPU threads.</param>
    /// <param name="cpus">Logical CPUs to stay on; <see langword="null"/> leaves the choice to the system.</param>
    /// <param name="isCaller">Whether the thread that asks is the device's own: with one device nothing can overlap.</param>
    /// <exception cref="Native.NativeException">The device cannot be opened.</exception>
    public DeviceThread(NativeDevice device, int threads, int[]? cpus, bool isCaller)
    {
        if (isCaller)
        {
            _backend = new Backend(device, threads, cpus);
            return;
        }
        _thread = new Thread(Loop) { IsBackground = true, Name = "ergon " + device.Name };
        _thread.Start();
        try
        {
            Run(() => _backend = new Backend(device, threads, cpus));
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    public Backend Backend => _backend!;

    /// <summary>Runs <paramref name="work"/> on the device's thread and waits for it.</summary>
    public void Run(Action work)
    {
        Begin(work);
        Join();
    }

    /// <summary>Starts <paramref name="work"/>, after what was begun before; a <see cref="Join"/> for each.</summary>
    public void Begin(Action work)
    {
        if (_thread is null)
        {
            Do(work);
            return;
        }
        _work.Enqueue(work);
        _begin.Release();
    }

    /// <summary>Waits for the first that was begun and not waited for, and throws what any of them threw.</summary>
    public void Join()
    {
        if (_thread is not null)
            _done.Wait();
        var failure = _failure;
        _failure = null;
        failure?.Throw();
    }

    private void Loop()
    {
        while (true)
        {
            _begin.Wait();
            _work.TryDequeue(out var work);
            if (work is null)
                return;
            Do(work);
            _done.Release();
        }
    }

    private void Do(Action work)
    {
        try
        {
            work();
        }
#pragma warning disable CA1031 // whoever joins gets it
        catch (Exception e)
#pragma warning restore CA1031
        {
            _failure = ExceptionDispatchInfo.Capture(e);
        }
    }

    /// <summary>Closes the device; its segments are gone.</summary>
    public void Dispose()
    {
        if (_thread is not null)
        {
            _work.Enqueue(null);
            _begin.Release();
            _thread.Join();
        }
        _backend?.Dispose();
        _begin.Dispose();
        _done.Dispose();
    }
}
