namespace Ergon;

/// <summary>Where Ergon keeps what belongs to this user.</summary>
internal static class UserFolder
{
    /// <summary>A folder of the cache: <c>XDG_CACHE_HOME</c>, else <c>~/.cache</c> (on Windows the local application data), then <c>ergon</c>.</summary>
    /// <param name="name">Its name there.</param>
    public static string Cache(string name) => Path.Combine(
        Environment.GetEnvironmentVariable("XDG_CACHE_HOME") is { Length: > 0 } cache ? cache
        : OperatingSystem.IsWindows() ? Environment.GetFolderPath(Environment.SpecialFolder.LocalApplicationData)
        : Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.UserProfile), ".cache"), "ergon", name);
}
