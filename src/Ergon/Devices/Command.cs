using System.ComponentModel;
using System.Diagnostics;

namespace Ergon.Devices;

/// <summary>What a program printed, or why it could not be asked.</summary>
/// <param name="Output">Its standard output; <see langword="null"/> when it did not run to a good end.</param>
/// <param name="Fault">Why not.</param>
internal readonly record struct CommandOutput(string? Output, string? Fault);

/// <summary>Runs a short program and waits for it.</summary>
/// <param name="program">Its name or path.</param>
/// <param name="arguments">One word.</param>
internal delegate CommandOutput CommandRunner(string program, string arguments);

/// <summary>The <see cref="CommandRunner"/> of the machine.</summary>
internal static class Command
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(2);

    public static CommandOutput Run(string program, string arguments)
    {
        try
        {
            using var process = Process.Start(new ProcessStartInfo(program, arguments) { RedirectStandardOutput = true, RedirectStandardError = true, UseShellExecute = false })!;
            process.ErrorDataReceived += (_, _) => { };
            process.BeginErrorReadLine();
            var output = process.StandardOutput.ReadToEndAsync();
            if (!process.WaitForExit(Patience))
            {
                process.Kill();
                return new CommandOutput(null, $"'{program} {arguments}' did not end within {Patience.TotalSeconds} s");
            }
            return process.ExitCode == 0 ? new CommandOutput(output.GetAwaiter().GetResult(), null) : new CommandOutput(null, $"'{program} {arguments}' ended with code {process.ExitCode}");
        }
        catch (Win32Exception)
        {
            return new CommandOutput(null, $"the program '{program}' is not installed");
        }
    }
}
