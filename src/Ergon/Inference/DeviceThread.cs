using System.Collections.Concurrent;
using Ergon.Native.Tensors;

namespace Ergon.Inference;

/// <summary>
/// An opened device and the one thread that makes all calls of it: in ggml the calling thread is a worker of the
/// CPU's pool and keeps to the device's processors. Work of several devices overlaps by running on several of these.
/// </summary>
internal sealed class DeviceThread : IDisposable
{
    private readonly SemaphoreSlim _posted = new(0);
    private readonly Thread? _thread;
    private Backend? _backend;
    private readonly ConcurrentQueue<Action?> _work = new();

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

    /// <summary>Runs <paramref name="work"/> on the device's thread, waits for it and throws what it throws.</summary>
    private void Run(Action work)
    {
        var done = new TaskCompletionSource();
        Post(() =>
        {
            try
            {
                work();
                done.SetResult();
            }
#pragma warning disable CA1031 // whoever waits gets it
            catch (Exception e)
#pragma warning restore CA1031
            {
                done.SetException(e);
            }
        });
        done.Task.GetAwaiter().GetResult();
    }

    /// <summary>Runs <paramref name="work"/>, which throws nothing, after what was posted before; at once where the caller's thread is the device's.</summary>
    public void Post(Action work)
    {
        if (_thread is null)
        {
            work();
            return;
        }
        _work.Enqueue(work);
        _posted.Release();
    }

    private void Loop()
    {
        while (true)
        {
            _posted.Wait();
            _work.TryDequeue(out var work);
            if (work is null)
                return;
            work();
        }
    }

    /// <summary>Closes the device; its segments are gone and nothing is posted any more.</summary>
    public void Dispose()
    {
        if (_thread is not null)
        {
            _work.Enqueue(null);
            _posted.Release();
            _thread.Join();
        }
        _backend?.Dispose();
        _posted.Dispose();
    }
}
