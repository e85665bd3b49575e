using System.Collections.Concurrent;

namespace Ergon.Inference;

/// <summary>The one thread that opens an embedding engine and makes all calls of it, in the order in which they were asked for.</summary>
internal sealed class EmbeddingThread : IDisposable
{
    private readonly BlockingCollection<Action<EmbeddingEngine>> _work = [];
    private readonly Thread _thread;

    /// <param name="open">Opens the engine, on its thread; what it throws is thrown here.</param>
    public EmbeddingThread(Func<EmbeddingEngine> open)
    {
        var opened = new TaskCompletionSource();
        _thread = new Thread(() => Loop(open, opened)) { IsBackground = true, Name = "ergon embeddings" };
        _thread.Start();
        opened.Task.GetAwaiter().GetResult();
    }

    /// <exception cref="ObjectDisposedException">The engine is gone.</exception>
    public Task<T> InvokeAsync<T>(Func<EmbeddingEngine, T> call)
    {
        var done = new TaskCompletionSource<T>(TaskCreationOptions.RunContinuationsAsynchronously);
        try
        {
            _work.Add(engine => Complete(done, () => call(engine)));
        }
        catch (InvalidOperationException)
        {
            throw new ObjectDisposedException(nameof(EmbeddingModel));
        }
        return done.Task;
    }

    private void Loop(Func<EmbeddingEngine> open, TaskCompletionSource opened)
    {
        EmbeddingEngine engine;
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
        foreach (var call in _work.GetConsumingEnumerable())
            call(engine);
        engine.Dispose();
    }

    private static void Complete<T>(TaskCompletionSource<T> done, Func<T> call)
    {
        try
        {
            done.SetResult(call());
        }
#pragma warning disable CA1031 // the caller gets it
        catch (Exception e)
#pragma warning restore CA1031
        {
            done.SetException(e);
        }
    }

    /// <summary>Lets the calls that were asked for end, then frees the engine.</summary>
    public void Dispose()
    {
        _work.CompleteAdding();
        _thread.Join();
    }
}
