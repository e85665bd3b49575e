using System.Text;

namespace Ergon.Tests.Models.Gguf;

/// <summary>A valid model, what is spoilt in it, and the error that must come of it.</summary>
/// <param name="Name">Unique.</param>
/// <param name="Base">A name that <see cref="GgufBases.Named"/> knows.</param>
/// <param name="Spoil">Changes the fields.</param>
/// <param name="Field">That the error names; null when it is about the file as a whole.</param>
/// <param name="At">Where the field lies, as <see cref="RawGguf.At"/> calls it.</param>
/// <param name="Says">Part of the message.</param>
/// <param name="Plus">Bytes from there to the fault.</param>
internal sealed record MalformedGguf(string Name, string Base, Action<RawGguf> Spoil, string? Field, string? At, string Says, int Plus = 0);

internal static class MalformedGgufCorpus
{
    private const string T = "tokenizer.ggml.";
    private const string First = "token_embd.weight";
    private const string Second = "blk.0.attn_q.weight"; // q8_0, [32, 3]
    private static readonly uint[] Types = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];
    private static readonly string[] TypeNames = ["u8", "i8", "u16", "i16", "u32", "i32", "f32", "bool", "str", "arr", "u64", "i64", "f64"];

    public static IEnumerable<MalformedGguf> All() =>
        [.. Header(), .. Keys(), .. Alignment(), .. Tensors(), .. General(), .. Scalars(), .. Arrays(), .. SpecialTokens(), .. Tokens(), .. Charsmaps()];

    private static IEnumerable<MalformedGguf> Header()
    {
        MalformedGguf Case(string name, Action<RawGguf> spoil, string field, int at, string says) =>
            new(name, "bpe", r => { spoil(r); r.At["start"] = 0; }, field, "start", says, at);

        yield return Case("magic of another format", r => r.Magic = "ggjt"u8.ToArray(), "magic", 0, "'ggjt'");
        yield return Case("magic in lower case", r => r.Magic = "gguf"u8.ToArray(), "magic", 0, "expected 'GGUF'");
        yield return Case("magic with control characters", r => r.Magic = [27, 91, 50, 74], "magic", 0, "'\uFFFD[2J'");
        yield return Case("version 1", r => r.Version = 1, "version", 4, "no longer supported");
        foreach (uint version in (uint[])[0, 4, 99, uint.MaxValue])
            yield return Case($"version {version}", r => r.Version = version, "version", 4, "expected 2 or 3");
        foreach (uint version in (uint[])[0x0300_0000, 0x0200_0000])
            yield return Case($"version {version:x}", r => r.Version = version, "version", 4, "big-endian");
        foreach (ulong count in (ulong[])[65537, 1UL << 32, 1UL << 62, 1UL << 63, ulong.MaxValue])
            yield return Case($"{count} tensors", r => r.TensorCount = count, "tensor count", 8, "expected at most 65536");
        yield return Case("more tensors than bytes", r => r.TensorCount = 60000, "tensor count", 8, "needs 1980000 bytes");
        foreach (ulong count in (ulong[])[8193, 1UL << 32, 1UL << 63, ulong.MaxValue])
            yield return Case($"{count} keys", r => r.KeyCount = count, "key count", 16, "expected at most 8192");
        yield return Case("more keys than bytes", r => r.KeyCount = 8000, "key count", 16, "needs 112000 bytes");
    }

    private static IEnumerable<MalformedGguf> Keys()
    {
        static MalformedGguf Named(string name, byte[] key, string says, int plus = 0) =>
            new(name, "bpe", r => r.Keys.Insert(1, new(key, RawValue.U32(1))), "key[1]", "key " + Encoding.ASCII.GetString(key), says, plus);

        yield return Named("key without a name", [], "0 bytes");
        yield return Named("key of 1025 characters", new byte[1025], "1025 bytes");
        yield return Named("key with a NUL", "a\0b"u8.ToArray(), "printable ASCII", 8);
        yield return Named("key with a line feed", "a\nb"u8.ToArray(), "printable ASCII", 8);
        yield return Named("key outside ASCII", "a\u00e9"u8.ToArray(), "printable ASCII", 8);
        yield return new("key twice", "bpe", r => r.Keys.Add(r.Keys[0]), "general.architecture", "key general.architecture", "twice");
        foreach (uint type in (uint[])[13, 14, 255, 1u << 31, uint.MaxValue])
        {
            yield return new($"value type {type}", "bpe", r => r.Set("x", RawValue.Raw(type, [1, 2, 3, 4])), "x", "value x", $"type {type}", -4);
            yield return new($"element type {type}", "bpe", r => r.Set("x", RawValue.Array(type, 1, [1])), "x", "value x", $"element type {type}");
        }
        yield return new("array of arrays", "bpe", r => r.Set("x", RawValue.Array(9, 1, RawValue.Int32s(1))), "x", "value x", "array of arrays");
        foreach (uint type in Types.Where(t => t != 9))
        {
            foreach (ulong count in (ulong[])[100_000, 1UL << 61, ulong.MaxValue])
                yield return new($"array of {count} {TypeNames[type]}", "bpe", r => r.Set("x", RawValue.Array(type, count, [])), "x", "value x", $"has {count} elements", 4);
        }
        foreach (ulong length in (ulong[])[100_000, 1UL << 63, ulong.MaxValue])
        {
            byte[] size = BitConverter.GetBytes(length);
            yield return new($"string of {length}", "bpe", r => r.Set("x", RawValue.Raw(8, size)), "x", "value x", $"length {length}");
            yield return new($"string of {length} in an array", "bpe", r => r.Set("x", RawValue.Array(8, 2, [0, 0, 0, 0, 0, 0, 0, 0, .. size])), "x[1]", "value x", $"length {length}", 20);
        }
        foreach (byte value in (byte[])[2, 255])
            yield return new($"bool of {value}", "bpe", r => r.Set("x", RawValue.Raw(7, [value])), "x", "value x", "expected 0 or 1");
    }

    private static IEnumerable<MalformedGguf> Alignment()
    {
        const string key = "general.alignment";
        foreach (uint value in (uint[])[0, 1, 3, 4, 24, 33, (1 << 20) + 32, 1 << 21, 1u << 31, uint.MaxValue])
            yield return new($"alignment {value}", "bpe", r => r.Set(key, RawValue.U32(value)), key, "value " + key, "power of two");
        foreach (uint type in Types.Where(t => t != 4))
            yield return new($"alignment as {TypeNames[type]}", "bpe", r => r.Set(key, RawValue.Any(type)), key, "value " + key, "expected u32");
    }

    private static IEnumerable<MalformedGguf> Tensors()
    {
        static MalformedGguf Case(string name, Func<RawGguf.Tensor, RawGguf.Tensor> spoil, string what, string at, string says, int plus = 0) =>
            new(name, "bpe", r => r.Tensors[1] = spoil(r.Tensors[1]), $"tensor '{Second}' {what}", $"{at} {Second}", says, plus);

        static MalformedGguf Named(string name, byte[] tensor, string says, int plus) =>
            new(name, "bpe", r => r.Tensors[1] = r.Tensors[1] with { Name = tensor }, "tensor[1]", "tensor " + Encoding.ASCII.GetString(tensor), says, plus);

        yield return Named("tensor without a name", [], "0 bytes", 0);
        yield return Named("tensor name of 64 characters", [.. Enumerable.Repeat((byte)'n', 64)], "64 bytes", 0);
        yield return Named("tensor name with a NUL", "a\0b"u8.ToArray(), "printable ASCII", 8);
        yield return Named("tensor name with an escape", [27, 91], "printable ASCII", 8);
        yield return new("tensor twice", "bpe", r => r.Tensors[1] = r.Tensors[1] with { Name = r.Tensors[0].Name }, $"tensor '{First}'", "tensor " + First, "twice");
        foreach (uint dims in (uint[])[0, 5, 1u << 31, uint.MaxValue])
            yield return Case($"{dims} dimensions", t => t with { Dims = dims }, "dimensions", "dims", "expected 1 to 4");
        foreach (ulong n in (ulong[])[0, 1UL << 63, ulong.MaxValue])
        {
            yield return Case($"ne[0] of {n}", t => t with { Ne = [n, 3] }, "ne[0]", "ne", "expected 1 to");
            yield return Case($"ne[1] of {n}", t => t with { Ne = [32, n] }, "ne[1]", "ne", "expected 1 to", 8);
        }
        yield return Case("elements that overflow", t => t with { Ne = [1UL << 62, 32] }, "shape", "ne", "too large");
        yield return Case("elements that overflow to zero", t => t with { Ne = [1UL << 32, 1UL << 32] }, "shape", "ne", "too large");
        yield return Case("elements that overflow to one", t => t with { Dims = 3, Ne = [32, 0x5555_5555_5555_5555, 3] }, "shape", "ne", "too large");
        yield return Case("bytes that overflow", t => t with { Ne = [1UL << 60, 7], Type = 0 }, "shape", "ne", "too large");
        yield return Case("more bytes than the file", t => t with { Ne = [32, 1 << 20] }, "shape", "ne", "more than the file's");
        yield return Case("part of a block", t => t with { Ne = [33, 3] }, "ne[0]", "ne", "multiple of 32");
        yield return Case("part of a super-block", t => t with { Ne = [128, 1], Type = 12 }, "ne[0]", "ne", "multiple of 256");
        foreach (uint type in (uint[])[4, 5, 31, 32, 33, 36, 37, 38])
            yield return Case($"removed type {type}", t => t with { Type = type }, "type", "type", "removed");
        foreach (uint type in (uint[])[43, 44, 1u << 31, uint.MaxValue])
            yield return Case($"unknown type {type}", t => t with { Type = type }, "type", "type", "expected 0 to 42");
        yield return Case("misaligned offset", t => t with { Offset = 513 }, "offset", "offset", "not a multiple");
        yield return Case("offset of the tensor before", t => t with { Offset = 0 }, "offset", "offset", "overlaps");
        yield return Case("offset within the tensor before", t => t with { Offset = 480 }, "offset", "offset", "overlaps");
        yield return Case("offset after a gap", t => t with { Offset = 544 }, "offset", "offset", "without gaps");
        yield return Case("offset that wraps", t => t with { Offset = ulong.MaxValue - 31 }, "offset", "offset", "expected 512");
        yield return new("first offset not zero", "bpe", r => r.Tensors[0] = r.Tensors[0] with { Offset = 32 }, $"tensor '{First}' offset", "offset " + First, "expected 0");
        yield return new("data cut off", "bpe", r => r.Data = r.Data[..600], $"tensor '{Second}' data", "data", "incomplete", 512);
        yield return new("no data", "bpe", r => r.Data = [], $"tensor '{First}' data", "data", "incomplete");
    }

    private static IEnumerable<MalformedGguf> General()
    {
        const string key = "general.architecture";
        yield return new("no architecture", "bpe", r => r.Remove(key), null, null, "has no " + key);
        foreach (string name in (string[])["", "lama", "Llama", "gptj", "(unknown)", "llama\n"])
            yield return new($"architecture '{name}'", "bpe", r => r.Set(key, RawValue.Text(name)), key, "value " + key, "does not know");
        yield return new("an image encoder", "bpe", r => r.Set(key, RawValue.Text("clip")), key, "value " + key, "image encoder");
        const string size = "llama.vocab_size";
        foreach (uint value in (uint[])[(1 << 24) + 1, uint.MaxValue])
            yield return new($"{value} dummy tokens", "none", r => r.Set(size, RawValue.U32(value)), size, "value " + size, "expected at most");
        yield return new("dummy tokens as i32", "none", r => r.Set(size, RawValue.Any(5)), size, "value " + size, "expected u32");
        yield return new("named like Phi-3 without its tokens", "bpe", r => r.Set("general.name", RawValue.Text("My Phi-3 Mini")), "general.name", "value general.name", "</s>");
        yield return new("named like phi3 without its tokens", "spm", r => r.Set("general.name", RawValue.Text("PHI3")), "general.name", "value general.name", "<|endoftext|>");
    }

    // Where libllama takes one type only.
    private static IEnumerable<MalformedGguf> Scalars()
    {
        foreach (var (key, type) in ((string, uint)[])[
            ("general.architecture", 8), ("general.name", 8), ("general.file_type", 4), (T + "model", 8), (T + "pre", 8),
            (T + "token_type_count", 4), (T + "add_bos_token", 7), (T + "add_eos_token", 7), (T + "add_sep_token", 7),
            (T + "add_space_prefix", 7), (T + "remove_extra_whitespaces", 7), (T + "normalizer.lowercase", 7),
            (T + "normalizer.strip_accents", 7), ("split.count", 2)])
        {
            foreach (uint wrong in Types.Where(t => t != type))
            {
                yield return new($"{key} as {TypeNames[wrong]}", "bpe", r => r.Set(key, RawValue.Any(wrong)), key, "value " + key, $"expected {TypeNames[type]}");
            }
        }
        yield return new("unknown tokenizer", "bpe", r => r.Set(T + "model", RawValue.Text("gpt3")), T + "model", $"value {T}model", "'gpt3'");
        yield return new("empty tokenizer", "bpe", r => r.Set(T + "model", RawValue.Text("")), T + "model", $"value {T}model", "''");
        yield return new("unknown pre-tokenizer", "bpe", r => r.Set(T + "pre", RawValue.Text("qwen9")), T + "pre", $"value {T}pre", "'qwen9'");
    }

    private static IEnumerable<MalformedGguf> Arrays()
    {
        foreach (var (name, type, other) in ((string, uint, uint)[])[("tokens", 8, 8), ("scores", 6, 5), ("token_type", 5, 5), ("merges", 8, 8), ("suppress_tokens", 5, 5)])
        {
            foreach (uint wrong in Types.Where(t => t != 9))
                yield return new($"{name} as one {TypeNames[wrong]}", "bpe", r => r.Set(T + name, RawValue.Any(wrong)), T + name, $"value {T}{name}", "expected arr");
            foreach (uint wrong in Types.Where(t => t != type && t != other && t != 9))
            {
                byte[] elements = [.. Enumerable.Repeat(RawValue.Any(wrong)[4..], 16).SelectMany(b => b)];
                yield return new($"{name} of {TypeNames[wrong]}", "bpe", r => r.Set(T + name, RawValue.Array(wrong, 16, elements)), T + name, $"value {T}{name}", $"expected arr[{TypeNames[type]}]");
            }
        }
        yield return new("no tokens key", "bpe", r => r.Remove(T + "tokens"), null, null, "has no " + T + "tokens");
        yield return new("no merges key", "bpe", r => r.Remove(T + "merges"), null, null, "has no " + T + "merges");
        yield return new("no merges key for gemma4", "gemma4", r => r.Remove(T + "merges"), null, null, "has no " + T + "merges");
        yield return new("no tokens at all", "bpe", r => r.Set(T + "tokens", RawValue.Texts(new List<string>())), T + "tokens", $"value {T}tokens", "has 0 tokens");
        yield return new("too few scores", "spm", r => r.Set(T + "scores", RawValue.Array(6, 260, new byte[1040])), T + "scores", $"value {T}scores", "has 260 elements");
        yield return new("no scores in their array", "spm", r => r.Set(T + "scores", RawValue.Array(6, 0, [])), T + "scores", $"value {T}scores", "has 0 elements");
        yield return new("too few token types", "bpe", r => r.Set(T + "token_type", RawValue.Int32s(1, 1)), T + "token_type", $"value {T}token_type", "has 2 elements");
    }

    private static IEnumerable<MalformedGguf> SpecialTokens()
    {
        foreach (string name in (string[])["bos", "eos", "eot", "eom", "unknown", "seperator", "padding", "mask", "fim_pre", "fim_suf", "fim_mid", "fim_pad", "fim_rep", "fim_sep", "prefix", "suffix", "middle"])
        {
            string key = $"{T}{name}_token_id";
            foreach (uint id in (uint[])[16, uint.MaxValue - 1])
                yield return new($"{name} token {id}", "bpe", r => r.Set(key, RawValue.U32(id)), key, "value " + key, "only 16 tokens");
            foreach (uint wrong in (uint[])[5, 8, 9, 10])
                yield return new($"{name} token as {TypeNames[wrong]}", "bpe", r => r.Set(key, RawValue.Any(wrong)), key, "value " + key, "expected u32");
        }

        static void Shorten(RawGguf r, int count)
        {
            r.Set(T + "tokens", RawValue.Texts(Enumerable.Range(0, count).Select(i => $"t{i}").ToList()));
            foreach (string key in (string[])["token_type", "scores", "bos_token_id", "eos_token_id"])
                r.Remove(T + key);
        }

        byte[] yes = RawValue.Raw(7, [1]);
        yield return new("no token to begin with", "bpe", r => { Shorten(r, 11); r.Set(T + "add_bos_token", yes); }, null, null, "has no " + T + "bos_token_id");
        yield return new("no token to end with", "bpe", r => { Shorten(r, 11); r.Set(T + "add_eos_token", yes); }, null, null, "has no " + T + "eos_token_id");
        yield return new("no token to begin with for llama3", "bpe", r => { Shorten(r, 11); r.Remove(T + "add_bos_token"); r.Set(T + "pre", RawValue.Text("llama-bpe")); }, null, null, "has no " + T + "bos_token_id");
        yield return new("no token to begin with for chatglm", "bpe", r => { r.Remove(T + "bos_token_id"); r.Set(T + "add_bos_token", yes); r.Set(T + "pre", RawValue.Text("glm4")); }, null, null, "has no " + T + "bos_token_id");
        yield return new("no token to begin with for gemma4", "gemma4", r => { r.Remove(T + "bos_token_id"); r.Set(T + "add_bos_token", RawValue.Raw(7, [0])); }, null, null, "has no " + T + "bos_token_id");
        yield return new("no token to begin with for t5", "ugm", r => r.Set(T + "add_bos_token", yes), null, null, "has no " + T + "bos_token_id");
        yield return new("no separator", "wpm", r => Shorten(r, 102), null, null, "has no " + T + "seperator_token_id");
        yield return new("no unknown token", "wpm", r =>
        {
            Shorten(r, 100);
            r.Set(T + "bos_token_id", RawValue.U32(0));
            r.Set(T + "seperator_token_id", RawValue.U32(1));
        }, null, null, "has no " + T + "unknown_token_id");
        yield return new("no token to begin with for bert", "wpm", r => Shorten(r, 101), null, null, "has no " + T + "bos_token_id");
    }

    private static IEnumerable<MalformedGguf> Tokens()
    {
        static MalformedGguf Case(string name, string @base, List<byte[]> tokens, int at, string says, int[]? types = null, string? index = null) =>
            new(name, @base, r =>
            {
                r.Set(T + "tokens", RawValue.Texts(tokens));
                r.Remove(T + "scores");
                r.Remove(T + "token_type");
                if (types is not null)
                    r.Set(T + "token_type", RawValue.Int32s(types));
            }, T + "tokens" + (index ?? $"[{at}]"), $"value {T}tokens", says, index is null ? 12 + tokens.Take(at).Sum(t => 8 + t.Length) : 0);

        static byte[] B(string text) => Encoding.UTF8.GetBytes(text);
        List<byte[]> letters = [.. "abcdefghijklmnop".Select(c => B(c.ToString()))];
        List<byte[]> bytes = [B("<unk>"), B("<s>"), B("</s>"), .. GgufBases.Bytes.Select(B)];
        int[] byteTypes = [2, 3, 3, .. Enumerable.Repeat(6, 256)];

        yield return Case("a token twice", "bpe", [.. letters, B("c")], 16, "there already");
        yield return Case("a token twice up to its NUL", "bpe", [.. letters, B("c\0d")], 16, "there already");
        yield return Case("the name of an empty token", "bpe", [.. letters, B(""), B("[EMPTY_16]")], 16, "'[EMPTY_16]'");
        yield return Case("the name of a NUL token", "bpe", [.. letters, B("[EMPTY_17]"), B("\0")], 17, "'[EMPTY_17]'");
        yield return Case("a byte token too short", "bpe", letters, 3, "not written as", [.. letters.Select((_, i) => i == 3 ? 6 : 1)]);
        yield return Case("a byte token without digits", "spm", [.. bytes, B("<0xZZ>")], 259, "not written as", [.. byteTypes, 6]);
        yield return Case("a byte token in a unigram vocabulary", "ugm", letters, 0, "not written as", [6, .. Enumerable.Repeat(1, 15)]);
        yield return Case("a byte token in a word-piece vocabulary", "wpm", [.. Enumerable.Range(0, 110).Select(i => B($"w{i}"))], 7, "cannot have", [.. Enumerable.Range(0, 110).Select(i => i == 7 ? 6 : 1)]);
        foreach (int missing in (int[])[0, 10, 0x41, 0xe2, 255])
        {
            yield return Case($"no token for byte {missing}", "spm", [.. bytes.Where((_, i) => i != missing + 3)], 0, $"0x{missing:X2}", index: "");
            yield return Case($"no PLaMo-2 token for byte {missing}", "plamo2", bytes, 0, $"0x{missing:X2}", [.. byteTypes.Select((t, i) => i == missing + 3 ? 1 : t)], "");
        }
        yield return Case("a PLaMo-2 byte as token 0", "plamo2", [.. bytes.Skip(3)], 0, "0x00", [.. byteTypes.Skip(3)], "");
        yield return Case("a PLaMo-2 token that is not UTF-8", "plamo2", [.. bytes, [0xff, (byte)'a']], 259, "not UTF-8", [.. byteTypes, 1]);
        yield return Case("an endless PLaMo-2 token", "plamo2", [.. bytes, new string('x', 2000) is var x ? B(x) : []], 259, "too long", [.. byteTypes, 1]);
        yield return Case("an endless token", "bpe", [.. letters, B(new string('x', 33_000))], 16, "too long");
        yield return Case("a unigram deeper than the stack", "ugm", [.. letters, B(new string('x', 1025))], 16, "1025 bytes");
        yield return Case("an RWKV token deeper than the stack", "rwkv", [.. letters, B(new string('a', 1025))], 16, "1025 bytes");
        foreach (int missing in (int[])[0, 10, 0x41, 0x5c, 255])
            yield return Case($"no RWKV token for byte {missing}", "rwkv", [.. GgufBases.RwkvBytes.Where((_, i) => i != missing).Select(B), B("\\n\\n"), B("AA")], 0, $"0x{missing:X2}", index: "");
        foreach (string escape in (string[])["\\x", "\\x1", "\\xAB", "\\xg0"])
            yield return Case($"an RWKV escape {escape}", "rwkv", [.. letters, B(escape)], 16, "lowercase hexadecimal");
        yield return Case("two unigrams", "ugm", [B("a"), B("</s>")], 0, "at least 3", index: "");
    }

    private static IEnumerable<MalformedGguf> Charsmaps()
    {
        const string key = T + "precompiled_charsmap";
        MalformedGguf Case(string name, byte[] map, string says) =>
            new(name, "ugm", r => r.Set(key, RawValue.Array(0, (ulong)map.Length, map)), key, "value " + key, says);

        static byte[] Map(uint[] units, params byte[] replacements) =>
            [.. BitConverter.GetBytes((uint)units.Length * 4), .. units.SelectMany(BitConverter.GetBytes), .. replacements];

        var trie = new uint[256];
        trie['A'] = 'A' | 0x100 | (2u << 10);
        yield return Case("an empty normaliser", [], "has 0 bytes");
        yield return Case("a normaliser of 3 bytes", [1, 2, 3], "has 3 bytes");
        yield return Case("a normaliser without replacements", [0, 0, 0, 0], "only 0 follow");
        yield return Case("a trie longer than the normaliser", [.. BitConverter.GetBytes(uint.MaxValue), 1, 2], "4294967295 bytes");
        yield return Case("a trie of one unit", Map([0], 0), "leads to unit 1 of 1");
        yield return Case("a trie whose root is outside", Map([.. new uint[] { 1u << 30 }, .. new uint[255]], 0), "of 256");
        yield return Case("a replacement outside", Map([.. trie.Select((u, i) => i == ('A' ^ 2) ? 5u : u)], (byte)'a', 0), "not terminated");
        yield return Case("a replacement without its end", Map(trie, (byte)'a'), "not terminated");
        yield return Case("a leaf outside", Map([.. trie.Select((u, i) => i == 'A' ? 'A' | 0x100 | (4096u << 10) : u)], 0), "of 256");
        yield return new("a normaliser of i32", "ugm", r => r.Set(key, RawValue.Int32s(1, 2)), key, "value " + key, "expected arr[u8]");
        yield return new("a normaliser of one byte", "ugm", r => r.Set(key, RawValue.Any(0)), key, "value " + key, "expected arr");
    }
}
