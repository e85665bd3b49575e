namespace Ergon.Models.Templates;

/// <summary>Python's view of characters, where it differs from .NET's.</summary>
internal static class Characters
{
    // Python counts the four information separators as white space, .NET does not.
    public static bool IsSpace(char c) => char.IsWhiteSpace(c) || c is >= '\x1c' and <= '\x1f';

    public static string TrimEnd(string text)
    {
        var end = text.Length;
        while (end > 0 && IsSpace(text[end - 1]))
            end--;
        return text[..end];
    }

    /// <summary>Length in code points, Python's unit. A lone surrogate counts as one.</summary>
    public static int Count(string text)
    {
        var count = text.Length;
        for (var i = text.AsSpan().IndexOfAnyInRange('\ud800', '\udbff'); i >= 0 && i < text.Length - 1; i++)
            if (char.IsSurrogatePair(text[i], text[i + 1]))
                count--;
        return count;
    }

    /// <summary>UTF-16 units of the code point at an offset.</summary>
    public static int Width(string text, int at) => at + 1 < text.Length && char.IsSurrogatePair(text[at], text[at + 1]) ? 2 : 1;

    /// <summary>Offset in UTF-16 units of a code point's index.</summary>
    public static int Offset(string text, int index)
    {
        var pair = text.AsSpan().IndexOfAnyInRange('\ud800', '\udbff');
        if (pair < 0 || index <= pair)
            return index;
        var at = pair;
        for (index -= pair; index > 0; index--)
            at += Width(text, at);
        return at;
    }
}
