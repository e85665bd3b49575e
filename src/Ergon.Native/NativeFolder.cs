using System.Runtime.InteropServices;

namespace Ergon.Native;

/// <summary>Where the native libraries of this process lie.</summary>
/// <param name="Path">The folder; ggml looks here for its backends.</param>
/// <param name="GgmlBase">Full path of <c>libggml-base</c>.</param>
/// <param name="Ggml">Full path of <c>libggml</c>.</param>
/// <param name="Llama">Full path of <c>libllama</c>.</param>
internal sealed record NativeFolder(string Path, string GgmlBase, string Ggml, string Llama)
{
    /// <summary>The variable that replaces the shipped libraries by a folder of one's own.</summary>
    public const string Variable = "ERGON_NATIVE";

    private static readonly string Extension =
        OperatingSystem.IsWindows() ? ".dll" : OperatingSystem.IsMacOS() ? ".dylib" : ".so";

    private static readonly string Prefix = OperatingSystem.IsWindows() ? "" : "lib";

    /// <summary>The platform as .NET and NuGet name it, as in <c>linux-x64</c>.</summary>
    public static string Platform { get; } =
        (OperatingSystem.IsWindows() ? "win" : OperatingSystem.IsMacOS() ? "osx" : "linux")
        + "-" + RuntimeInformation.ProcessArchitecture.ToString().ToLowerInvariant();

    /// <summary>The folder named by <see cref="Variable"/>, else the one shipped beside the application.</summary>
    /// <exception cref="ErgonException">The named folder lacks a library, or this platform has none.</exception>
    public static NativeFolder Find() =>
        Find(Environment.GetEnvironmentVariable(Variable), AppContext.BaseDirectory);

    internal static NativeFolder Find(string? named, string applicationFolder)
    {
        if (!string.IsNullOrEmpty(named))
        {
            if (!Directory.Exists(named))
                throw new ErgonException($"{Variable} names '{named}', which is not a folder; name the one that holds libllama and libggml, or unset it.");
            return Open(named, out var missing)
                ?? throw new ErgonException($"{Variable} names '{named}', which holds no {missing}; build llama.cpp {NativePin.LlamaCppRelease} with shared libraries there, or unset it.");
        }

        // A portable application keeps them by platform; one published for a platform, beside itself.
        return Open(System.IO.Path.Combine(applicationFolder, "runtimes", Platform, "native"), out _)
            ?? Open(applicationFolder, out _)
            ?? throw new ErgonException($"No native libraries for {Platform} come with Ergon; build llama.cpp {NativePin.LlamaCppRelease} with shared libraries and set {Variable} to their folder.");
    }

    private static NativeFolder? Open(string folder, out string? missing)
    {
        missing = null;
        if (Library(folder, "ggml-base") is not { } ggmlBase)
            missing = Prefix + "ggml-base" + Extension;
        else if (Library(folder, "ggml") is not { } ggml)
            missing = Prefix + "ggml" + Extension;
        else if (Library(folder, "llama") is not { } llama)
            missing = Prefix + "llama" + Extension;
        else
            return new NativeFolder(folder, ggmlBase, ggml, llama);
        return null;
    }

    // Own builds say libllama.so, the packages libllama.v0.5.0.so or libllama.vulkan.v0.5.0.so.
    private static string? Library(string folder, string name)
    {
        var plain = System.IO.Path.Combine(folder, Prefix + name + Extension);
        if (File.Exists(plain))
            return plain;
        return !Directory.Exists(folder) ? null
            : Directory.EnumerateFiles(folder, $"{Prefix}{name}.*{Extension}").Order(StringComparer.Ordinal).FirstOrDefault();
    }

    /// <summary>The backend libraries in a folder, such as <c>libggml-vulkan.so</c>; not ggml's own and not the CPU's.</summary>
    public static IReadOnlyList<string> Backends(string folder) =>
        [.. Directory.EnumerateFiles(folder, $"{Prefix}ggml-*{Extension}", SearchOption.AllDirectories)
            .Where(file => System.IO.Path.GetFileName(file)[(Prefix.Length + 5)..] is var name
                && !name.StartsWith("base", StringComparison.Ordinal) && !name.StartsWith("cpu", StringComparison.Ordinal))
            .Order(StringComparer.Ordinal)];
}
