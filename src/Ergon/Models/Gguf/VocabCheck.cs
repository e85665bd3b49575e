using System.Text;

namespace Ergon.Models.Gguf;

/// <summary>Everything on which the pinned libllama throws, aborts or never returns while it loads a
/// model's vocabulary, or later while it tokenizes any text with it (llama-model-loader.cpp,
/// llama-model.cpp, llama-vocab.cpp). docs/gguf-validation.md has the list.</summary>
internal static class VocabCheck
{
    private const string Prefix = "tokenizer.ggml.";
    private const string WrongVocab = "the vocabulary was converted wrongly, download another conversion of the model";
    private const uint MaxVocab = 1 << 24;

    // Special tokens where the file does not name them. libllama drops one that a small vocabulary does not
    // have, and aborts when it tokenizes and must add or fall back to one that it does not have.
    private sealed record Defaults(TokenizerKind Kind, int Bos = -1, int Eos = -1, int Sep = -1, int Unk = -1,
        bool AddBos = false, bool AddEos = false, bool ForceBos = false);

    /// <summary>True when the file has a vocabulary that libllama can load.</summary>
    public static bool Check(GgufFile file)
    {
        CheckGeneral(file);
        string? model = Text(file, Prefix + "model");
        string pre = Text(file, Prefix + "pre") ?? "";
        Typed(file, Prefix + "token_type_count", GgufValueType.UInt32);
        if (model is null)
            return false;
        if (model is "no_vocab" or "none")
        {
            // libllama makes that many dummy tokens.
            string key = file.GetString("general.architecture") + ".vocab_size";
            if (Typed(file, key, GgufValueType.UInt32) is { Bits: > MaxVocab } size)
                throw file.Error(key, size.Offset, $"is {size.Bits}, expected at most {MaxVocab}: the file is damaged, download it again");
            return false;
        }

        var defaults = DefaultsOf(file, model, pre);
        if (defaults.Kind == TokenizerKind.Bpe)
            CheckBpe(file, model, pre);
        if (defaults.Kind == TokenizerKind.Ugm)
            CheckCharsmap(file);
        foreach (string flag in (string[])["add_space_prefix", "remove_extra_whitespaces", "add_bos_token", "add_eos_token",
            "add_sep_token", "normalizer.lowercase", "normalizer.strip_accents"])
            Typed(file, Prefix + flag, GgufValueType.Bool);
        if (ArrayOf(file, "suppress_tokens") is { ElementType: not GgufValueType.Int32 } suppress)
            throw file.WrongType(Prefix + "suppress_tokens", suppress, "arr[i32]");

        var tokens = CheckTokens(file, defaults.Kind);
        CheckSpecialTokens(file, defaults, tokens.Count);
        CheckPhi3(file, pre, tokens);
        return true;
    }

    private static void CheckGeneral(GgufFile file)
    {
        const string key = "general.architecture";
        string architecture = Text(file, key) ?? throw file.Absent(key);
        if (!LibllamaNames.Architectures.Contains(architecture))
        {
            throw file.Error(key, file.FindEntry(key)!.Value.Offset, $"is {GgufCursor.Quote(Encoding.UTF8.GetBytes(architecture))}, "
                + (architecture == "clip" ? "an image encoder: open the language model that it belongs to"
                    : "which this version does not know: update Ergon, or check that the file is a language model"));
        }
        Text(file, "general.name");
        Typed(file, "general.file_type", GgufValueType.UInt32);
    }

