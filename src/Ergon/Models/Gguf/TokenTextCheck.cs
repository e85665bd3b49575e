using System.Globalization;
using System.Text;
using System.Text.Unicode;

namespace Ergon.Models.Gguf;

/// <summary>libllama's tokenizers; each reads its vocabulary in its own way.</summary>
internal enum TokenizerKind
{
    /// <summary>SentencePiece, byte pairs ("llama").</summary>
    Spm,

    /// <summary>Byte pairs with merges ("gpt2" and others).</summary>
    Bpe,

    /// <summary>Word pieces ("bert").</summary>
    Wpm,

    /// <summary>SentencePiece, unigrams ("t5").</summary>
    Ugm,

    Rwkv,
    Plamo2,

    /// <summary>libllama's own, for its tests.</summary>
    Test,
}

/// <summary>The texts of the tokens against what each of libllama's tokenizers does with them.</summary>
internal static class TokenTextCheck
{
    private const string Key = "tokenizer.ggml.tokens";
    private const int ByteType = 6;

    // A trie takes one level of native recursion, some hundred bytes of stack, for every byte.
    private const int MaxTrieText = 1024;

    // The cost of a text grows with its length's square (BPE spells out what it cannot decode) or cube
    // (PLaMo-2 lists every piece of every suffix). Of twenty published vocabularies the costliest,
    // Command R's, comes to 2^25.5 in squares and 2^31.2 in cubes.
    private const long MaxSquares = 1L << 30;
    private const long MaxCubes = 1L << 32;

    public static void Check(GgufFile file, TokenizerKind kind, GgufEntry entry, TokenTable tokens)
    {
        var bytes = new bool[256];
        using var types = OpenTypes(file);
        long work = 0;
        int at = 0;
        for (int i = 0; i < tokens.Count; i++)
        {
            var text = tokens.Next(ref at, out int start);
            bool isByte = types?.ReadUInt32("tokenizer.ggml.token_type", i) == ByteType;
            long square = (long)text.Length * text.Length;
            work += kind == TokenizerKind.Plamo2 ? Math.Min(square * text.Length, MaxCubes + 1) : square;
            string? problem = Problem(kind, i, text, isByte, bytes);
            if (problem is null && work > (kind == TokenizerKind.Plamo2 ? MaxCubes : MaxSquares))
                problem = "makes the vocabulary too long to load";
            if (problem is not null)
            {
                throw file.Error($"{Key}[{i}]", entry.DataOffset + start,
                    $"is {GgufCursor.Quote(text)}, which {problem}: download another conversion of the model");
            }
        }
        if (FindMissing(kind, tokens, bytes) is { } missing)
            throw file.Error(Key, entry.Offset, $"{missing}: download another conversion of the model");
    }

    private static string? Problem(TokenizerKind kind, int id, ReadOnlySpan<byte> text, bool isByte, bool[] bytes)
    {
        switch (kind)
        {
            case TokenizerKind.Wpm when isByte:
                return "is a byte, which a word-piece vocabulary cannot have";
            case TokenizerKind.Spm or TokenizerKind.Bpe or TokenizerKind.Ugm when isByte && ByteOf(text) < 0:
                return "is a byte, but is not written as <0x00> to <0xFF>";
            case TokenizerKind.Ugm or TokenizerKind.Rwkv when text.Length > MaxTrieText:
                return $"has {text.Length} bytes, expected at most {MaxTrieText}";
            case TokenizerKind.Rwkv:
                return ReadRwkv(text, bytes);
            case TokenizerKind.Plamo2 when isByte && ByteOf(text) is >= 0 and var value && id > 0: // 0 means "none" there
                bytes[value] = true;
                return null;
            case TokenizerKind.Plamo2 when !Utf8.IsValid(text):
                return "is not UTF-8";
            default:
                return null;
        }
    }

    private static string? FindMissing(TokenizerKind kind, TokenTable tokens, bool[] bytes)
    {
        for (int b = 0; b < 256; b++)
        {
            switch (kind)
            {
                // Looked up for every character that is not in the vocabulary; libllama throws when it is absent.
                case TokenizerKind.Spm when !tokens.Contains(Encoding.ASCII.GetBytes($"<0x{b:X2}>")) && (b == 0 || !tokens.Contains([(byte)b])):
                case TokenizerKind.Plamo2 when !bytes[b]:
                // A byte that only begins longer tokens would make libllama add tokens of no length for ever.
                case TokenizerKind.Rwkv when !bytes[b]:
                    return $"has no token for the byte 0x{b:X2}, so not every text can be written in it";
            }
        }
        if (kind == TokenizerKind.Ugm && tokens.Count < 3) // its unknown token is 2 while it loads
            return $"has {tokens.Count} tokens, expected at least 3";
        return null;
    }

    /// <summary>Notes the byte that a token with C-like escapes stands for, if it is only one.</summary>
    private static string? ReadRwkv(ReadOnlySpan<byte> text, bool[] bytes)
    {
        int first = -1, count = 0;
        for (int i = 0; i < text.Length; i++, count++)
        {
            int value = text[i];
            if (value == '\\')
            {
                if (++i == text.Length)
                    break;
                value = text[i] switch { (byte)'t' => '\t', (byte)'n' => '\n', (byte)'r' => '\r', var c => c };
                if (text[i] == 'x')
                {
                    // libllama reads other digits in its own way, and differently where char has no sign.
                    value = i + 2 < text.Length && !text.Slice(i + 1, 2).ContainsAnyInRange((byte)'A', (byte)'F') ? Hex(text.Slice(i + 1, 2)) : -1;
                    if (value < 0)
                        return "has an escape that is not \\x and two lowercase hexadecimal digits";
                    i += 2;
                }
            }
            if (count == 0)
                first = value;
        }
        if (count == 1)
            bytes[first] = true;
        return null;
    }

    private static int ByteOf(ReadOnlySpan<byte> text) =>
        text.Length == 6 && text.StartsWith("<0x"u8) && text[5] == '>' ? Hex(text.Slice(3, 2)) : -1;

    private static int Hex(ReadOnlySpan<byte> digits) =>
        byte.TryParse(digits, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out byte value) ? value : -1;

    private static GgufCursor? OpenTypes(GgufFile file)
    {
        if (file.FindEntry("tokenizer.ggml.token_type") is not { } entry)
            return null;
        var cursor = GgufCursor.Open(file.Path);
        cursor.Position = entry.DataOffset;
        return cursor;
    }
}
