using System.Buffers;
using System.Text;
using Ergon.Native.Llama;

namespace Ergon.Inference;

/// <summary>
/// Turns tokens into text as soon as it is certain: holds back incomplete characters and anything that may
/// become a stop sequence. Not thread-safe.
/// </summary>
internal sealed class TextStream(Vocabulary vocabulary, IReadOnlyList<string> stopSequences)
{
    private readonly ArrayBufferWriter<byte> _bytes = new(16);
    private readonly Decoder _decoder = Encoding.UTF8.GetDecoder();
    private readonly StringBuilder _held = new();
    private char[] _chars = new char[64];

    /// <summary>Whether a stop sequence came; the text before it was returned, the rest dropped.</summary>
    public bool Stopped { get; private set; }

    /// <summary>Adds a token and returns the text that is certain now.</summary>
    public string Append(int token)
    {
        _bytes.ResetWrittenCount();
        vocabulary.AppendPiece(token, special: false, _bytes);
        return Release(Decode(_bytes.WrittenSpan, flush: false));
    }

    /// <summary>Ends the stream and returns what was held back.</summary>
    public string Finish()
    {
        if (Stopped)
            return "";
        var text = Release(Decode([], flush: true));
        text += _held.ToString();
        _held.Clear();
        return text;
    }

    private ReadOnlySpan<char> Decode(ReadOnlySpan<byte> bytes, bool flush)
    {
        var room = Encoding.UTF8.GetMaxCharCount(bytes.Length) + 4;
        if (_chars.Length < room)
            _chars = new char[room];
        return _chars.AsSpan(0, _decoder.GetChars(bytes, _chars, flush));
    }

    private string Release(ReadOnlySpan<char> text)
    {
        if (stopSequences.Count == 0)
            return text.ToString();
        _held.Append(text);
        var all = _held.ToString();
        var stop = stopSequences.Select(s => all.IndexOf(s, StringComparison.Ordinal)).Where(i => i >= 0).DefaultIfEmpty(-1).Min();
        if (stop >= 0)
        {
            Stopped = true;
            _held.Clear();
            return all[..stop];
        }
        var certain = all.Length - stopSequences.Max(s => LongestOverlap(all, s));
        _held.Remove(0, certain);
        return all[..certain];
    }

    // The longest end of the text that begins the stop sequence.
    private static int LongestOverlap(string text, string stop)
    {
        for (var length = Math.Min(text.Length, stop.Length - 1); length > 0; length--)
        {
            if (text.AsSpan(text.Length - length).SequenceEqual(stop.AsSpan(0, length)))
                return length;
        }
        return 0;
    }
}
