using System.Collections.Concurrent;
using System.IO.Pipelines;
using Ergon.Inference;
using Ergon.Native.Tensors;

namespace Ergon.Runtime.Workers;

/// <summary>
/// The worker's side: does what a host asks for over two streams until they end. Remembers nothing that the
/// host could not tell another worker.
/// </summary>
internal sealed class Worker
{
    private const int ChunkBytes = 1 << 18;

    private readonly WorkerWriter _output;
    private readonly bool _mayFail;
    private readonly ConcurrentDictionary<int, Session> _sessions = [];
    private readonly ConcurrentDictionary<uint, CancellationTokenSource> _running = [];
    private readonly ConcurrentDictionary<uint, PipeWriter> _restoring = [];
    private ErgonModel? _model;

    private Worker(Stream output, bool mayFail) => (_output, _mayFail) = (new WorkerWriter(output), mayFail);

    /// <param name="input">The host's frames.</param>
    /// <param name="output">Gets this worker's frames.</param>
    /// <param name="mayFail">Whether it obeys <see cref="WorkerMessage.Fault"/>.</param>
    /// <returns>When the host closed the input. Nothing is freed: the process ends, and a device that hangs must not keep it.</returns>
    public static async Task RunAsync(Stream input, Stream output, bool mayFail)
    {
        var worker = new Worker(output, mayFail);
        worker._output.Send(WorkerMessage.Hello, 0, to => to.Int(WorkerProtocol.Version));
        var frame = new WorkerFrame();
        while (await WorkerProtocol.ReadAsync(input, frame).ConfigureAwait(false))
            await worker.ObeyAsync(frame).ConfigureAwait(false);
    }

    private ErgonModel Model => _model ?? throw new InvalidDataException("The model comes first.");

    private async ValueTask ObeyAsync(WorkerFrame frame)
    {
        var id = frame.Id;
        switch (frame.Message)
        {
            case WorkerMessage.Load:
                Load(frame.Payload);
                break;
            case WorkerMessage.Generate:
                Generate(id, frame.Payload);
                break;
            case WorkerMessage.Cancel when _running.TryGetValue(id, out var running):
                await running.CancelAsync().ConfigureAwait(false);
                break;
            case WorkerMessage.Close when _sessions.TryRemove((int)id, out var session):
                session.Dispose();
                break;
            case WorkerMessage.Ping:
                // Answered by the engine's thread: that this one lives says little.
                _ = Model.InvokeAsync(_ => Reply(WorkerMessage.Pong, id));
                break;
            case WorkerMessage.Save:
                Save(id, frame.Payload);
                break;
            case WorkerMessage.Restore:
                Restore(id, frame.Payload);
                break;
            case WorkerMessage.Chunk when _restoring.TryGetValue(id, out var pipe):
                await pipe.WriteAsync(frame.Memory).ConfigureAwait(false);
                break;
            case WorkerMessage.Done when _restoring.TryRemove(id, out var pipe):
                await pipe.CompleteAsync().ConfigureAwait(false);
                break;
            case WorkerMessage.Fault when _mayFail:
                var fault = (WorkerFault)frame.Payload.Int();
                _ = Model.InvokeAsync(_ => Suffer(fault));
                break;
        }
    }

    private void Load(WorkerReader payload)
    {
        try
        {
            var model = _model = ErgonModel.Load(payload.Text(), payload.ModelOptions());
            _output.Send(WorkerMessage.Loaded, 0, to => to.Write(new WorkerModel(model.ContextLength, model.MaxSequences, model.Description.VocabularySize, model.Threads, model.Devices[0])));
        }
        catch (ErgonException e)
        {
            _output.Send(WorkerMessage.Failed, 0, to => to.Write(e));
        }
    }

    private void Generate(uint id, WorkerReader payload)
    {
        var (session, prompt, generated, options) = (payload.Int(), payload.Ints(), payload.Ints(), payload.GenerationOptions());
        var stop = _running[id] = new CancellationTokenSource();
        _ = AnswerAsync(id, async () =>
        {
            var of = Session(session);
            var tail = "";
            try
            {
                await foreach (var token in of.ResumeAsync(prompt, generated, options, stop.Token).ConfigureAwait(false))
                {
                    if (token.Id < 0)
                        tail = token.Text;
                    else
                        _output.Send(WorkerMessage.Token, id, to => to.Int(token.Id).Text(token.Text).OptionalDouble(token.LogProbability));
                }
            }
            catch (OperationCanceledException)
            {
                // The statistics say so.
            }
            finally
            {
                _running.TryRemove(id, out _);
                stop.Dispose();
            }
            // The text that was held back travels with the end, so that it is told once or not at all.
            _output.Send(WorkerMessage.Ended, id, to => to.Text(tail).Write(of.Statistics!));
        });
    }

    private void Save(uint id, WorkerReader payload)
    {
        var (session, tokens) = (payload.Int(), payload.Ints());
        _ = AnswerAsync(id, async () =>
        {
            var of = Session(session);
            // Another worker may have computed them; whoever did, one token more makes sure that they are here.
            if (tokens.Length > 0)
            {
                await foreach (var _ in of.GenerateAsync(tokens, new GenerationOptions { MaxTokens = 1, IgnoreEndOfGeneration = true }).ConfigureAwait(false))
                {
                }
            }
            var pipe = new Pipe();
            var saving = Task.Run(async () =>
            {
                await of.SaveAsync(pipe.Writer.AsStream()).ConfigureAwait(false);
                await pipe.Writer.CompleteAsync().ConfigureAwait(false);
            });
            var source = pipe.Reader.AsStream();
            var buffer = new byte[ChunkBytes];
            for (int read; (read = await source.ReadAsync(buffer).ConfigureAwait(false)) > 0;)
                _output.Send(WorkerMessage.Chunk, id, to => to.Bytes(buffer.AsSpan(0, read)));
            await saving.ConfigureAwait(false);
            Reply(WorkerMessage.Done, id);
        });
    }

    private void Restore(uint id, WorkerReader payload)
    {
        var session = payload.Int();
        var pipe = new Pipe();
        _restoring[id] = pipe.Writer;
        _ = AnswerAsync(id, async () =>
        {
            try
            {
                var restored = await Model.RestoreSessionAsync(pipe.Reader.AsStream()).ConfigureAwait(false);
                _sessions[session] = restored;
                _output.Send(WorkerMessage.Done, id, to => to.Ints([.. restored.Tokens]));
            }
            finally
            {
                // A writer that goes on after a refusal writes into nothing.
                _restoring.TryRemove(id, out _);
                await pipe.Reader.CompleteAsync().ConfigureAwait(false);
            }
        });
    }

    private Session Session(int number) => _sessions.GetOrAdd(number, _ => Model.CreateSession());

    private bool Reply(WorkerMessage message, uint id)
    {
        _output.Send(message, id);
        return true;
    }

    private async Task AnswerAsync(uint id, Func<Task> answer)
    {
        try
        {
            await answer().ConfigureAwait(false);
        }
        catch (IOException)
        {
            // The host is gone, and this process with it.
        }
#pragma warning disable CA1031 // the host gets it
        catch (Exception e)
#pragma warning restore CA1031
        {
            _output.Send(WorkerMessage.Failed, id, to => to.Write(e));
        }
    }

    private static bool Suffer(WorkerFault fault)
    {
        if (fault == WorkerFault.Hang)
            Thread.Sleep(Timeout.Infinite);
        using var graph = new Graph(4);
        graph.Reshape(graph.Input(Native.GgmlType.F32, 7), 3, 3);
        return true;
    }
}
