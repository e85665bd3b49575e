using System.Globalization;

namespace Ergon.Models.Templates;

/// <summary>Values as text: Python's <c>str</c> and <c>repr</c>, and JSON as transformers' <c>tojson</c> writes it.</summary>
internal static class Text
{
    public static MarkedText Of(object? value, Budget budget)
    {
        if (value is MarkedText text)
            return text;
        var builder = new MarkedBuilder(budget);
        Append(builder, value, budget);
        return builder.ToText();
    }

    public static void Append(MarkedBuilder to, object? value, Budget budget)
    {
        if (value is MarkedText text)
            to.Append(text);
        else
            AppendRepr(to, value, budget);
    }

    private static void AppendRepr(MarkedBuilder to, object? value, Budget budget)
    {
        budget.Enter();
        switch (value)
        {
            case null:
                to.Append("None");
                break;
            case bool boolean:
                to.Append(boolean ? "True" : "False");
                break;
            case long integer:
                to.Append(integer.ToString(CultureInfo.InvariantCulture));
                break;
            case double number:
                to.Append(Float(number));
                break;
            case MarkedText text:
                AppendQuoted(to, text);
                break;
            case Sequence sequence:
                to.Append(sequence.IsTuple ? "(" : "[");
                AppendJoined(to, sequence.Items, ", ", item => AppendRepr(to, item, budget));
                to.Append(sequence is { IsTuple: true, Items.Count: 1 } ? ",)" : sequence.IsTuple ? ")" : "]");
                break;
            case Mapping mapping:
                to.Append("{");
                AppendJoined(to, mapping.Entries, ", ", entry =>
                {
                    AppendRepr(to, entry.Key, budget);
                    to.Append(": ");
                    AppendRepr(to, entry.Value, budget);
                });
                to.Append("}");
                break;
            case Undefined:
                break;
            default:
                throw new TemplateFault($"{Values.Kind(value)} cannot be printed. Call it, or print one of its attributes.");
        }
    }

    private static void AppendQuoted(MarkedBuilder to, MarkedText text)
    {
        var quote = text.Value.Contains('\'') && !text.Value.Contains('"') ? '"' : '\'';
        to.Append(quote.ToString());
        AppendEscaped(to, text, c => c switch
        {
            '\\' => "\\\\",
            '\n' => "\\n",
            '\r' => "\\r",
            '\t' => "\\t",
            _ when c == quote => "\\" + quote,
            < ' ' or (>= '\x7f' and <= '\xa0') or '\xad' => $"\\x{(int)c:x2}",
            _ => null,
        });
        to.Append(quote.ToString());
    }

    /// <summary>Copies a text with some characters replaced; null keeps the character.</summary>
    public static void AppendEscaped(MarkedBuilder to, MarkedText text, Func<char, string?> replacement)
    {
        var start = 0;
        for (var i = 0; i < text.Length; i++)
        {
            if (replacement(text.Value[i]) is not { } escaped)
                continue;
            to.Append(text, start, i - start);
            to.AppendAs(escaped, text, i);
            start = i + 1;
        }
        to.Append(text, start, text.Length - start);
    }

    private static void AppendJoined<T>(MarkedBuilder to, IEnumerable<T> items, string separator, Action<T> append)
    {
        var first = true;
        foreach (var item in items)
        {
            if (!first)
                to.Append(separator);
            first = false;
            append(item);
        }
    }

