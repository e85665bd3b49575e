using System.Collections.Concurrent;

namespace Ergon.Inference;

/// <summary>
/// The one thread that opens an engine and makes all calls of it: what others ask for, in their order, and between
/// that work of its owner's. Its methods may be called from any thread.
/// </summary>
internal sealed class EngineThread<T> : IDisposable where T : class, IDisposable
{
    private readonly ConcurrentQueue<Action<T>> _asked = new();
    private readonly SemaphoreSlim _wake = new(0);
    private readonly Lock _gate = new();
    private readonly Thread _thread;
    private readonly Type _owner;
    private volatile bool _stopping;

    /// <param name="owner">Whose engine it is, for the error of those who come too late.</param>
    /// <param name="open">Opens the engine, on its thread, which also disposes it; what this throws is thrown here.</param>
    /// <param name="work">What to do when nothing is asked; tells whether there is more. <see langword="null"/>: nothing.</param>
    /// <param name="end">What to do last.</param>
    public EngineThread(Type owner, Func<T> open, Func<T, bool>? work = null, Action? end = null)
    {
        _owner = owner;
        var opened = new TaskCompletionSource();
        _thread = new Thread(() => Loop(open, opened, work, end)) { IsBackground = true, Name = "ergon engine" };
        _thread.Start();
        opened.Task.GetAwaiter().GetResult();
    }

    /// <summary>Runs <paramref name="action"/> on the engine's thread.</summary>
    /// <exception cref="ObjectDisposedException">The engine is gone.</exception>
    public Task<TResult> InvokeAsync<TResult>(Func<T, TResult> action)
    {
        var done = new TaskCompletionSource<TResult>(TaskCreationOptions.RunContinuationsAsynchronously);
        Post(engine =>
        {
            try
            {
                done.SetResult(action(engine));
            }
#pragma warning disable CA1031 // the caller gets it
            catch (Exception e)
#pragma warning restore CA1031
            {
                done.SetException(e);
            }
        });
        return done.Task;
    }

    /// <summary>Runs <paramref name="action"/>, which throws nothing, on the engine's thread, and does not wait.</summary>
    /// <exception cref="ObjectDisposedException">The engine is gone.</exception>
    public void Post(Action<T> action)
    {
        // Under the gate, so that whatever is asked before the stop is done before the engine goes.
        lock (_gate)
        {
            ObjectDisposedException.ThrowIf(_stopping, _owner);
            _asked.Enqueue(action);
        }
        _wake.Release();
    }

    private void Loop(Func<T> open, TaskCompletionSource opened, Func<T, bool>? work, Action? end)
    {
        T engine;
        try
        {
            engine = open();
        }
#pragma warning disable CA1031 // the constructor throws it
        catch (Exception e)
#pragma warning restore CA1031
        {
            opened.SetException(e);
            return;
        }
        opened.SetResult();
        for (var more = false; !_stopping; more = work?.Invoke(engine) == true)
        {
            if (!more)
                _wake.Wait();
            DoAsked(engine);
        }
        DoAsked(engine);
        end?.Invoke();
        engine.Dispose();
    }

    private void DoAsked(T engine)
    {
        while (_asked.TryDequeue(out var action))
            action(engine);
    }

    /// <summary>Does what was asked for, ends the owner's work and frees the engine.</summary>
    public void Dispose()
    {
        lock (_gate)
            _stopping = true;
        _wake.Release();
        _thread.Join();
    }
}
