using Ergon.Models.Gguf;
using Ergon.Native;

namespace Ergon.Tests.Models.Gguf;

public sealed class GgufFileTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Theory]
    [InlineData("bpe", true)]
    [InlineData("spm", true)]
    [InlineData("wpm", true)]
    [InlineData("ugm", true)]
    [InlineData("rwkv", true)]
    [InlineData("plamo2", true)]
    [InlineData("gemma4", true)]
    [InlineData("none", false)]
    public void A_valid_model_of_each_tokenizer_opens(string name, bool hasTokenizer) =>
        Assert.Equal(hasTokenizer, GgufFile.Open(_folder.File("m.gguf", GgufBases.Named(name))).HasTokenizer);

    [Fact]
    public void What_was_written_is_read_back()
    {
        var writer = new GgufWriter(alignment: 64);
        writer.Add("u8", (byte)200);
        writer.Add("i8", (sbyte)-3);
        writer.Add("u16", (ushort)60000);
        writer.Add("i16", (short)-300);
        writer.Add("u32", 4_000_000_000u);
        writer.Add("i32", -70000);
        writer.Add("u64", 5UL);
        writer.Add("i64", 6L);
        writer.Add("f32", 1.5f);
        writer.Add("f64", 2.5);
        writer.Add("bool", true);
        writer.Add("str", "text \u2581 ok");
        writer.AddArray<short>("shorts", [-1, 2]);
        writer.AddArray<float>("floats", [0.5f, -1]);
        writer.AddArray<bool>("bools", [true, false]);
        writer.AddArray("strings", ["", "a", new string('x', 100_000)]);
        writer.AddTensor("a", GgmlType.F32, [3, 2], new byte[24]);
        writer.AddTensor("b", GgmlType.Q4_0, [64], stream => stream.Write([.. Enumerable.Range(0, 36).Select(i => (byte)i)]));
        string path = _folder.File("w.gguf");
        writer.Write(path);

        var file = GgufFile.OpenContainer(path);

        Assert.Equal((3u, 64), (file.Version, file.Alignment));
        Assert.Equal(new uint[] { 200, 60000, 4_000_000_000, 5, 6 }, new[] { "u8", "u16", "u32", "u64", "i64" }.Select(file.GetUInt32));
        Assert.Throws<GgufException>(() => file.GetUInt32("i8"));
        Assert.Throws<GgufException>(() => file.GetUInt32("str"));
        Assert.Throws<GgufException>(() => file.GetUInt32("absent"));
        Assert.Null(file.FindUInt32("absent"));
        Assert.Equal((1.5f, 2.5f, true, "text \u2581 ok"), (file.GetFloat("f32"), file.GetFloat("f64"), file.GetBool("bool"), file.GetString("str")));
        Assert.Equal([-1, 2], file.FindInt32Array("shorts")!);
        Assert.Equal([0.5f, -1], file.FindFloatArray("floats")!);
        Assert.Equal([1, 0], file.FindInt32Array("bools")!);
        Assert.Equal(["", "a", new string('x', 100_000)], file.GetStrings("strings"));
        Assert.Equal(3, file.FindArrayLength("strings"));
        Assert.Equal(["general.alignment", "u8"], file.Keys.Take(2));
        Assert.Equal(17, file.Keys.Count);

        var b = file.FindTensor("b")!;
        Assert.Equal((GgmlType.Q4_0, 0, 36L, 64L), (b.Type, b.Part, b.Bytes, b.Elements));
        Assert.Equal(new long[] { 64, 1, 1, 1 }, b.Ne);
        Assert.Equal(0, b.FileOffset % 64);
        Assert.Equal(Enumerable.Range(0, 36).Select(i => (byte)i), File.ReadAllBytes(path).Skip((int)b.FileOffset).Take(36));
        Assert.Null(file.FindTensor("c"));
    }

    [Fact]
    public void Metadata_is_copied_byte_for_byte()
    {
        var source = GgufFile.Open(_folder.File("a.gguf", GgufBases.Bpe()));
        var writer = new GgufWriter();
        foreach (string key in source.Keys)
            writer.Copy(source, key);
        writer.Write(_folder.File("b.gguf"));

        var copy = GgufFile.Open(_folder.File("b.gguf"));

        Assert.Equal(source.Keys, copy.Keys);
        Assert.All(source.Keys, key => Assert.Equal(source.ReadRaw(key), copy.ReadRaw(key)));
    }

    [Fact]
    public void A_writer_refuses_what_a_reader_would()
    {
        var writer = new GgufWriter();
        Assert.ThrowsAny<ArgumentException>(() => new GgufWriter(alignment: 24));
        Assert.Throws<ArgumentException>(() => writer.AddTensor(new string('n', 64), GgmlType.F32, [1], new byte[4]));
        Assert.Throws<ArgumentException>(() => writer.AddTensor("n", GgmlType.Q8_0, [31], new byte[34]));
        Assert.ThrowsAny<ArgumentException>(() => writer.AddTensor("n", (GgmlType)4, [32], new byte[34]));
        writer.Add("k", 1u);
        Assert.Throws<ArgumentException>(() => writer.Add("k", 2u));
        writer.AddTensor("short", GgmlType.F32, [2], new byte[7]);
        Assert.Throws<InvalidOperationException>(() => writer.Write(new MemoryStream()));
    }

    [Fact]
    public void Version_2_and_trailing_bytes_are_accepted()
    {
        var raw = RawGguf.Parse(GgufBases.Bpe());
        raw.Version = 2;
        raw.Data = [.. raw.Data, .. new byte[100]];
        Assert.Equal(2u, GgufFile.Open(_folder.File("m.gguf", raw.Serialize())).Version);
    }

    [Fact]
    public void A_file_cut_at_any_byte_is_refused_with_the_place()
    {
        byte[] whole = GgufBases.Bpe();
        var last = GgufFile.Open(_folder.File("m.gguf", whole)).Tensors[^1];
        for (int length = 0; length < last.FileOffset + last.Bytes; length++)
        {
            var e = Assert.Throws<GgufException>(() => GgufFile.Open(_folder.File("m.gguf", whole[..length])));
            Assert.True(length == 0 || e.Message.Contains($" at byte {e.Offset}", StringComparison.Ordinal), e.Message);
        }
        GgufFile.Open(_folder.File("m.gguf", whole[..(int)(last.FileOffset + last.Bytes)])); // its padding may be missing
    }

    [Fact]
    public void Many_threads_read_one_file()
    {
        var file = GgufFile.Open(_folder.File("m.gguf", GgufBases.Bpe()));
        Parallel.For(0, 64, _ => Assert.Equal("cd", file.GetStrings("tokenizer.ggml.tokens").ElementAt(14)));
    }

    [SharedTheory]
    [InlineData("ergon-words-s-f16.gguf", 20, 512)]
    [InlineData("stories260K-f32.gguf", 47, 512)]
    [InlineData("llama-2-tiny-random.gguf", 12, 32000)]
    public void A_published_model_opens(string name, int tensors, int tokens)
    {
        var file = GgufFile.Open(Shared.Path("data/models/" + name));
        Assert.Equal((tensors, tokens), (file.Tensors.Count, (int)file.FindArrayLength("tokenizer.ggml.tokens")!));
        Assert.Equal(tokens, file.GetStrings("tokenizer.ggml.tokens").Count());
    }
}
