using System.Text.Json;
using Ergon.Native;

namespace Ergon.Tests.Native;

public sealed class NativeFolderTests : IDisposable
{
    private readonly string folder = Directory.CreateTempSubdirectory("ergon-").FullName;

    public void Dispose() => Directory.Delete(folder, recursive: true);

    [Fact]
    public void The_shipped_libraries_are_found_beside_the_application()
    {
        var found = NativeFolder.Resolve(named: null, AppContext.BaseDirectory);

        Assert.Contains($"runtimes/{NativeFolder.Platform}/native", found.Replace('\\', '/'), StringComparison.Ordinal);
        Assert.Contains(Directory.EnumerateFiles(found), file => file.Contains(NativeVersion.LlamaCpp, StringComparison.Ordinal));
    }

    [Fact]
    public void A_named_folder_with_plain_names_replaces_the_shipped_libraries()
    {
        foreach (var name in (string[])["libggml-base.so", "libggml.so", "libllama.so"])
            File.WriteAllText(Path.Combine(folder, name), "");

        Assert.Equal(folder, NativeFolder.Resolve(folder, AppContext.BaseDirectory));
    }

    [Fact]
    public void A_named_folder_without_a_library_is_refused_by_the_name_of_what_is_missing()
    {
        File.WriteAllText(Path.Combine(folder, "libggml-base.so"), "");
        File.WriteAllText(Path.Combine(folder, "libggml.so"), "");

        var error = Assert.Throws<ErgonException>(() => NativeFolder.Resolve(folder, AppContext.BaseDirectory));
        Assert.Contains("ERGON_NATIVE", error.Message, StringComparison.Ordinal);
        Assert.Contains("no libllama", error.Message, StringComparison.Ordinal);
        Assert.Throws<ErgonException>(() => NativeFolder.Resolve(folder + "-absent", AppContext.BaseDirectory));
    }

    [Fact]
    public void A_platform_without_libraries_is_told_of_the_variable()
    {
        var error = Assert.Throws<ErgonException>(() => NativeFolder.Resolve(named: null, folder));
        Assert.Contains("set ERGON_NATIVE", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Every_native_package_is_locked_at_the_one_pinned_version_with_a_hash_and_without_a_host()
    {
        var text = File.ReadAllText(Path.Combine(AppContext.BaseDirectory, "natives", "package-lock.json"));
        Assert.DoesNotContain("://", text, StringComparison.Ordinal);

        using var json = JsonDocument.Parse(text);
        var packages = json.RootElement.GetProperty("packages").EnumerateObject()
            .Where(p => p.Name.Contains("@node-llama-cpp", StringComparison.Ordinal)).ToList();
        Assert.NotEmpty(packages);
        Assert.All(packages, p =>
        {
            Assert.Equal(NativeVersion.Package, p.Value.GetProperty("version").GetString());
            Assert.StartsWith("sha512-", p.Value.GetProperty("integrity").GetString(), StringComparison.Ordinal);
        });
    }
}
