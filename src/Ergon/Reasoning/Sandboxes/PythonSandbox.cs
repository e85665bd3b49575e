using System.ComponentModel;
using System.Diagnostics;
using System.Globalization;
using System.Text;

namespace Ergon.Reasoning.Sandboxes;

/// <summary>What a program in the sandbox may take.</summary>
internal sealed record SandboxLimits
{
    /// <summary>Wall-clock time, at least a second; as much processor time. Default 10 s.</summary>
    public TimeSpan Time { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>Address space in bytes. Default 512 MiB.</summary>
    public long Memory { get; init; } = 512L << 20;

    /// <summary>Bytes in <c>/tmp</c>, which is memory and the only place to write to. Default 16 MiB.</summary>
    public long Files { get; init; } = 16L << 20;

    /// <summary>Characters of output that are kept; more is read and dropped. Default 65536.</summary>
    public int Output { get; init; } = 1 << 16;
}

/// <summary>How a program ended.</summary>
/// <param name="ExitCode">Its own; above 128 for a signal.</param>
/// <param name="TimedOut">Whether the limit ended it.</param>
/// <param name="Output">The first of what it printed, errors included.</param>
internal sealed record SandboxResult(int ExitCode, bool TimedOut, string Output);

/// <summary>
/// Runs Python that nobody read, in bubblewrap's namespaces: no network, no processes but its own, no files but a read-only <c>/usr</c> and an empty
/// <c>/tmp</c>. It may start no process and no thread, so that its memory limit is the limit of all it can take. Nothing runs without the sandbox.
/// </summary>
internal sealed class PythonSandbox(SandboxLimits limits)
{
    // Of bwrap's own init and of Python. A limit that root is exempt from.
    private const int Processes = 2;
    private const string Nobody = "65534";

    /// <summary>Opens the sandbox after a trial.</summary>
    /// <exception cref="ErgonException">bubblewrap, util-linux or Python is missing, or the kernel forbids unprivileged namespaces.</exception>
    public static async Task<PythonSandbox> OpenAsync(SandboxLimits? limits = null, CancellationToken cancellation = default)
    {
        limits ??= new SandboxLimits();
        if (limits.Time < TimeSpan.FromSeconds(1) || limits.Memory < 64 << 20 || limits.Files < 4096 || limits.Output < 1)
            throw new ErgonException(FormattableString.Invariant($"The sandbox's limits are {limits.Time.TotalSeconds} s, {limits.Memory} bytes of memory, {limits.Files} of files and {limits.Output} characters, but must be at least 1 s, 64 MiB, 4096 and 1."));
        var sandbox = new PythonSandbox(limits);
        return await sandbox.WhyUnavailableAsync(cancellation).ConfigureAwait(false) is { } why ? throw new ErgonException(why) : sandbox;
    }

    /// <summary>Why programs cannot be run here; <see langword="null"/> where they can.</summary>
    public async Task<string?> WhyUnavailableAsync(CancellationToken cancellation = default)
    {
        if (!OperatingSystem.IsLinux())
            return "Generated code is run in bubblewrap, which needs Linux; evaluate on a Linux machine.";
        try
        {
            var trial = await RunAsync("print('ready')", cancellation).ConfigureAwait(false);
            return trial is { ExitCode: 0, Output: "ready\n" } ? null
                : $"Generated code is run in bubblewrap, which does not work here ({trial.Output.Trim().ReplaceLineEndings(" ")}); install python3 and allow unprivileged user namespaces.";
        }
        catch (Win32Exception e)
        {
            return $"Generated code is run in bubblewrap, which is missing here ({e.Message}); apt install bubblewrap python3 util-linux.";
        }
    }

    /// <summary>Runs a program to its end or its limit.</summary>
    /// <param name="program">Python 3, UTF-8.</param>
    /// <param name="cancellation">Kills it.</param>
    public async Task<SandboxResult> RunAsync(string program, CancellationToken cancellation = default)
    {
        var start = new ProcessStartInfo { RedirectStandardInput = true, RedirectStandardOutput = true, RedirectStandardError = true, WorkingDirectory = "/" };
        var command = Command();
        start.FileName = command[0];
        foreach (var argument in command.Skip(1))
            start.ArgumentList.Add(argument);
        using var process = Process.Start(start)!;
        using var time = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        time.CancelAfter(limits.Time);
        var output = new StringBuilder();
        var timedOut = false;
        try
        {
            var read = Task.WhenAll(KeepAsync(process.StandardOutput, output, time.Token), KeepAsync(process.StandardError, output, time.Token));
            try
            {
                await process.StandardInput.BaseStream.WriteAsync(Encoding.UTF8.GetBytes(program), time.Token).ConfigureAwait(false);
                process.StandardInput.Close();
            }
            catch (IOException)
            {
                // It ended before it had read all, which its exit code tells.
            }
            await process.WaitForExitAsync(time.Token).ConfigureAwait(false);
            await read.ConfigureAwait(false);
        }
        catch (OperationCanceledException) when (!cancellation.IsCancellationRequested)
        {
            timedOut = true;
        }
        finally
        {
            if (!process.HasExited)
            {
                process.Kill(entireProcessTree: true);
                await process.WaitForExitAsync(CancellationToken.None).ConfigureAwait(false);
            }
        }
        lock (output)
            return new SandboxResult(process.ExitCode, timedOut, output.ToString());
    }

    private List<string> Command()
    {
        var seconds = (int)Math.Ceiling(limits.Time.TotalSeconds);
        List<string> command = [];
        // A limit on processes does not bind root, and what is called root inside should be nobody outside.
        if (Environment.IsPrivilegedProcess)
            command.AddRange(["setpriv", "--reuid", Nobody, "--regid", Nobody, "--clear-groups"]);
        // bwrap dies with its parent, which must be no thread of ours: one that idles ends. And should this process be killed, timeout ends what it left.
        command.AddRange(["timeout", "--signal=KILL", (seconds + 2).ToString(CultureInfo.InvariantCulture)]);
        command.AddRange(["bwrap", "--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL", "--clearenv",
            "--setenv", "PATH", "/usr/local/bin:/usr/bin:/bin", "--setenv", "LANG", "C.UTF-8", "--ro-bind", "/usr", "/usr",
            "--ro-bind-try", "/etc/ld.so.cache", "/etc/ld.so.cache", "--ro-bind-try", "/etc/alternatives", "/etc/alternatives"]);
        foreach (var folder in new[] { "/bin", "/sbin", "/lib", "/lib64" })
        {
            if (Directory.Exists(folder))
                command.AddRange(new DirectoryInfo(folder).LinkTarget is { } target ? ["--symlink", target, folder] : ["--ro-bind", folder, folder]);
        }
        command.AddRange(["--proc", "/proc", "--dev", "/dev", "--remount-ro", "/dev",
            "--size", limits.Files.ToString(CultureInfo.InvariantCulture), "--tmpfs", "/tmp", "--remount-ro", "/", "--chdir", "/tmp",
            "prlimit", $"--nproc={Processes}", $"--as={limits.Memory}", $"--cpu={seconds}", $"--fsize={limits.Files}", "--nofile=64", "--core=0",
            "python3", "-I", "-B", "-"]);
        return command;
    }

    private async Task KeepAsync(StreamReader from, StringBuilder output, CancellationToken cancellation)
    {
        var buffer = new char[4096];
        int count;
        while ((count = await from.ReadAsync(buffer, cancellation).ConfigureAwait(false)) > 0)
        {
            lock (output)
                output.Append(buffer, 0, Math.Min(count, limits.Output - output.Length));
        }
    }
}
