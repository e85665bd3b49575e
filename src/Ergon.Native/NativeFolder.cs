using System.Runtime.InteropServices;
using System.Text.RegularExpressions;

namespace Ergon.Native;

/// <summary>Where the native libraries of this process lie.</summary>
internal static partial class NativeFolder
{
    /// <summary>The variable that replaces the shipped libraries by a folder of one's own.</summary>
    public const string Variable = "ERGON_NATIVE";

    private static readonly string[] Required = ["ggml-base", "ggml", "llama"];

    /// <summary>The platform as .NET and NuGet name it, as in <c>linux-x64</c>.</summary>
    public static string Platform { get; } =
        (OperatingSystem.IsWindows() ? "win" : OperatingSystem.IsMacOS() ? "osx" : "linux")
        + "-" + RuntimeInformation.ProcessArchitecture.ToString().ToLowerInvariant();

    /// <summary>The folder that <see cref="Variable"/> names, else the one shipped beside the application.</summary>
    /// <exception cref="ErgonException">The named folder lacks a library, or none come for this platform.</exception>
    public static string Resolve() =>
        Resolve(Environment.GetEnvironmentVariable(Variable), AppContext.BaseDirectory);

    internal static string Resolve(string? named, string applicationFolder)
    {
        if (!string.IsNullOrEmpty(named))
        {
            if (!Directory.Exists(named))
                throw new ErgonException($"{Variable} names '{named}', which is not a folder; name the one that holds libllama and libggml, or unset it.");
            return Missing(named) is not { } missing
                ? named
                : throw new ErgonException($"{Variable} names '{named}', which holds no lib{missing}; build llama.cpp {NativeVersion.LlamaCpp} with shared libraries there, or unset it.");
        }

        // A portable application keeps them by platform; one published for a platform, beside itself.
        string[] shipped = [Path.Combine(applicationFolder, "runtimes", Platform, "native"), applicationFolder];
        return shipped.FirstOrDefault(folder => Missing(folder) is null)
            ?? throw new ErgonException($"No native libraries for {Platform} come with this Ergon; build llama.cpp {NativeVersion.LlamaCpp} with shared libraries and set {Variable} to their folder.");
    }

    /// <summary>The backends of the flavours that this user added, for ggml to load one by one.</summary>
    public static IReadOnlyList<string> AddedBackends() => NativeFlavours.OfUser().Backends;

    /// <summary>The backend libraries under a folder, such as <c>libggml-vulkan.so</c>; not ggml's own and not the CPU's.</summary>
    public static IReadOnlyList<string> BackendsIn(string folder) =>
        [.. Directory.EnumerateFiles(folder, "*ggml-*", SearchOption.AllDirectories)
            .Where(file => Backend().IsMatch(Path.GetFileName(file)))
            .Order(StringComparer.Ordinal)];

    private static string? Missing(string folder)
    {
        if (!Directory.Exists(folder))
            return Required[0];
        var names = Directory.EnumerateFiles(folder).Select(Path.GetFileName).ToList();
        return Array.Find(Required, library => !names.Exists(name => IsLibrary(name!, library)));
    }

    // Own builds say libllama.so or llama.dll, the packages libllama.v0.5.0.so.
    internal static bool IsLibrary(string file, string name) =>
        file.StartsWith($"lib{name}.", StringComparison.Ordinal) || file.StartsWith($"{name}.", StringComparison.Ordinal);

    [GeneratedRegex(@"^(lib)?ggml-(?!base|cpu).*\.(so|dylib|dll)$")]
    private static partial Regex Backend();
}
