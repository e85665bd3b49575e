using System.Buffers;
using System.Text;
using Ergon.Native.Interop;

namespace Ergon.Native.Llama;

/// <summary>
/// libllama's tokenizer over a model's vocabulary. Immutable and safe for concurrent use; once the model is
/// disposed its methods throw <see cref="ObjectDisposedException"/>.
/// </summary>
internal sealed unsafe class Vocabulary
{
    internal Vocabulary(LlamaModel model, nint handle)
    {
        Model = model;
        Handle = handle;
        Count = LlamaApi.llama_vocab_n_tokens(handle);
        Bos = LlamaApi.llama_vocab_bos(handle);
        Eos = LlamaApi.llama_vocab_eos(handle);
        AddsBos = LlamaApi.llama_vocab_get_add_bos(handle) != 0;
    }

    internal nint Handle { get; }

    internal LlamaModel Model { get; }

    /// <summary>Tokens in the vocabulary.</summary>
    public int Count { get; }

    /// <summary>The beginning-of-sequence token; -1 where there is none.</summary>
    public int Bos { get; }

    /// <summary>The end-of-sequence token; -1 where there is none.</summary>
    public int Eos { get; }

    /// <summary>Whether the model wants <see cref="Bos"/> in front of a prompt.</summary>
    public bool AddsBos { get; }

    public bool IsEndOfGeneration(int token)
    {
        using var hold = Model.Hold();
        return LlamaApi.llama_vocab_is_eog(Handle, Checked(token)) != 0;
    }

    public bool IsControl(int token)
    {
        using var hold = Model.Hold();
        return LlamaApi.llama_vocab_is_control(Handle, Checked(token)) != 0;
    }

    /// <param name="text">Any text; it is taken as UTF-8.</param>
    /// <param name="addSpecial">Whether to add the tokens that the model wants around a prompt.</param>
    /// <param name="parseSpecial">Whether text that spells a special token becomes that token; never for a user's text.</param>
    public int[] Tokenize(ReadOnlySpan<char> text, bool addSpecial, bool parseSpecial)
    {
        using var hold = Model.Hold();
        var utf8 = ArrayPool<byte>.Shared.Rent(Encoding.UTF8.GetMaxByteCount(text.Length) + 1);
        try
        {
            var bytes = Encoding.UTF8.GetBytes(text, utf8);
            var tokens = new int[bytes + 2];
            int Call(int[] into)
            {
                fixed (byte* p = utf8)
                fixed (int* t = into)
                    return LlamaApi.llama_tokenize(Handle, p, bytes, t, into.Length, addSpecial ? (byte)1 : (byte)0, parseSpecial ? (byte)1 : (byte)0);
            }
            var count = Call(tokens);
            if (count < 0)
            {
                // A negative count is the room that is needed.
                tokens = new int[-count];
                count = Call(tokens);
            }
            return tokens[..Math.Max(count, 0)];
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(utf8);
        }
    }

    /// <summary>Appends the bytes that <paramref name="token"/> stands for; they need not be whole characters.</summary>
    /// <param name="token">A token of this vocabulary.</param>
    /// <param name="special">Whether special tokens are spelled out instead of being empty.</param>
    /// <param name="output">Where the bytes go.</param>
    public void AppendPiece(int token, bool special, IBufferWriter<byte> output)
    {
        using var hold = Model.Hold();
        var room = 32;
        while (true)
        {
            var span = output.GetSpan(room);
            int count;
            fixed (byte* p = span)
                count = LlamaApi.llama_token_to_piece(Handle, Checked(token), p, span.Length, 0, special ? (byte)1 : (byte)0);
            if (count >= 0)
            {
                output.Advance(count);
                return;
            }
            room = -count;
        }
    }

    /// <summary>The text of a whole sequence, with the vocabulary's own rules about leading spaces.</summary>
    public string Detokenize(ReadOnlySpan<int> tokens, bool removeSpecial, bool unparseSpecial)
    {
        if (tokens.IsEmpty)
            return "";
        using var hold = Model.Hold();
        foreach (var token in tokens)
            Checked(token);
        var utf8 = new byte[(tokens.Length * 8) + 16];
        while (true)
        {
            int count;
            fixed (int* t = tokens)
            fixed (byte* p = utf8)
                count = LlamaApi.llama_detokenize(Handle, t, tokens.Length, p, utf8.Length, removeSpecial ? (byte)1 : (byte)0, unparseSpecial ? (byte)1 : (byte)0);
            if (count >= 0)
                return Encoding.UTF8.GetString(utf8, 0, count);
            utf8 = new byte[-count];
        }
    }

    // libllama indexes its tables with whatever id it is given.
    private int Checked(int token) => (uint)token < (uint)Count ? token
        : throw new ErgonException($"Token id {token} is not in the vocabulary, whose ids are 0 to {Count - 1}.");
}
