namespace Ergon.Tests;

/// <summary>A test that needs the folder <c>shared</c> beside the repository; skipped aloud where it is absent.</summary>
[AttributeUsage(AttributeTargets.Method)]
public sealed class SharedFactAttribute : FactAttribute
{
    public SharedFactAttribute() => Skip = Shared.SkipReason;
}

/// <inheritdoc cref="SharedFactAttribute"/>
[AttributeUsage(AttributeTargets.Method)]
public sealed class SharedTheoryAttribute : TheoryAttribute
{
    public SharedTheoryAttribute() => Skip = Shared.SkipReason;
}

/// <summary>Files that are too large for the repository, in <c>shared</c> beside it.</summary>
internal static class Shared
{
    private static readonly string Root = System.IO.Path.Combine(FindRepository(), "..", "shared");

    public static string? SkipReason => Directory.Exists(Root) ? null : "needs ../shared (absent)";

    public static string Path(string relative) => System.IO.Path.GetFullPath(System.IO.Path.Combine(Root, relative));

    private static string FindRepository()
    {
        for (string? folder = AppContext.BaseDirectory; folder is not null; folder = System.IO.Path.GetDirectoryName(folder))
        {
            if (File.Exists(System.IO.Path.Combine(folder, "Ergon.slnx")))
                return folder;
        }
        throw new InvalidOperationException("Tests run from inside the repository.");
    }
}
