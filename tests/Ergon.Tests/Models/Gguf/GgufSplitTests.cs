using Ergon.Models.Gguf;

namespace Ergon.Tests.Models.Gguf;

public sealed class GgufSplitTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void A_split_model_opens_as_one()
    {
        string path = Split();
        var file = GgufFile.Open(path);
        Assert.Equal((3, path, 3), (file.Parts.Count, file.Path, file.Tensors.Count));
        Assert.Equal([0, 1, 2], file.Tensors.Select(t => t.Part));
        Assert.True(file.HasTokenizer);
    }

    [Fact]
    public void A_missing_part_is_named() =>
        Refused("split.count", "m-00002-of-00003.gguf, does not exist", () => File.Delete(Part(1)));

    [Fact]
    public void The_first_part_is_asked_for()
    {
        string path = Split();
        var e = Assert.Throws<GgufException>(() => GgufFile.Open(Part(1)));
        Assert.Equal("split.no", e.Field);
        Assert.Contains("open the first part instead, " + path, e.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_renamed_part_is_asked_back() =>
        Refused("split.count", "must end in -00001-of-00003.gguf", () => File.Move(Part(0), _folder.File("other.gguf")), "other.gguf");

    [Fact]
    public void A_part_that_is_another_is_found() =>
        Refused("split.no", "is 0, expected 1", () => File.Copy(Part(0), Part(1), overwrite: true));

    [Fact]
    public void A_link_back_to_the_first_part_is_found() => Refused("split.no", "is 0, expected 2", () =>
    {
        File.Delete(Part(2));
        File.CreateSymbolicLink(Part(2), Part(0));
    });

    [Fact]
    public void A_link_to_itself_is_refused()
    {
        Split();
        File.Delete(Part(1));
        File.CreateSymbolicLink(Part(1), Part(1));
        Assert.Throws<GgufException>(() => GgufFile.Open(Part(0)));
    }

    [Fact]
    public void A_part_of_another_model_is_found() =>
        Refused("split.count", "is 4, expected 3", () => Edit(1, r => r.Set("split.count", U16(4))));

    [Fact]
    public void A_part_without_its_number_is_found() => Refused(null, "has no split.no", () => Edit(2, r => r.Remove("split.no")));

    [Fact]
    public void A_first_part_without_its_number_is_found() => Refused(null, "has no split.no", () => Edit(0, r => r.Remove("split.no")));

    // libllama aborts on it.
    [Fact]
    public void A_number_of_another_type_is_found() =>
        Refused("split.no", "is u32, expected u16", () => Edit(1, r => r.Set("split.no", RawValue.U32(1))));

    [Fact]
    public void A_wrong_total_is_found() =>
        Refused("split.tensors.count", "is 4, but the 3 parts hold 3", () => Edit(0, r => r.Set("split.tensors.count", RawValue.Raw(5, [4, 0, 0, 0]))));

    [Fact]
    public void A_total_of_another_type_is_found() =>
        Refused("split.tensors.count", "expected i32", () => Edit(0, r => r.Set("split.tensors.count", RawValue.U32(3))));

    [Fact]
    public void A_missing_total_is_found() => Refused(null, "has no split.tensors.count", () => Edit(0, r => r.Remove("split.tensors.count")));

    [Fact]
    public void A_tensor_in_two_parts_is_found() => Refused("tensor 'token_embd.weight' data", "earlier part",
        () => Edit(2, r => r.Tensors[0] = r.Tensors[0] with { Name = "token_embd.weight"u8.ToArray() }));

    [Fact]
    public void A_malformed_part_is_found() => Refused("version", "expected 2 or 3", () => Edit(1, r => r.Version = 9));

    private void Refused(string? field, string says, Action spoil, string? open = null)
    {
        Split();
        spoil();
        var e = Assert.Throws<GgufException>(() => GgufFile.Open(open is null ? Part(0) : _folder.File(open)));
        Assert.Equal(field, e.Field);
        Assert.Contains(says, e.Message, StringComparison.Ordinal);
    }

    private string Part(int index) => _folder.File($"m-{index + 1:00000}-of-00003.gguf");

    /// <summary>The byte-pair base with a tensor in each of three parts; the first part's path.</summary>
    private string Split()
    {
        var whole = RawGguf.Parse(GgufBases.Bpe());
        for (int i = 0; i < 3; i++)
        {
            var part = new RawGguf();
            if (i == 0)
                part.Keys.AddRange(whole.Keys);
            part.Set("split.no", U16((ushort)i));
            part.Set("split.count", U16(3));
            if (i == 0)
                part.Set("split.tensors.count", RawValue.Raw(5, [3, 0, 0, 0]));
            part.Tensors.Add(whole.Tensors[i] with { Offset = 0 });
            part.Data = new byte[512];
            File.WriteAllBytes(Part(i), part.Serialize());
        }
        return Part(0);
    }

    private void Edit(int index, Action<RawGguf> edit)
    {
        var raw = RawGguf.Parse(File.ReadAllBytes(Part(index)));
        edit(raw);
        File.WriteAllBytes(Part(index), raw.Serialize());
    }

    private static byte[] U16(ushort value) => RawValue.Raw(2, BitConverter.GetBytes(value));
}
