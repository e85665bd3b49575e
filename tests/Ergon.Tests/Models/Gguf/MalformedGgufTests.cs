using System.Text;
using Ergon.Models.Gguf;

namespace Ergon.Tests.Models.Gguf;

/// <summary>Hand-made malformed files: each is refused with the field at fault and where it lies.</summary>
public sealed class MalformedGgufTests : IDisposable
{
    private static readonly Dictionary<string, MalformedGguf> Cases = MalformedGgufCorpus.All().ToDictionary(c => c.Name);

    private readonly TemporaryFolder _folder = new();

    public static TheoryData<string> Names => [.. Cases.Keys];

    public void Dispose() => _folder.Dispose();

    [Theory]
    [MemberData(nameof(Names))]
    public void Malformed(string name)
    {
        var raw = RawGguf.Parse(GgufBases.Named(Cases[name].Base));
        Cases[name].Spoil(raw);
        string path = _folder.File("m.gguf", raw.Serialize());

        var e = Assert.Throws<GgufException>(() => GgufFile.Open(path));

        Assert.Equal(Cases[name].Field, e.Field);
        long offset = Cases[name].At is { } at ? raw.At[at] + Cases[name].Plus : -1;
        Assert.Equal(offset, e.Offset);
        Assert.Contains(Cases[name].Says, e.Message, StringComparison.Ordinal);
        if (e.Field is not null)
            Assert.StartsWith($"{path}: {e.Field} at byte {e.Offset} ", e.Message, StringComparison.Ordinal);
        Assert.DoesNotContain('\n', e.Message);
    }

    [Fact]
    public void There_are_more_than_two_hundred() => Assert.True(Cases.Count > 200, $"{Cases.Count}");

    [Theory]
    [InlineData("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 1234\n", "git lfs pull")]
    [InlineData("<!DOCTYPE html><html>Not found</html>", "web page")]
    [InlineData("", "is empty")]
    public void What_is_no_model_at_all_is_named(string content, string says)
    {
        var e = Assert.Throws<GgufException>(() => GgufFile.Open(_folder.File("m.gguf", Encoding.UTF8.GetBytes(content))));
        Assert.Contains(says, e.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_path_that_is_not_a_file_is_named()
    {
        Assert.Contains("directory", Assert.Throws<GgufException>(() => GgufFile.Open(Path.GetTempPath())).Message, StringComparison.Ordinal);
        Assert.Contains("does not exist", Assert.Throws<GgufException>(() => GgufFile.Open(_folder.File("absent.gguf"))).Message, StringComparison.Ordinal);
        Assert.Contains("does not exist", Assert.Throws<GgufException>(() => GgufFile.Open("a\0b")).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_device_is_refused_without_reading_it()
    {
        if (File.Exists("/dev/zero"))
            Assert.Contains("not a regular file", Assert.Throws<GgufException>(() => GgufFile.Open("/dev/zero")).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Thousands_of_keys_and_tensors_are_read_within_bounds()
    {
        var raw = RawGguf.Parse(GgufBases.Bpe());
        raw.Tensors.Clear();
        for (int i = 0; raw.Keys.Count < 8192; i++)
            raw.Keys.Add(new(Encoding.ASCII.GetBytes($"k{i}"), RawValue.Any(0)));
        for (int i = 0; i < 20_000; i++)
            raw.Tensors.Add(new(Encoding.ASCII.GetBytes($"t{i}"), 1, [8], 0, (ulong)i * 32));
        raw.Data = new byte[20_000 * 32];
        string path = _folder.File("m.gguf", raw.Serialize());
        long before = GC.GetAllocatedBytesForCurrentThread();

        Assert.Equal(20_000, GgufFile.Open(path).Tensors.Count);

        long allocated = GC.GetAllocatedBytesForCurrentThread() - before;
        Assert.True(allocated < 400L * (8192 + 20_000) + 200_000, $"{allocated}");
    }
}