    private static Defaults DefaultsOf(GgufFile file, string model, string pre) => model switch
    {
        "llama" => new(TokenizerKind.Spm, Bos: 1, Eos: 2, AddBos: true),
        "bert" => new(TokenizerKind.Wpm, Bos: 101, Sep: 102, Unk: 100, ForceBos: true),
        "gpt2" or "hybriddna" or "whitespace" => new(TokenizerKind.Bpe, Bos: pre is "glm4" or "chatglm-bpe" ? -1 : 11, Eos: 11,
            AddBos: pre is "llama3" or "llama-v3" or "llama-bpe" or "falcon3" or "falcon-h1" or "pixtral" or "midm-2.0" or "lfm2"
                or "jina-v5-nano" or "tekken" or "chameleon",
            ForceBos: pre is "gemma4" or "granite-embed-multi-311m"),
        "gemma4" => new(TokenizerKind.Bpe, ForceBos: true),
        "t5" => new(TokenizerKind.Ugm, Eos: 1, AddEos: true),
        "rwkv" => new(TokenizerKind.Rwkv),
        "plamo2" => new(TokenizerKind.Plamo2),
        "test" => new(TokenizerKind.Test),
        _ => throw file.Error(Prefix + "model", file.FindEntry(Prefix + "model")!.Value.Offset,
            $"is {GgufCursor.Quote(Encoding.UTF8.GetBytes(model))}, which is no tokenizer that this version knows: update Ergon"),
    };

    private static void CheckBpe(GgufFile file, string model, string pre)
    {
        const string key = Prefix + "merges";
        if (ArrayOf(file, "merges") is { } merges)
        {
            if (merges.ElementType != GgufValueType.String)
                throw file.WrongType(key, merges, "arr[str]");
        }
        else if (model == "gemma4" || pre != "kimi-k2")
        {
            throw file.Absent(key);
        }
        if (model != "gemma4" && pre.Length > 0 && !LibllamaNames.PreTokenizers.Contains(pre))
        {
            throw file.Error(Prefix + "pre", file.FindEntry(Prefix + "pre")!.Value.Offset,
                $"is {GgufCursor.Quote(Encoding.UTF8.GetBytes(pre))}, which is no pre-tokenizer that this version knows: update Ergon");
        }
    }

    private static void CheckCharsmap(GgufFile file)
    {
        const string key = Prefix + "precompiled_charsmap";
        if (ArrayOf(file, "precompiled_charsmap") is not { } entry)
            return;
        if (entry.ElementType is not (GgufValueType.Int8 or GgufValueType.UInt8))
            throw file.WrongType(key, entry, "arr[u8]");
        if (CharsmapCheck.FindProblem(file.ReadBytes(key, entry.DataOffset, entry.Count)) is { } problem)
            throw file.Error(key, entry.Offset, $"{problem}: {WrongVocab}");
    }

    private static TokenTable CheckTokens(GgufFile file, TokenizerKind kind)
    {
        const string key = Prefix + "tokens";
        var entry = ArrayOf(file, "tokens") ?? throw file.Absent(key);
        if (entry.ElementType != GgufValueType.String)
            throw file.WrongType(key, entry, "arr[str]");
        CheckParallel(file, "scores", entry.Count, "arr[f32]", GgufValueType.Float32, GgufValueType.Int32);
        CheckParallel(file, "token_type", entry.Count, "arr[i32]", GgufValueType.Int32, GgufValueType.Int32);
        var tokens = TokenTable.Read(file, entry);
        TokenTextCheck.Check(file, kind, entry, tokens);
        return tokens;
    }

    private static void CheckParallel(GgufFile file, string name, long tokens, string expected, GgufValueType type, GgufValueType orType)
    {
        if (ArrayOf(file, name) is not { } entry)
            return;
        if (entry.ElementType != type && entry.ElementType != orType)
            throw file.WrongType(Prefix + name, entry, expected);
        if (entry.Count < tokens)
            throw file.Error(Prefix + name, entry.Offset, $"has {entry.Count} elements, expected one for each of the {tokens} tokens: {WrongVocab}");
    }

