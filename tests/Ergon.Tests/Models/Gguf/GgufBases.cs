using System.Runtime.InteropServices;
using Ergon.Models.Gguf;
using Ergon.Native;

namespace Ergon.Tests.Models.Gguf;

/// <summary>Small valid models, one for each of libllama's tokenizers.</summary>
internal static class GgufBases
{
    public static readonly string[] Bytes = [.. Enumerable.Range(0, 256).Select(b => $"<0x{b:X2}>")];

    /// <summary>Plain where they can be, else escaped.</summary>
    public static readonly string[] RwkvBytes = [.. Enumerable.Range(0, 256).Select(b => b is > 31 and < 127 and not '\\' ? ((char)b).ToString() : $"\\x{b:x2}")];

    public static byte[] Named(string name) => name switch
    {
        "bpe" => Bpe(),
        "spm" => Spm(),
        "wpm" => Write(w => Vocabulary(w, "bert", [.. Enumerable.Range(0, 110).Select(i => $"w{i}")])),
        "ugm" => Write(w =>
        {
            Vocabulary(w, "t5", ["<pad>", "</s>", "<unk>", "\u2581a", "b"]);
            w.AddArray<byte>("tokenizer.ggml.precompiled_charsmap", Charsmap());
        }),
        "rwkv" => Write(w => Vocabulary(w, "rwkv", ["<s>", .. RwkvBytes, "ab", "\\n\\n", "\\\\\\t"])),
        "plamo2" => Write(w => Vocabulary(w, "plamo2", ["<unk>", .. Bytes, "ab", "\u3042"], [2, .. Enumerable.Repeat(6, 256), 1, 1])),
        "gemma4" => Write(w =>
        {
            Vocabulary(w, "gemma4", ["<pad>", "<eos>", "<bos>", "a", "b", "ab"]);
            w.AddArray("tokenizer.ggml.merges", ["a b"]);
            w.Add("tokenizer.ggml.bos_token_id", 2u);
        }),
        "none" => Write(w =>
        {
            w.Add("tokenizer.ggml.model", "none");
            w.Add("llama.vocab_size", 32u);
        }),
        _ => throw new ArgumentOutOfRangeException(nameof(name)),
    };

    public static byte[] Bpe() => Write(w =>
    {
        w.Add("llama.block_count", 1u);
        w.Add("llama.attention.layer_norm_rms_epsilon", 1e-5f);
        string[] tokens = [.. "abcdefghijklm".Select(c => c.ToString()), "ab", "cd", "<|end|>"];
        w.Add("tokenizer.ggml.pre", "qwen2");
        Vocabulary(w, "gpt2", tokens, [.. Enumerable.Repeat(1, 15), 3]);
        w.AddArray("tokenizer.ggml.merges", ["a b", "c d"]);
        w.Add("tokenizer.ggml.bos_token_id", 15u);
        w.Add("tokenizer.ggml.eos_token_id", 15u);
        w.Add("tokenizer.ggml.padding_token_id", uint.MaxValue);
        w.Add("tokenizer.ggml.add_bos_token", false);
        w.Add("tokenizer.chat_template", "{{ messages[0].content }}");
    });

    private static byte[] Spm() => Write(w =>
    {
        Vocabulary(w, "llama", ["<unk>", "<s>", "</s>", .. Bytes, "\u2581a", "b"], [2, 3, 3, .. Enumerable.Repeat(6, 256), 1, 1]);
        w.AddArray<float>("tokenizer.ggml.scores", Enumerable.Range(0, 261).Select(i => -(float)i).ToArray());
        w.Add("tokenizer.ggml.bos_token_id", 1u);
        w.Add("tokenizer.ggml.add_space_prefix", true);
    });

    private static void Vocabulary(GgufWriter w, string model, string[] tokens, int[]? types = null)
    {
        w.Add("tokenizer.ggml.model", model);
        w.AddArray("tokenizer.ggml.tokens", tokens);
        if (types is not null)
            w.AddArray<int>("tokenizer.ggml.token_type", types);
    }

    // A root whose only child is 'A' (unit 65 ^ base 0), a leaf whose value unit says "replacement 0".
    private static byte[] Charsmap()
    {
        var units = new uint[256];
        units['A'] = 'A' | 0x100 | (2u << 10); // base 2: the value lies at 65 ^ 2
        units['A' ^ 2] = 0x8000_0000;
        return [.. BitConverter.GetBytes(1024u), .. MemoryMarshal.AsBytes(units.AsSpan()), (byte)'a', 0];
    }

    private static byte[] Write(Action<GgufWriter> metadata)
    {
        var writer = new GgufWriter();
        writer.Add("general.architecture", "llama");
        writer.Add("general.name", "base");
        metadata(writer);
        writer.AddTensor("token_embd.weight", GgmlType.F32, [8, 16], new byte[512]);
        writer.AddTensor("blk.0.attn_q.weight", GgmlType.Q8_0, [32, 3], new byte[102]);
        writer.AddTensor("output_norm.weight", GgmlType.F16, [5], new byte[10]);
        using var stream = new MemoryStream();
        writer.Write(stream);
        return stream.ToArray();
    }
}
