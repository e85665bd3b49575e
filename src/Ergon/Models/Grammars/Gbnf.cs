using System.Text;

namespace Ergon.Models.Grammars;

/// <summary>Texts in GBNF's notation.</summary>
internal static class Gbnf
{
    public static string Literal(string text)
    {
        var quoted = new StringBuilder("\"");
        foreach (var c in text)
            quoted.Append(c switch { '"' => "\\\"", '\\' => "\\\\", '\n' => "\\n", '\r' => "\\r", '\t' => "\\t", _ => c.ToString() });
        return quoted.Append('"').ToString();
    }

    /// <summary>A JSON string with its quotes, as a model writes it: nothing escaped that need not be.</summary>
    public static string JsonString(string text) => $"\"{string.Concat(text.Select(JsonCharacter))}\"";

    public static string JsonCharacter(char c) => c switch
    {
        '"' => "\\\"",
        '\\' => "\\\\",
        '\n' => "\\n",
        '\r' => "\\r",
        '\t' => "\\t",
        '\b' => "\\b",
        '\f' => "\\f",
        < ' ' => $"\\u{(int)c:x4}",
        _ => c.ToString(),
    };
}
