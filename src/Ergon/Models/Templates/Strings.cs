using System.Buffers;
using System.Collections.Frozen;

namespace Ergon.Models.Templates;

/// <summary>Python's string methods, provenance kept.</summary>
internal static class Strings
{
    private static readonly SearchValues<char> LineEnds = SearchValues.Create("\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029");

    private delegate object? Method(MarkedText text, Arguments arguments, Budget budget);

    private static readonly FrozenDictionary<string, Method> All = new Dictionary<string, Method>
    {
        ["strip"] = (t, a, b) => Strip(t, a.Get(0, "chars"), true, true, b),
        ["lstrip"] = (t, a, b) => Strip(t, a.Get(0, "chars"), true, false, b),
        ["rstrip"] = (t, a, b) => Strip(t, a.Get(0, "chars"), false, true, b),
        ["split"] = (t, a, b) => Split(t, a.Get(0, "sep"), Integer(a.Get(1, "maxsplit", -1L)), b),
        ["rsplit"] = (t, a, b) => SplitRight(t, TextOf(a.Require(0, "sep")), Integer(a.Get(1, "maxsplit", -1L)), b),
        ["splitlines"] = (t, a, b) => Lines(t, b),
        ["startswith"] = (t, a, b) => Any(a.Require(0, "prefix"), b, p => t.Value.StartsWith(p.Value, StringComparison.Ordinal)),
        ["endswith"] = (t, a, b) => Any(a.Require(0, "suffix"), b, p => t.Value.EndsWith(p.Value, StringComparison.Ordinal)),
        ["removeprefix"] = (t, a, b) => TextOf(a.Require(0, "prefix")) is var p && t.Value.StartsWith(p.Value, StringComparison.Ordinal)
            ? t.Substring(p.Length, t.Length - p.Length, b) : t,
        ["removesuffix"] = (t, a, b) => TextOf(a.Require(0, "suffix")) is var p && t.Value.EndsWith(p.Value, StringComparison.Ordinal)
            ? t.Substring(0, t.Length - p.Length, b) : t,
        ["replace"] = (t, a, b) => Replace(t, TextOf(a.Require(0, "old")), TextOf(a.Require(1, "new")), Integer(a.Get(2, "count", -1L)), b),
        ["upper"] = (t, _, b) => Upper(t, b),
        ["lower"] = (t, _, b) => Lower(t, b),
        ["capitalize"] = (t, _, b) => Capitalize(t, b),
        ["title"] = (t, _, b) => t.Map((c, i) => i > 0 && char.IsLetter(t.Value[i - 1]) ? char.ToLowerInvariant(c) : char.ToUpperInvariant(c), b),
        ["find"] = (t, a, b) => Find(t, TextOf(a.Require(0, "sub")), last: false, b),
        ["rfind"] = (t, a, b) => Find(t, TextOf(a.Require(0, "sub")), last: true, b),
        ["index"] = (t, a, b) => Find(t, TextOf(a.Require(0, "sub")), last: false, b) is var at and >= 0
            ? at : throw new TemplateFault("the text to find is not there. Test it with 'in' first."),
        ["count"] = (t, a, b) => (long)Occurrences(t, TextOf(a.Require(0, "sub")), long.MaxValue, b).Count,
        ["join"] = (t, a, b) => Join(t, Values.Iterate(a.Require(0, "iterable"), b), strict: true, b),
        ["format"] = Format,
        ["isdigit"] = (t, _, b) => AllOf(t, char.IsDigit, b),
        ["isalpha"] = (t, _, b) => AllOf(t, char.IsLetter, b),
        ["isalnum"] = (t, _, b) => AllOf(t, char.IsLetterOrDigit, b),
        ["isspace"] = (t, _, b) => AllOf(t, Characters.IsSpace, b),
    }.ToFrozenDictionary(StringComparer.Ordinal);

    public static Function? Find(MarkedText text, string method, Budget budget) =>
        All.TryGetValue(method, out var invoke) ? new(method, arguments => invoke(text, arguments, budget)) : null;

    public static MarkedText Strip(MarkedText text, object? characters, bool left, bool right, Budget budget)
    {
        var set = characters is null ? null : TextOf(characters).Value;
        var (start, end) = (0, text.Length);
        while (left && start < end && Matches(text.Value[start]))
            start++;
        while (right && end > start && Matches(text.Value[end - 1]))
            end--;
        budget.Charge((long)(text.Length - (end - start)) * (1 + (set?.Length ?? 0) / 16));
        return text.Substring(start, end - start, budget);

        bool Matches(char c) => set is null ? Characters.IsSpace(c) : set.Contains(c);
    }

    public static MarkedText Upper(MarkedText text, Budget budget) => text.Map((c, _) => char.ToUpperInvariant(c), budget);
    public static MarkedText Lower(MarkedText text, Budget budget) => text.Map((c, _) => char.ToLowerInvariant(c), budget);

    public static MarkedText Capitalize(MarkedText text, Budget budget) =>
        text.Map((c, i) => i == 0 ? char.ToUpperInvariant(c) : char.ToLowerInvariant(c), budget);

    public static MarkedText Replace(MarkedText text, MarkedText old, MarkedText with, long count, Budget budget)
    {
        var builder = new MarkedBuilder(budget);
        var at = 0;
        foreach (var match in Occurrences(text, old, count < 0 ? long.MaxValue : count, budget))
        {
            builder.Append(text, at, match - at);
            builder.Append(with);
            at = match + old.Length;
        }
        builder.Append(text, at, text.Length - at);
        return builder.ToText();
    }