    /// <summary>The shortest digits that read back as the same number, laid out as Python does.</summary>
    public static string Float(double number)
    {
        if (!double.IsFinite(number))
            return double.IsNaN(number) ? "nan" : number > 0 ? "inf" : "-inf";
        // Digits and exponent, whichever notation .NET chose.
        var text = Math.Abs(number).ToString("R", CultureInfo.InvariantCulture);
        var e = text.IndexOf('E', StringComparison.Ordinal);
        var shift = e < 0 ? 0 : int.Parse(text.AsSpan(e + 1), CultureInfo.InvariantCulture);
        var mantissa = e < 0 ? text : text[..e];
        var point = mantissa.IndexOf('.', StringComparison.Ordinal) is var dot and >= 0 ? dot : mantissa.Length;
        var digits = mantissa.Replace(".", "", StringComparison.Ordinal);
        var leading = digits.Length - digits.TrimStart('0').Length;
        point += shift - leading;
        digits = digits.Trim('0') is { Length: > 0 } significant ? significant : "0";
        point = digits == "0" ? 1 : point;

        var sign = double.IsNegative(number) ? "-" : "";
        return sign + point switch
        {
            > 16 or < -3 => $"{digits[0]}{(digits.Length > 1 ? "." : "")}{digits[1..]}e{(point > 0 ? '+' : '-')}{Math.Abs(point - 1):00}",
            <= 0 => "0." + new string('0', -point) + digits,
            _ when digits.Length <= point => digits + new string('0', point - digits.Length) + ".0",
            _ => digits[..point] + "." + digits[point..],
        };
    }

    /// <summary>The options of json.dumps; without an indent all is one line.</summary>
    public sealed record JsonStyle(string? Indent, bool EnsureAscii, bool SortKeys, string ItemSeparator, string KeySeparator);

    public static void AppendJson(MarkedBuilder to, object? value, JsonStyle style, Budget budget, int depth = 0)
    {
        budget.Enter();
        switch (value)
        {
            case null:
                to.Append("null");
                break;
            case bool boolean:
                to.Append(boolean ? "true" : "false");
                break;
            case double number:
                to.Append(double.IsFinite(number) ? Float(number) : double.IsNaN(number) ? "NaN" : number > 0 ? "Infinity" : "-Infinity");
                break;
            case long:
                AppendRepr(to, value, budget);
                break;
            case MarkedText text:
                AppendJsonText(to, text, style.EnsureAscii);
                break;
            case Sequence sequence:
                Enclose("[", "]", sequence.Items, item => AppendJson(to, item, style, budget, depth + 1));
                break;
            case Mapping mapping:
                List<KeyValuePair<object, object?>> entries = style.SortKeys
                    ? Values.Order(mapping.Entries, e => e.Key, descending: false, budget)
                    : [.. mapping.Entries];
                Enclose("{", "}", entries, entry =>
                {
                    if (entry.Key is MarkedText key)
                        AppendJsonText(to, key, style.EnsureAscii);
                    else
                    {
                        to.Append("\"");
                        AppendJson(to, entry.Key, style, budget, depth + 1);
                        to.Append("\"");
                    }
                    to.Append(style.KeySeparator);
                    AppendJson(to, entry.Value, style, budget, depth + 1);
                });
                break;
            case Undefined undefined:
                throw undefined.Fault();
            default:
                throw new TemplateFault($"{Values.Kind(value)} has no JSON form. Pass data.");
        }

        void Enclose<T>(string open, string close, List<T> items, Action<T> append)
        {
            to.Append(open);
            for (var i = 0; i < items.Count; i++)
            {
                if (i > 0)
                    to.Append(style.ItemSeparator);
                NewLine(depth + 1);
                append(items[i]);
            }
            if (items.Count > 0)
                NewLine(depth);
            to.Append(close);
        }

        void NewLine(int level)
        {
            if (style.Indent is null)
                return;
            to.Append("\n");
            for (var i = 0; i < level; i++)
                to.Append(style.Indent);
        }
    }

    private static void AppendJsonText(MarkedBuilder to, MarkedText text, bool ensureAscii)
    {
        to.Append("\"");
        AppendEscaped(to, text, c => c switch
        {
            '"' => "\\\"",
            '\\' => "\\\\",
            '\n' => "\\n",
            '\r' => "\\r",
            '\t' => "\\t",
            '\b' => "\\b",
            '\f' => "\\f",
            < ' ' => $"\\u{(int)c:x4}",
            > '~' when ensureAscii => $"\\u{(int)c:x4}",
            _ => null,
        });
        to.Append("\"");
    }
}
