using System.Globalization;
using Ergon.Native;

namespace Ergon.Runtime;

/// <summary>
/// The folder of this user's status sockets. Whoever can enter it can read what runs, so it is the user's alone: a
/// folder in a place that all can write to may have been put there by somebody else.
/// </summary>
internal static class StatusFolder
{
    private const UnixFileMode Others = (UnixFileMode)0b000_111_111, Own = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute;

    /// <summary><c>$XDG_RUNTIME_DIR/ergon</c> where that is this user's folder; else <c>/tmp/ergon-UID</c>, or <c>ergon</c> in the user's own temporary folder.</summary>
    public static string OfUser() => OfUser(Environment.GetEnvironmentVariable("XDG_RUNTIME_DIR"));

    internal static string OfUser(string? runtime)
    {
        // After su it is still the other user's.
        if (runtime is not null && Path.IsPathFullyQualified(runtime) && Directory.Exists(runtime) && FileOwner.Of(runtime) == FileOwner.Me)
            return Path.Combine(runtime, "ergon");
        // Not TMPDIR, which may differ between two terminals.
        return OperatingSystem.IsLinux() ? string.Create(CultureInfo.InvariantCulture, $"/tmp/ergon-{FileOwner.Me}") : Path.Combine(Path.GetTempPath(), "ergon");
    }

    /// <summary>Makes the folder where it is missing.</summary>
    /// <exception cref="ErgonException">It cannot be made, or <see cref="Problem"/> has one.</exception>
    public static void Make(string folder)
    {
        try
        {
            if (OperatingSystem.IsWindows())
                Directory.CreateDirectory(folder);
            else
                Directory.CreateDirectory(folder, Own);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new ErgonException($"The folder '{folder}' for the status of running processes cannot be made ({e.Message.TrimEnd('.')}); set XDG_RUNTIME_DIR to a folder of your own.", e);
        }
        if (Problem(folder) is { } problem)
            throw new ErgonException(problem);
    }

    /// <summary>Why a folder that is there must not be used; <see langword="null"/> where it may be.</summary>
    public static string? Problem(string folder)
    {
        if (OperatingSystem.IsWindows())
            return null;
        try
        {
            if (new DirectoryInfo(folder).LinkTarget is { } target)
                return $"The folder '{folder}' for the status of running processes is a link to '{target}'; remove it.";
            if (FileOwner.Of(folder) is { } owner && owner != FileOwner.Me)
                return $"The folder '{folder}' for the status of running processes belongs to the user {owner}; set XDG_RUNTIME_DIR to a folder of your own.";
            var mode = File.GetUnixFileMode(folder);
            return (mode & Others) == 0 ? null
                : $"The folder '{folder}' for the status of running processes is open to others (mode {Convert.ToString((int)mode, 8)}); 'chmod 700 {folder}' closes it.";
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return $"The folder '{folder}' for the status of running processes cannot be used ({e.Message.TrimEnd('.')}); set XDG_RUNTIME_DIR to a folder of your own.";
        }
    }
}
