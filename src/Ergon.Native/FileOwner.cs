using Ergon.Native.Interop;

namespace Ergon.Native;

/// <summary>Whose a file is; .NET tells its rights only.</summary>
internal static unsafe class FileOwner
{
    /// <summary>The number of the user whom this process acts for; <see langword="null"/> on Windows.</summary>
    public static uint? Me => OperatingSystem.IsWindows() ? null : Posix.geteuid();

    /// <summary>The number of the user whom a file or folder belongs to; of a link, the link's own.</summary>
    /// <returns><see langword="null"/> where it is not there or the system does not tell (other than Linux).</returns>
    public static uint? Of(string path)
    {
        Posix.Statx found;
        return OperatingSystem.IsLinux() && Posix.statx(Posix.AT_FDCWD, path, Posix.AT_SYMLINK_NOFOLLOW, Posix.STATX_UID, &found) == 0 && (found.stx_mask & Posix.STATX_UID) != 0 ? found.stx_uid : null;
    }
}
