using Ergon.Native;

namespace Ergon.Tests.Native;

public sealed class NativeFlavoursTests : IDisposable
{
    private readonly string root = Directory.CreateTempSubdirectory("ergon-").FullName;
    private readonly NativeFlavours flavours;

    public NativeFlavoursTests() => flavours = new(Path.Combine(AppContext.BaseDirectory, "natives"), root);

    public void Dispose() => Directory.Delete(root, recursive: true);

    [Fact]
    public void The_flavours_are_those_of_the_pin() => Assert.Equal(["cuda", "vulkan"], flavours.Known);

    [Fact]
    public async Task An_unknown_flavour_is_refused_with_the_known_ones()
    {
        var error = await Assert.ThrowsAsync<ErgonException>(() => flavours.AddAsync("../vulkan", default));
        Assert.Contains("known: cuda, vulkan", error.Message, StringComparison.Ordinal);
        Assert.Throws<ErgonException>(() => flavours.Remove(".."));
    }

    [Fact]
    public void Only_a_complete_install_counts_as_added_and_gives_its_backends_alone()
    {
        var bins = Directory.CreateDirectory(Path.Combine(root, "vulkan/node_modules/p/bins")).FullName;
        foreach (var name in (string[])["libggml-vulkan.so", "libggml-base.so", "libggml-cpu-x64.so", "libllama.so"])
            File.WriteAllText(Path.Combine(bins, name), "");
        Assert.Empty(flavours.Added);

        File.WriteAllText(Path.Combine(root, "vulkan/node_modules/.package-lock.json"), "{}");
        Assert.Equal(["vulkan"], flavours.Added);
        Assert.Equal([Path.Combine(bins, "libggml-vulkan.so")], flavours.Backends);

        Assert.True(flavours.Remove("vulkan"));
        Assert.False(flavours.Remove("vulkan"));
        Assert.Empty(flavours.Added);
    }
}
