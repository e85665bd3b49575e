namespace Ergon.Cli;

/// <summary>The process's exit codes; part of the command line's contract (docs/cli.md).</summary>
internal static class Exit
{
    /// <summary>Done.</summary>
    public const int Ok = 0;

    /// <summary>A failure while running: network, disk, device, or an error of Ergon's own.</summary>
    public const int Failure = 1;

    /// <summary>The command, a setting or a file is wrong; the same command fails again.</summary>
    public const int BadInput = 2;

    /// <summary>Ctrl-C.</summary>
    public const int Interrupted = 130;
}
