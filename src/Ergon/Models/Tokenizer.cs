using System.Buffers;
using System.Text;
using Ergon.Models.Gguf;
using Ergon.Models.Templates;
using Ergon.Native.Llama;

namespace Ergon.Models;

/// <summary>
/// A model's tokenizer. The rules are llama.cpp's, which reads the vocabulary and nothing else of the file.
/// Immutable and safe for concurrent use until disposed.
/// </summary>
public sealed class Tokenizer : IDisposable
{
    private readonly LlamaModel _model;
    private readonly Lazy<string[]> _controlTexts;

    private Tokenizer(LlamaModel model)
    {
        _model = model;
        _controlTexts = new Lazy<string[]>(() => [.. Enumerable.Range(0, Count).Where(Vocabulary.IsControl)
            .Select(t => Piece(t, special: true)).Where(t => t.Length > 1)]);
    }

    /// <summary>Tokens in the vocabulary.</summary>
    public int Count => Vocabulary.Count;

    /// <summary>The beginning-of-sequence token; <see langword="null"/> where there is none.</summary>
    public int? Bos => Vocabulary.Bos >= 0 ? Vocabulary.Bos : null;

    /// <summary>The end-of-sequence token; <see langword="null"/> where there is none.</summary>
    public int? Eos => Vocabulary.Eos >= 0 ? Vocabulary.Eos : null;

    internal Vocabulary Vocabulary => _model.Vocabulary;

    /// <summary>Loads the tokenizer of a GGUF file, which may hold only a vocabulary.</summary>
    /// <exception cref="ErgonException">The file is malformed, or has no tokenizer that llama.cpp knows.</exception>
    public static Tokenizer Load(string path) => Load(GgufFile.Open(path));

    internal static Tokenizer Load(GgufFile file) => file.HasTokenizer
        ? new(LlamaModel.Load(file.Path, vocabularyOnly: true))
        : throw new GgufException(file.Path, "has no tokenizer (tokenizer.ggml.model is absent or none), so it cannot read text: convert the model again with its tokenizer");

    /// <summary>Splits text into tokens.</summary>
    /// <param name="text">Any text.</param>
    /// <param name="addSpecial">Whether to add the tokens that the model wants around a prompt, such as a beginning of sequence.</param>
    /// <param name="parseSpecial">Whether text that spells a special token becomes that token; never for text that a user wrote.</param>
    public int[] Tokenize(string text, bool addSpecial = true, bool parseSpecial = false) => Vocabulary.Tokenize(text, addSpecial, parseSpecial);

    /// <summary>
    /// Splits a rendered chat into tokens: what the template wrote may become special tokens, what a user wrote
    /// never does. Where no user text spells a special token the result is that of one pass over the whole text.
    /// </summary>
    public int[] Tokenize(RenderedPrompt prompt)
    {
        ArgumentNullException.ThrowIfNull(prompt);
        // A template may write the beginning of sequence itself; a second one would be wrong.
        var bos = Bos is { } id ? Piece(id, special: true) : "";
        var addSpecial = bos.Length == 0 || !prompt.Text.StartsWith(bos, StringComparison.Ordinal);
        var cuts = UntrustedSpecials(prompt);
        if (cuts.Count == 0)
            return Tokenize(prompt.Text, addSpecial, parseSpecial: true);

        // Cutting the text inside each such spelling leaves nothing in either piece that could become the token.
        var tokens = new List<int>();
        var start = 0;
        foreach (var cut in cuts.Append(prompt.Text.Length))
        {
            tokens.AddRange(Tokenize(prompt.Text[start..cut], addSpecial && start == 0, parseSpecial: true));
            start = cut;
        }
        return [.. tokens];
    }

    /// <summary>The text of a token sequence.</summary>
    /// <param name="tokens">Token ids of this vocabulary.</param>
    /// <param name="special">Whether special tokens are spelled out; otherwise they are left out.</param>
    public string Detokenize(ReadOnlySpan<int> tokens, bool special = false) => Vocabulary.Detokenize(tokens, removeSpecial: false, unparseSpecial: special);

    /// <summary>The text of one token; bytes that are no whole characters become U+FFFD.</summary>
    public string Piece(int token, bool special = false)
    {
        var bytes = new ArrayBufferWriter<byte>(16);
        Vocabulary.AppendPiece(token, special, bytes);
        return Encoding.UTF8.GetString(bytes.WrittenSpan);
    }

    /// <summary>Whether the token ends an answer (end of sequence, of turn, of message).</summary>
    public bool IsEndOfGeneration(int token) => Vocabulary.IsEndOfGeneration(token);

    // Positions inside each spelling of a special token that any untrusted character takes part in.
    private SortedSet<int> UntrustedSpecials(RenderedPrompt prompt)
    {
        var cuts = new SortedSet<int>();
        foreach (var span in prompt.Spans.Where(s => !s.IsTemplate))
        {
            foreach (var special in _controlTexts.Value)
            {
                // A spelling that the template began or ends counts too.
                var from = Math.Max(0, span.Start - special.Length + 1);
                var until = Math.Min(prompt.Text.Length, span.Start + span.Length + special.Length - 1);
                for (var at = from; (at = prompt.Text.IndexOf(special, at, until - at, StringComparison.Ordinal)) >= 0; at++)
                    cuts.Add(at + Math.Max(1, special.Length / 2));
            }
        }
        return cuts;
    }

    /// <summary>Frees the vocabulary. Models and sessions that use it must be disposed first.</summary>
    public void Dispose() => _model.Dispose();
}
