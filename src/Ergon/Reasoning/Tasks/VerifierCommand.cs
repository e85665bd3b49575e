using System.ComponentModel;
using System.Diagnostics;
using System.Text.Json;

namespace Ergon.Reasoning.Tasks;

/// <summary>
/// A program of the user's that judges answers. It gets one JSON object on stdin, <c>{"id", "prompt", "answer": text}</c>, and says with its exit
/// code: 0 right, 1 wrong. Any other code, a signal or the time limit is a failure of the verifier; its verdict is then absent, which counts as not passed.
/// </summary>
/// <param name="command">The program and its arguments.</param>
/// <param name="limit">For one answer.</param>
/// <param name="patience">How many answers in a row it may fail to judge before that is an error; <see langword="null"/> for any number.</param>
internal sealed class VerifierCommand(IReadOnlyList<string> command, TimeSpan limit, int? patience = null)
{
    private int _failures, _inARow;

    /// <summary>How many answers it failed to judge.</summary>
    public int Failures => _failures;

    /// <summary>What went wrong with the last of those; <see langword="null"/> where none did.</summary>
    public string? LastFailure { get; private set; }

    /// <summary>Judges one answer. A process that outlives the limit is killed with its children.</summary>
    /// <returns>Its verdict; <see langword="null"/> where it failed.</returns>
    /// <exception cref="ErgonException">The program cannot be started, or has failed too often in a row.</exception>
    public async Task<bool?> RunAsync(Problem problem, string text, CancellationToken cancellation)
    {
        var start = new ProcessStartInfo(command[0]) { RedirectStandardInput = true, RedirectStandardOutput = true, RedirectStandardError = true };
        foreach (var argument in command.Skip(1))
            start.ArgumentList.Add(argument);
        using var process = Start(start);
        using var time = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        time.CancelAfter(limit);
        try
        {
            // What it prints is nobody's business, but a full pipe would stop it.
            var drained = Task.WhenAll(process.StandardOutput.BaseStream.CopyToAsync(Stream.Null, time.Token), process.StandardError.BaseStream.CopyToAsync(Stream.Null, time.Token));
            try
            {
                await process.StandardInput.BaseStream.WriteAsync(Input(problem, text), time.Token).ConfigureAwait(false);
                process.StandardInput.Close();
            }
            catch (IOException)
            {
                // It may judge without reading all.
            }
            await process.WaitForExitAsync(time.Token).ConfigureAwait(false);
            await drained.ConfigureAwait(false);
            if (process.ExitCode is not (0 or 1))
                return Failed($"exit code {process.ExitCode}");
            Interlocked.Exchange(ref _inARow, 0);
            return process.ExitCode == 0;
        }
        catch (OperationCanceledException) when (!cancellation.IsCancellationRequested)
        {
            return Failed(FormattableString.Invariant($"no verdict within {limit.TotalSeconds} s"));
        }
        finally
        {
            if (!process.HasExited)
                process.Kill(entireProcessTree: true);
        }
    }

    private Process Start(ProcessStartInfo start)
    {
        try
        {
            return Process.Start(start)!;
        }
        catch (Win32Exception e)
        {
            throw new ErgonException($"The verifier '{command[0]}' cannot be started: {e.Message}; give a program that can be run.", e);
        }
    }

    private bool? Failed(string why)
    {
        Interlocked.Increment(ref _failures);
        LastFailure = why;
        return Interlocked.Increment(ref _inARow) < (patience ?? int.MaxValue) ? null
            : throw new ErgonException($"The verifier '{string.Join(' ', command)}' gave no verdict on {patience} answers in a row ({why}); it must end with exit code 0 for right and 1 for wrong.");
    }

    private static byte[] Input(Problem problem, string text)
    {
        using var stream = new MemoryStream();
        using (var json = new Utf8JsonWriter(stream))
        {
            json.WriteStartObject();
            json.WriteString("id", problem.Id);
            json.WriteString("prompt", problem.Prompt);
            json.WriteString("answer", text);
            json.WriteEndObject();
        }
        return stream.ToArray();
    }
}