    public static MarkedText Join(MarkedText separator, List<object?> items, bool strict, Budget budget)
    {
        var builder = new MarkedBuilder(budget);
        for (var i = 0; i < items.Count; i++)
        {
            if (i > 0)
                builder.Append(separator);
            if (strict && items[i] is not MarkedText)
                throw new TemplateFault($"join found {Values.Kind(items[i])} among the texts. Convert it with |string.");
            Text.Append(builder, items[i], budget);
        }
        return builder.ToText();
    }

    public static MarkedText TextOf(object? value) => value switch
    {
        MarkedText text => text,
        Undefined undefined => throw undefined.Fault(),
        _ => throw new TemplateFault($"a text is needed here, not {Values.Kind(value)}. Convert it with |string."),
    };

    public static long Integer(object? value) => Values.TryInteger(value, out var integer)
        ? integer : throw new TemplateFault($"an integer is needed here, not {Values.Kind(value)}. Convert it with |int.");

    private static Sequence Split(MarkedText text, object? separator, long most, Budget budget)
    {
        most = most < 0 ? long.MaxValue : most;
        var parts = new List<object?>();
        var at = 0;
        if (separator is not null)
        {
            var by = TextOf(separator);
            if (by.Length == 0)
                throw new TemplateFault("a text cannot be split by nothing. Give a separator.");
            foreach (var match in Occurrences(text, by, most, budget))
            {
                parts.Add(text.Substring(at, match - at, budget));
                at = match + by.Length;
            }
            parts.Add(text.Substring(at, text.Length - at, budget));
            return new(parts);
        }
        budget.Charge(text.Length);
        for (; ; )
        {
            while (at < text.Length && Characters.IsSpace(text.Value[at]))
                at++;
            if (at == text.Length)
                return new(parts);
            if (parts.Count == most)
            {
                parts.Add(text.Substring(at, Characters.TrimEnd(text.Value).Length - at, budget));
                return new(parts);
            }
            var start = at;
            while (at < text.Length && !Characters.IsSpace(text.Value[at]))
                at++;
            parts.Add(text.Substring(start, at - start, budget));
        }
    }

    private static Sequence SplitRight(MarkedText text, MarkedText by, long most, Budget budget)
    {
        var parts = new List<object?>();
        var end = text.Length;
        budget.ChargeSearch(text.Length, by.Length);
        while (by.Length > 0 && most-- != 0
            && text.Value.AsSpan(0, end).LastIndexOf(by.Value) is var match and >= 0)
        {
            parts.Add(text.Substring(match + by.Length, end - match - by.Length, budget));
            end = match;
        }
        parts.Add(text.Substring(0, end, budget));
        parts.Reverse();
        return new(parts);
    }

    private static Sequence Lines(MarkedText text, Budget budget)
    {
        var lines = new List<object?>();
        for (var at = 0; at < text.Length;)
        {
            var length = text.Value.AsSpan(at).IndexOfAny(LineEnds);
            if (length < 0)
                length = text.Length - at;
            lines.Add(text.Substring(at, length, budget));
            at += length;
            at += at + 1 < text.Length && text.Value[at] == '\r' && text.Value[at + 1] == '\n' ? 2 : 1;
        }
        return new(lines);
    }

    private static List<int> Occurrences(MarkedText text, MarkedText part, long most, Budget budget)
    {
        budget.ChargeSearch(text.Length, part.Length);
        var found = new List<int>();
        if (part.Length == 0)
        {
            // Python finds nothing before every character and at the end.
            for (var i = 0; i <= text.Length && found.Count < most; i++)
                found.Add(i);
            return found;
        }
        for (var at = 0; found.Count < most && (at = text.Value.IndexOf(part.Value, at, StringComparison.Ordinal)) >= 0; at += part.Length)
            found.Add(at);
        return found;
    }

    private static long Find(MarkedText text, MarkedText part, bool last, Budget budget)
    {
        budget.ChargeSearch(text.Length, part.Length);
        var at = last
            ? text.Value.LastIndexOf(part.Value, StringComparison.Ordinal)
            : text.Value.IndexOf(part.Value, StringComparison.Ordinal);
        return at < 0 ? -1 : Characters.Count(text.Value[..at]);
    }

    private static bool Any(object? candidates, Budget budget, Func<MarkedText, bool> test)
    {
        return candidates is Sequence { IsTuple: true } tuple ? tuple.Items.Exists(One) : One(candidates);

        bool One(object? candidate)
        {
            var text = TextOf(candidate);
            budget.Charge(1 + text.Length / 16);
            return test(text);
        }
    }

    private static bool AllOf(MarkedText text, Func<char, bool> test, Budget budget)
    {
        budget.Charge(text.Length);
        return text.Length > 0 && text.Value.All(test);
    }

    // Plain fields only ("{}", "{0}", "{name}"): templates use no format specification.
    private static MarkedText Format(MarkedText text, Arguments arguments, Budget budget)
    {
        var builder = new MarkedBuilder(budget);
        var automatic = 0;
        for (var i = 0; i < text.Length; i++)
        {
            var c = text.Value[i];
            if (c is '{' or '}' && i + 1 < text.Length && text.Value[i + 1] == c)
                builder.Append(text, i++, 1);
            else if (c == '{')
            {
                var end = text.Value.IndexOf('}', i);
                var field = end < 0 ? "" : text.Value[(i + 1)..end];
                var place = field.Length == 0 ? automatic++ : int.TryParse(field, out var given) ? given : int.MaxValue;
                if (end < 0 || field.AsSpan().ContainsAny(".[!:"))
                    throw new TemplateFault("this format is not supported. Use plain fields such as {} and {name}.");
                Text.Append(builder, arguments.Require(place, field), budget);
                i = end;
            }
            else
                builder.Append(text, i, 1);
        }
        return builder.ToText();
    }
}
