using System.Diagnostics;
using Ergon.Inference;

namespace Ergon.Tests.Inference;

/// <summary>A child process that runs models, which native code must not bring down.</summary>
internal sealed class Probe(EngineChoice engine, TimeSpan hang) : IDisposable
{
    private Process? _child;

    /// <summary>ok, refused and why, or what happened to the process.</summary>
    public async Task<string> AskAsync(string path)
    {
        _child ??= Start();
        await _child.StandardInput.WriteLineAsync(path);
        await _child.StandardInput.FlushAsync();
        using var timeout = new CancellationTokenSource(hang);
        try
        {
            if (await _child.StandardOutput.ReadLineAsync(timeout.Token) is { } line)
                return line;
            await _child.WaitForExitAsync(CancellationToken.None);
            return Replace($"the child died with code {_child.ExitCode}");
        }
        catch (OperationCanceledException)
        {
            _child.Kill();
            return Replace($"no answer in {hang.TotalSeconds} s");
        }

        string Replace(string reason)
        {
            _child.Dispose();
            _child = null;
            return reason;
        }
    }

    private Process Start()
    {
        var cli = System.IO.Path.Combine(AppContext.BaseDirectory, "Ergon.Cli.dll");
        return Process.Start(new ProcessStartInfo("dotnet", [cli, "dev", "probe", "--engine", engine.ToString()]) { RedirectStandardInput = true, RedirectStandardOutput = true, RedirectStandardError = true })!;
    }

    public void Dispose()
    {
        _child?.StandardInput.Close();
        _child?.WaitForExit();
        _child?.Dispose();
    }
}
