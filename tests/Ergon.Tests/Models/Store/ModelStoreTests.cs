using Ergon.Models.Store;

namespace Ergon.Tests.Models.Store;

public sealed class ModelStoreTests : IDisposable
{
    private readonly string folder = Directory.CreateTempSubdirectory("ergon-").FullName;
    private readonly ModelStore store;

    public ModelStoreTests()
    {
        store = new(Path.Combine(folder, "cache"), Path.Combine(folder, "shipped"), new Uri("http://127.0.0.1:9/"), token: null, TimeProvider.System);
        Put("shipped/words-l-f16.gguf");
        Put("shipped/words-l-q8_0.gguf");
        Put("cache/ann/Tiny-GGUF/Tiny-Q4_K_M.gguf");
        Put("cache/ann/Tiny-GGUF/Tiny-Q8_0.gguf");
        Put("cache/bob/Big-GGUF/Big-F16-00001-of-00002.gguf");
        Put("cache/bob/Big-GGUF/Big-F16-00002-of-00002.gguf");
        Put("cache/bob/Half-GGUF/Half-F16.gguf.part");
    }

    public void Dispose() => Directory.Delete(folder, recursive: true);

    [Theory]
    [InlineData("words-l", "shipped/words-l-f16.gguf")]
    [InlineData("words-l-q8_0", "shipped/words-l-q8_0.gguf")]
    [InlineData("words-l-f16", "shipped/words-l-f16.gguf")]
    [InlineData("tiny-q8", "cache/ann/Tiny-GGUF/Tiny-Q8_0.gguf")]
    [InlineData("ann/Tiny-GGUF/Tiny-Q4_K_M", "cache/ann/Tiny-GGUF/Tiny-Q4_K_M.gguf")]
    [InlineData("Tiny-Q4_K_M.gguf", "cache/ann/Tiny-GGUF/Tiny-Q4_K_M.gguf")]
    [InlineData("big", "cache/bob/Big-GGUF/Big-F16-00001-of-00002.gguf")]
    [InlineData("hf:ann/Tiny-GGUF", "cache/ann/Tiny-GGUF/Tiny-Q4_K_M.gguf")]
    [InlineData("hf:ann/Tiny-GGUF:q8_0", "cache/ann/Tiny-GGUF/Tiny-Q8_0.gguf")]
    public void A_name_means_one_file(string name, string file) =>
        Assert.Equal(Path.Combine(folder, file), store.Resolve(name));

    [Theory]
    [InlineData("tiny", "may mean ann/Tiny-GGUF/Tiny-Q4_K_M, ann/Tiny-GGUF/Tiny-Q8_0")]
    [InlineData("half", "no model file or pulled model")]
    [InlineData("nothing", "'ergon list'")]
    [InlineData("hf:bob/None", "run: ergon pull hf:bob/None")]
    [InlineData("https://example.test/m.gguf", "run: ergon pull https://example.test/m.gguf")]
    public void A_name_that_means_no_file_is_explained(string name, string reason) =>
        Assert.Contains(reason, Assert.Throws<ErgonException>(() => store.Resolve(name)).Message, StringComparison.Ordinal);

    [Fact]
    public void A_folder_is_no_model() =>
        Assert.Contains("is a folder", Assert.Throws<ErgonException>(() => store.Resolve(folder)).Message, StringComparison.Ordinal);

    [Fact]
    public void Shipped_models_cannot_be_removed_and_parts_can()
    {
        Assert.Throws<ErgonException>(() => store.Remove("words-l"));
        Assert.False(store.Remove("half").IsComplete);
        Assert.False(Directory.Exists(Path.Combine(folder, "cache/bob/Half-GGUF")));
        Assert.Equal(["words-l", "words-l-q8_0", "Big-F16", "Tiny-Q4_K_M", "Tiny-Q8_0"], store.List().Select(m => m.Name));
    }

    private void Put(string path)
    {
        var file = Path.Combine(folder, path);
        Directory.CreateDirectory(Path.GetDirectoryName(file)!);
        File.WriteAllText(file, "GGUF");
    }
}
