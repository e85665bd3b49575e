using System.Globalization;

namespace Ergon.Models.Gguf;

/// <summary>A model cut into files named <c>-00001-of-00003.gguf</c> and so on. Each names its own place
/// (split.no), and all agree on the count: a file that is missing, repeated or of another set is found.</summary>
internal static class GgufSplits
{
    private const string No = "split.no";
    private const string Count = "split.count";
    private const string TensorsCount = "split.tensors.count";

    /// <summary>Adds the parts after the first, and their tensors.</summary>
    public static void Load(string path, GgufHeader first, List<GgufPart> parts, List<GgufTensor> tensors)
    {
        int count = Read(path, first, Count, GgufValueType.UInt16) ?? 1;
        if (count <= 1)
            return;

        int no = Require(path, first, No, GgufValueType.UInt16);
        if (no != 0)
        {
            throw new GgufException(path, No, first.Entries[No].Offset, $"is {no}: this is part {no + 1} of {count}, "
                + $"open the first part instead, {(Prefix(path, no, count) is { } p ? PartPath(p, 0, count) : "-00001-of-...")}");
        }
        string prefix = Prefix(path, 0, count) ?? throw new GgufException(path, Count, first.Entries[Count].Offset,
            $"is {count}, so the file's name must end in {Suffix(0, count)}: restore the names that the parts were published under");
        for (int i = 1; i < count; i++)
        {
            if (!File.Exists(PartPath(prefix, i, count)))
                throw new GgufException(path, Count, first.Entries[Count].Offset, $"is {count}, but part {i + 1}, {PartPath(prefix, i, count)}, does not exist: download all parts");
        }

        var names = tensors.Select(t => t.Name).ToHashSet();
        for (int i = 1; i < count; i++)
            LoadPart(PartPath(prefix, i, count), i, count, parts, tensors, names);

        int total = Require(path, first, TensorsCount, GgufValueType.Int32);
        if (total != tensors.Count)
        {
            throw new GgufException(path, TensorsCount, first.Entries[TensorsCount].Offset,
                $"is {total}, but the {count} parts hold {tensors.Count} tensors: download all parts again");
        }
    }

    private static void LoadPart(string path, int index, int count, List<GgufPart> parts, List<GgufTensor> tensors, HashSet<string> names)
    {
        using var cursor = GgufCursor.Open(path);
        var header = GgufHeader.Read(cursor, index);
        int no = Require(path, header, No, GgufValueType.UInt16);
        if (no != index)
            throw cursor.Error(No, header.Entries[No].Offset, $"is {no}, expected {index}: this is another part, download it again");
        int ownCount = Require(path, header, Count, GgufValueType.UInt16);
        if (ownCount != count)
            throw cursor.Error(Count, header.Entries[Count].Offset, $"is {ownCount}, expected {count} as in the first part: the parts are of different models");
        foreach (var tensor in header.Tensors)
        {
            if (!names.Add(tensor.Name))
                throw cursor.Error($"tensor '{tensor.Name}' data", tensor.FileOffset, "is in an earlier part as well: the parts are of different models");
        }
        parts.Add(new(path, cursor.Length));
        tensors.AddRange(header.Tensors);
    }

    private static int Require(string path, GgufHeader header, string key, GgufValueType type) =>
        Read(path, header, key, type) ?? throw new GgufException(path, $"is a part of a split model but has no {key}: download all parts again");

    // libllama aborts on any other integer type.
    private static int? Read(string path, GgufHeader header, string key, GgufValueType type)
    {
        if (!header.Entries.TryGetValue(key, out var entry))
            return null;
        if (entry.Type != type)
            throw new GgufException(path, key, entry.Offset, $"is {entry.TypeName}, expected {type.Name()}: download all parts again");
        return (int)entry.Bits;
    }

    private static string Suffix(int index, int count) =>
        string.Create(CultureInfo.InvariantCulture, $"-{index + 1:00000}-of-{count:00000}.gguf");

    private static string? Prefix(string path, int index, int count) =>
        path.EndsWith(Suffix(index, count), StringComparison.Ordinal) ? path[..^Suffix(index, count).Length] : null;

    private static string PartPath(string prefix, int index, int count) => prefix + Suffix(index, count);
}