    private static void CheckSpecialTokens(GgufFile file, Defaults defaults, int tokens)
    {
        int? bos = Special(file, "bos_token_id", tokens, defaults.Bos);
        int? eos = Special(file, "eos_token_id", tokens, defaults.Eos);
        int? sep = Special(file, "seperator_token_id", tokens, defaults.Sep); // sic
        int? unk = Special(file, "unknown_token_id", tokens, defaults.Unk);
        foreach (string name in (string[])["eot", "eom", "padding", "mask", "fim_pre", "fim_suf", "fim_mid",
            "fim_pad", "fim_rep", "fim_sep", "prefix", "suffix", "middle"])
            Special(file, name + "_token_id", tokens, -1);

        bool heedsFlags = defaults.Kind is TokenizerKind.Spm or TokenizerKind.Bpe or TokenizerKind.Ugm;
        bool wordPiece = defaults.Kind == TokenizerKind.Wpm;
        if (bos is null && (defaults.ForceBos || heedsFlags && (file.FindBool(Prefix + "add_bos_token") ?? defaults.AddBos)))
            throw file.Absent(Prefix + "bos_token_id");
        if (eos is null && heedsFlags && (file.FindBool(Prefix + "add_eos_token") ?? defaults.AddEos))
            throw file.Absent(Prefix + "eos_token_id");
        if (sep is null && wordPiece)
            throw file.Absent(Prefix + "seperator_token_id");
        if (unk is null && wordPiece)
            throw file.Absent(Prefix + "unknown_token_id");
    }

    /// <summary>The token that libllama uses, or <see langword="null"/>. Converters write "none" as -1, all ones.</summary>
    private static int? Special(GgufFile file, string name, int tokens, int fallback)
    {
        if (Typed(file, Prefix + name, GgufValueType.UInt32) is { Bits: not uint.MaxValue } entry)
        {
            return entry.Bits < (ulong)tokens ? (int)entry.Bits
                : throw file.Error(Prefix + name, entry.Offset, $"is {entry.Bits}, but there are only {tokens} tokens: {WrongVocab}");
        }
        return fallback >= 0 && fallback < tokens ? fallback : null;
    }

    // libllama patches the tokens of models whose name looks like Phi-3's, and needs them to be there.
    private static void CheckPhi3(GgufFile file, string pre, TokenTable tokens)
    {
        const string key = "general.name";
        string name = (Text(file, key) ?? "").ToLowerInvariant();
        string architecture = file.GetString("general.architecture");
        if (!name.Contains("phi-3", StringComparison.Ordinal) && !name.Contains("phi3", StringComparison.Ordinal))
            return;
        if (pre is "jina-v2-de" or "jina-v2-es" or "jina-v2-code" || architecture is "nomic-bert-moe" or "jina-bert-v3")
            return;
        foreach (string token in (string[])["</s>", "<unk>", "<s>", "<|endoftext|>"])
        {
            if (!tokens.Contains(Encoding.ASCII.GetBytes(token)))
            {
                throw file.Error(key, file.FindEntry(key)!.Value.Offset, $"is {GgufCursor.Quote(Encoding.UTF8.GetBytes(name))}, for which "
                    + $"libllama expects Phi-3's vocabulary, but there is no token {token}: give the model another name");
            }
        }
    }

    private static GgufEntry? ArrayOf(GgufFile file, string name) =>
        file.FindEntry(Prefix + name) is not { } entry ? null
        : entry.Type == GgufValueType.Array ? entry
        : throw file.WrongType(Prefix + name, entry, "arr");

    // libllama takes these types and no others, where the runtime's own readers take any width.
    private static GgufEntry? Typed(GgufFile file, string key, GgufValueType type) =>
        file.FindEntry(key) is not { } entry ? null
        : entry.Type == type ? entry
        : throw file.WrongType(key, entry, type.Name());

    // A C string: libllama reads up to the first NUL.
    private static string? Text(GgufFile file, string key) =>
        file.FindString(key) is not { } text ? null
        : text.IndexOf('\0', StringComparison.Ordinal) is >= 0 and var end ? text[..end] : text;
}
