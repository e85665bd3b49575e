using System.Text.Json;
using System.Text.Json.Nodes;

namespace Ergon.Models.Grammars;

/// <summary>Objects, arrays, strings and numbers.</summary>
internal sealed partial class SchemaCompiler
{
    private string Object(JsonObject schema, string pointer)
    {
        Only(schema, pointer, "type", "properties", "required", "additionalProperties", "minProperties", "maxProperties");
        var properties = schema["properties"]?.AsObject() ?? [];
        var required = schema["required"]?.AsArray().Select(String).ToHashSet(StringComparer.Ordinal) ?? [];
        var open = schema["additionalProperties"];
        var isOpen = open is JsonObject || (open is null ? properties.Count == 0 : open.GetValueKind() == JsonValueKind.True);
        var names = properties.Select(p => p.Key).Concat(required.Where(r => !properties.ContainsKey(r)).Order(StringComparer.Ordinal)).ToList();
        var (least, most) = (Count(schema, "minProperties", pointer), Count(schema, "maxProperties", pointer));
        if ((least ?? most) is not null && names.Count > 0)
            throw Fault($"{pointer}/{(least is null ? "maxProperties" : "minProperties")}", "it is not supported beside named properties. Remove it.");
        if (most < Math.Max(least ?? 0, 1))
            return most < least ? throw Fault($"{pointer}/maxProperties", "it is less than minProperties. Correct it.") : "\"{\" ws \"}\" ws";

        string Pair(string name)
        {
            var at = properties.ContainsKey(name) ? $"{pointer}/properties/{Escape(name)}" : $"{pointer}/required";
            if (!properties.TryGetPropertyValue(name, out var property) && !isOpen)
                throw Fault(at, $"'{name}' is required, but the object admits no such property. Add it to properties.");
            var value = property is null && open is not JsonObject ? "value" : Visit(property ?? open, at);
            return Rule($"{Gbnf.Literal(Gbnf.JsonString(name))} ws \":\" ws {value}");
        }

        var pairs = names.Select(Pair).ToList();
        var extra = !isOpen ? null : Rule($"\"\\\"\" {Other(names)} \"\\\"\" ws \":\" ws {(open is JsonObject ? Visit(open, $"{pointer}/additionalProperties") : "value")}");

        // From the last property to the first: what may follow when something was written, and when nothing was.
        var following = extra is null ? "\"\"" : Rule(Repeat($"( \",\" ws {extra} )", Math.Max(0, (least ?? 0) - 1), most - 1));
        var leading = extra is null ? "\"\"" : Rule($"{extra} {following}{((least ?? 0) == 0 ? " | \"\"" : "")}");
        for (var i = names.Count - 1; i >= 0; i--)
        {
            var isRequired = required.Contains(names[i]);
            var (next, first) = (following, leading);
            following = Rule(isRequired ? $"\",\" ws {pairs[i]} {next}" : $"( \",\" ws {pairs[i]} )? {next}");
            leading = Rule(isRequired ? $"{pairs[i]} {next}" : $"{pairs[i]} {next} | {first}");
        }
        return Rule($"\"{{\" ws {leading} \"}}\" ws");
    }

    /// <summary>The inside of a string that is none of the names, which were given their own place.</summary>
    private string Other(IEnumerable<string> names)
    {
        var plain = names.Where(n => Gbnf.JsonString(n).Length == n.Length + 2 && !n.Any(char.IsSurrogate)).ToList();
        return plain.Count == 0 ? "char*" : Except(plain, 0);
    }

    private string Except(List<string> names, int depth)
    {
        if (depth > MaxCount)
            throw Fault("", $"a property's name is longer than {MaxCount} characters. Shorten it.");
        var branches = names.Where(n => n.Length > depth).GroupBy(n => n[depth]).OrderBy(g => g.Key).ToList();
        var different = string.Concat(branches.Select(b => b.Key is ']' or '[' or '^' or '-' ? $"\\x{(int)b.Key:X2}" : b.Key.ToString()));
        var parts = branches.Select(b => $"{Gbnf.Literal(b.Key.ToString())} {Except([.. b], depth + 1)}").ToList();
        parts.Add($"[^\"\\\\\\x7F\\x00-\\x1F{different}] char*");
        if (!names.Exists(n => n.Length == depth))
            parts.Add("\"\"");
        return Rule(string.Join(" | ", parts));
    }

    private string Array(JsonObject schema, string pointer)
    {
        Only(schema, pointer, "type", "items", "prefixItems", "minItems", "maxItems", "uniqueItems");
        if (schema["uniqueItems"]?.GetValue<bool>() == true)
            throw Fault($"{pointer}/uniqueItems", "a grammar cannot compare items. Remove it.");
        // Before 2020-12 a list of items was what prefixItems is now.
        var prefix = schema["prefixItems"] as JsonArray ?? schema["items"] as JsonArray ?? [];
        var prefixAt = schema["prefixItems"] is null ? "items" : "prefixItems";
        var items = schema["items"] is JsonArray ? null : schema["items"];
        var isOpen = items is null ? prefix.Count == 0 : items.GetValueKind() != JsonValueKind.False;
        var least = Count(schema, "minItems", pointer) ?? 0;
        var most = Count(schema, "maxItems", pointer) ?? (isOpen ? null : prefix.Count);
        if (!isOpen && most > prefix.Count)
            most = prefix.Count;
        if (most < least)
            throw Fault($"{pointer}/minItems", $"it asks for {least} items where at most {most} may stand. Correct it.");

        var count = Math.Min(prefix.Count, most ?? prefix.Count);
        var rest = "\"\"";
        var restLeast = Math.Max(0, least - count);
        if (isOpen && most is null || most > count)
        {
            var item = items is null ? "value" : Visit(items, $"{pointer}/items");
            if (count == 0)
            {
                var some = $"{item} {Repeat($"( \",\" ws {item} )", Math.Max(0, least - 1), most - 1)}";
                return Rule($"\"[\" ws {(least == 0 ? $"( {some} )?" : some)} \"]\" ws");
            }
            rest = Rule(Repeat($"( \",\" ws {item} )", restLeast, most - count));
        }
        for (var i = count - 1; i >= 0; i--)
        {
            var one = $"{(i == 0 ? "" : "\",\" ws ")}{Visit(prefix[i], $"{pointer}/{prefixAt}/{i}")} {rest}";
            rest = Rule(i < least ? one : $"( {one} )?");
        }
        return Rule($"\"[\" ws {rest} \"]\" ws");
    }

    private string Text(JsonObject schema, string pointer)
    {
        Only(schema, pointer, "type", "minLength", "maxLength", "pattern", "format");
        var (least, most) = (Count(schema, "minLength", pointer), Count(schema, "maxLength", pointer));
        var given = new[] { (least ?? most) is null ? null : "minLength", schema.ContainsKey("pattern") ? "pattern" : null, schema.ContainsKey("format") ? "format" : null };
        if (given.Count(g => g is not null) > 1)
            throw Fault(pointer, "length, 'pattern' and 'format' together are not supported. Keep one.");
        if (most < least)
            throw Fault($"{pointer}/maxLength", "it is less than minLength. Correct it.");
        if (schema["pattern"]?.GetValue<string>() is { } pattern)
            return Rule($"\"\\\"\" {PatternGrammar.Convert(pattern, reason => Fault($"{pointer}/pattern", $"the pattern {reason}"))} \"\\\"\" ws");
        if (schema["format"]?.GetValue<string>() is { } format)
            return Rule($"\"\\\"\" {Format(format, $"{pointer}/format")} \"\\\"\" ws");
        return given[0] is null ? "string" : Rule($"\"\\\"\" {Repeat("char", least ?? 0, most)} \"\\\"\" ws");
    }

    private static string Format(string format, string pointer)
    {
        const string date = "[0-9]{4} \"-\" ( \"0\" [1-9] | \"1\" [0-2] ) \"-\" ( \"0\" [1-9] | [12] [0-9] | \"3\" [01] )";
        const string time = "( [01] [0-9] | \"2\" [0-3] ) \":\" [0-5] [0-9] \":\" [0-5] [0-9] ( \".\" [0-9]{1,9} )? ( \"Z\" | [-+] ( [01] [0-9] | \"2\" [0-3] ) \":\" [0-5] [0-9] )";
        return format switch
        {
            "date" => date,
            "time" => time,
            "date-time" => $"{date} \"T\" {time}",
            "uuid" => "[0-9a-fA-F]{8} \"-\" [0-9a-fA-F]{4} \"-\" [0-9a-fA-F]{4} \"-\" [0-9a-fA-F]{4} \"-\" [0-9a-fA-F]{12}",
            _ => throw Fault(pointer, $"the format '{format}' is not supported. Use date, time, date-time, uuid, or a pattern."),
        };
    }

    private string Number(JsonObject schema, string type, string pointer)
    {
        Only(schema, pointer, "type", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf");
        var isInteger = type == "integer";
        if (schema["multipleOf"] is { } step && !(isInteger && step.GetValue<double>() == 1))
            throw Fault($"{pointer}/multipleOf", "a grammar cannot divide. Remove it.");
        var least = Bound("minimum", "exclusiveMinimum", +1);
        var most = Bound("maximum", "exclusiveMaximum", -1);
        if (least is null && most is null)
            return type;
        if (least > most)
            throw Fault(pointer, "the range is empty. Correct its bounds.");
        return Rule($"( {(isInteger ? IntegerRange.Integers(least, most) : IntegerRange.Decimals(least, most))} ) ws");

        long? Bound(string inclusive, string exclusive, int inward)
        {
            var bounds = new List<long>();
            foreach (var keyword in new[] { inclusive, exclusive })
            {
                if (schema[keyword] is not { } node)
                    continue;
                if (keyword == exclusive && !isInteger)
                    throw Fault($"{pointer}/{keyword}", $"it is supported for integers only. Use {inclusive}.");
                var value = node.GetValue<double>();
                if (Math.Abs(value) >= 1e15)
                    throw Fault($"{pointer}/{keyword}", "the bound is beyond 1e15. Remove it.");
                var whole = inward > 0 ? Math.Ceiling(value) : Math.Floor(value);
                if (!isInteger && whole != value)
                    throw Fault($"{pointer}/{keyword}", "a bound of decimals must be an integer. Round it.");
                bounds.Add((long)whole + (keyword == exclusive && whole == value ? inward : 0));
            }
            return bounds.Count == 0 ? null : inward > 0 ? bounds.Max() : bounds.Min();
        }
    }
}
