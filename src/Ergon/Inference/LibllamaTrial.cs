using System.Diagnostics;
using System.Globalization;
using Ergon.Models;
using Ergon.Native;
using Ergon.Native.Tensors;

namespace Ergon.Inference;

/// <summary>
/// A model loaded and run for two passes by libllama in a process of its own, before libllama loads it in this one.
/// The loaders and graphs of its hundred architectures assert what they did not check, and an assertion ends the
/// process: here it ends one that is there for it.
/// </summary>
/// <param name="Path">The model.</param>
/// <param name="Context">Positions of all sequences together.</param>
/// <param name="Sequences">Sequences at once.</param>
/// <param name="KvType">How keys and values are stored.</param>
/// <param name="Threads">CPU threads.</param>
internal sealed record LibllamaTrial(string Path, int Context, int Sequences, KvCacheType KvType, int Threads)
{
    // A hostile file may load for ever, and a large one comes from a slow disk.
    private const long BytesPerSecond = 20 << 20;
    private static readonly TimeSpan LeastDeadline = TimeSpan.FromSeconds(60);
    private const string Prefix = "ergon: ";
    private const int KeptLines = 64, Signalled = 128, Sigkill = 9;

    /// <summary>Passes, or throws what it died or was refused of.</summary>
    /// <param name="command">The program and its first arguments; path, context, sequences, cache type and threads follow.</param>
    /// <param name="model">The model.</param>
    /// <param name="cancellation">Ends it.</param>
    /// <exception cref="UnsupportedModelException">libllama refuses the model, or its process died.</exception>
    /// <exception cref="NativeException">There is not enough memory.</exception>
    public void Run(IReadOnlyList<string> command, ModelInfo model, CancellationToken cancellation)
    {
        var start = new ProcessStartInfo(command[0]) { RedirectStandardInput = true, RedirectStandardOutput = true, RedirectStandardError = true, UseShellExecute = false };
        foreach (var argument in (IEnumerable<string>)[.. command.Skip(1), Path, Text(Context), Text(Sequences), KvType.ToString(), Text(Threads)])
            start.ArgumentList.Add(argument);
        // ggml would start a debugger on its way to abort().
        start.Environment["GGML_NO_BACKTRACE"] = "1";
        using var process = Start(start);
        var deadline = LeastDeadline + TimeSpan.FromSeconds(model.WeightBytes / BytesPerSecond);
        using var late = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        late.CancelAfter(deadline);
        using var kill = late.Token.Register(() => Kill(process));
        var lines = new Queue<string>();
        process.OutputDataReceived += (_, _) => { };
        process.ErrorDataReceived += (_, line) =>
        {
            if (string.IsNullOrWhiteSpace(line.Data))
                return;
            if (lines.Count == KeptLines)
                lines.Dequeue();
            lines.Enqueue(line.Data.Trim());
        };
        process.BeginOutputReadLine();
        process.BeginErrorReadLine();
        // Also waits for the last line.
        process.WaitForExit();
        cancellation.ThrowIfCancellationRequested();
        if (process.ExitCode == 0)
            return;
        if (process.ExitCode is 1 or 2 && lines.LastOrDefault(line => line.StartsWith(Prefix, StringComparison.Ordinal)) is { } said)
            throw process.ExitCode == 1 ? new NativeException(said[Prefix.Length..]) : new UnsupportedModelException(said[Prefix.Length..]);
        if (process.ExitCode == Signalled + Sigkill && !late.IsCancellationRequested)
            throw new NativeException($"{Path}: the process in which libllama tries this model was killed, mostly for want of memory; use a smaller --ctx, or a smaller model.");
        var how = late.IsCancellationRequested ? $"it had not run two passes after {deadline.TotalSeconds:F0} s" : Death(process.ExitCode, lines);
        throw new UnsupportedModelException($"{Path}: libllama does not survive this model ({how}): the file is damaged, or needs another version of libllama; download it again.");
    }

    /// <summary>What the other process does.</summary>
    public void Do()
    {
        var model = new WholeModel(Models.Gguf.GgufFile.Open(Path));
        var cpu = NativeDevice.All().First(d => d.Kind == NativeDeviceKind.Cpu);
        // Weights in place from the mapped file: nothing is copied, and the pages are warm for the one that follows.
        using var engine = new LibllamaEngine(model, cpu, Threads, Context, Sequences, KvType.Storage(), repack: false);
        engine.Try();
    }

    private static Process Start(ProcessStartInfo start)
    {
        try
        {
            var process = Process.Start(start)!;
            process.StandardInput.Close();
            return process;
        }
        catch (Exception e) when (e is System.ComponentModel.Win32Exception or FileNotFoundException)
        {
            throw new ErgonException($"The command '{start.FileName}' that tries models cannot be started ({e.Message}).", e);
        }
    }

    private static string Death(int code, IEnumerable<string> lines)
    {
        // "/src/llama-model.cpp:1260: GGML_ASSERT(hparams.n_layer_all > 0) failed": the folder is that of the libraries' builder.
        var assertion = lines.FirstOrDefault(line => line.Contains("GGML_ASSERT", StringComparison.Ordinal) || line.Contains("fatal error", StringComparison.Ordinal))
            ?? lines.FirstOrDefault(line => line.Contains("what():", StringComparison.Ordinal));
        return assertion is not null ? assertion[(assertion.LastIndexOf('/') is var slash && assertion.IndexOf(' ', StringComparison.Ordinal) > slash ? slash + 1 : 0)..]
            : code > Signalled ? $"signal {code - Signalled} ended its process" : $"its process ended with code {code}";
    }

    private static void Kill(Process process)
    {
        try
        {
            process.Kill(entireProcessTree: true);
        }
        catch (Exception e) when (e is InvalidOperationException or System.ComponentModel.Win32Exception)
        {
            // It has ended by itself.
        }
    }

    private static string Text(int number) => number.ToString(CultureInfo.InvariantCulture);
}
