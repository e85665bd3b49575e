using System.Globalization;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace Ergon.Models.Grammars;

/// <summary>
/// JSON schema as GBNF, so that a model can write nothing but documents of the schema.
/// </summary>
/// <remarks>
/// Every document of the grammar satisfies the schema; some documents that satisfy it are left out, because
/// a grammar has one order: properties come in the schema's order; an object with
/// <c>properties</c> and an array with <c>prefixItems</c> are closed unless the schema opens them;
/// keywords without <c>type</c> imply theirs; <c>oneOf</c> is <c>anyOf</c> (its branches should exclude each other).
/// A keyword that has no grammar is an error, never ignored; annotations are skipped.
/// </remarks>
public static class JsonSchemaGrammar
{
    /// <summary>Writes the grammar; its root rule is <c>root</c>.</summary>
    /// <exception cref="JsonSchemaException">The schema is wrong, uses an unsupported keyword, or exceeds a limit.</exception>
    public static string FromSchema(JsonElement schema)
    {
        try
        {
            var root = schema.ValueKind is JsonValueKind.Object or JsonValueKind.True or JsonValueKind.False
                ? JsonNode.Parse(schema.GetRawText())!
                : throw new JsonSchemaException("", "it is neither an object nor a boolean. Pass a schema.");
            return new SchemaCompiler(root).Compile();
        }
        catch (ArgumentException duplicate)
        {
            // JsonObject finds a repeated key when it is first read.
            throw new JsonSchemaException("", $"a key appears twice ({duplicate.Message}). Remove one.");
        }
        catch (Exception mismatch) when (mismatch is InvalidOperationException or FormatException)
        {
            throw new JsonSchemaException("", $"a keyword's value has the wrong type ({mismatch.Message}). Correct it.");
        }
    }
}

/// <summary>Compiles one schema.</summary>
internal sealed partial class SchemaCompiler(JsonNode root)
{
    private const int MaxRules = 4000;
    private const int MaxDepth = 64;
    private const int MaxCount = 1000;

    private static readonly HashSet<string> Annotations = new(StringComparer.Ordinal)
    {
        "title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly",
        "$schema", "$id", "$comment", "$defs", "definitions",
    };

    private readonly StringBuilder _rules = new();
    private readonly Dictionary<string, string> _references = new(StringComparer.Ordinal);
    // References followed since the last bracket: coming back to one would be left recursion.
    private HashSet<string> _pending = new(StringComparer.Ordinal) { "#" };
    private int _count;
    private int _depth;

    public string Compile()
    {
        _references["#"] = "schema";
        var body = Visit(root, "");
        return $"{JsonGrammar.Common}{_rules}schema ::= {body}\nroot ::= schema\n";
    }

    private static JsonSchemaException Fault(string pointer, string reason) => new(pointer, reason);

    /// <summary>Adds a rule and gives its name.</summary>
    private string Rule(string body)
    {
        if (++_count > MaxRules)
            throw Fault("", $"it needs more than {MaxRules} rules. Simplify it.");
        _rules.Append(CultureInfo.InvariantCulture, $"r{_count} ::= {body}\n");
        return $"r{_count}";
    }

    /// <summary>A rule or an expression that can stand in a sequence.</summary>
    private string Visit(JsonNode? node, string pointer)
    {
        if (++_depth > MaxDepth)
            throw Fault(pointer, $"it nests more than {MaxDepth} deep. Flatten it.");
        var expression = node switch
        {
            JsonValue value when value.GetValueKind() == JsonValueKind.True => "value",
            JsonValue value when value.GetValueKind() == JsonValueKind.False => throw Fault(pointer, "'false' admits no document. Remove it."),
            JsonObject schema => Schema(schema, pointer),
            _ => throw Fault(pointer, "it is neither an object nor a boolean. Correct it."),
        };
        _depth--;
        return expression;
    }

    private string Schema(JsonObject schema, string pointer)
    {
        if (schema.TryGetPropertyValue("$ref", out var reference))
        {
            Only(schema, pointer, "$ref");
            return Reference(String(reference), pointer);
        }
        if (schema.ContainsKey("allOf"))
            return Visit(Merged(schema, pointer), pointer);
        if ((schema.ContainsKey("anyOf") ? "anyOf" : schema.ContainsKey("oneOf") ? "oneOf" : null) is { } choice)
            return Choice(schema, choice, pointer);
        if (schema.TryGetPropertyValue("nullable", out var nullable))
        {
            var rest = (JsonObject)schema.DeepClone();
            rest.Remove("nullable");
            return nullable?.GetValue<bool>() == true ? Rule($"{Visit(rest, pointer)} | null") : Visit(rest, pointer);
        }
        if (schema.ContainsKey("const") || schema.ContainsKey("enum"))
            return Enumeration(schema, pointer);
        if (schema["type"] is JsonArray types)
            return Rule(string.Join(" | ", types.Select(String).Select(t => Typed(WithType(schema, t), t, pointer))));
        return schema["type"]?.GetValue<string>() is { } type ? Typed(schema, type, pointer) : Typed(schema, Implied(schema), pointer);
    }

    private string Typed(JsonObject schema, string? type, string pointer)
    {
        switch (type)
        {
            case "object" or "array":
                var outer = _pending;
                _pending = new(StringComparer.Ordinal);
                var body = type == "object" ? Object(schema, pointer) : Array(schema, pointer);
                _pending = outer;
                return body;
            case "string":
                return Text(schema, pointer);
            case "integer" or "number":
                return Number(schema, type, pointer);
            case "boolean" or "null":
                Only(schema, pointer, "type");
                return type;
            case null:
                Only(schema, pointer, "type");
                return "value";
            default:
                throw Fault($"{pointer}/type", $"'{type}' is no JSON type. Correct it.");
        }
    }

    // A list of types: each takes the keywords that speak of it.
    private static JsonObject WithType(JsonObject schema, string type)
    {
        var own = new JsonObject();
        foreach (var (keyword, value) in schema)
            if (Kind(keyword) is not { } kind || kind == type || (kind == "number" && type == "integer"))
                own[keyword] = value?.DeepClone();
        own["type"] = type;
        return own;
    }

    private static string? Implied(JsonObject schema) => schema.Select(p => Kind(p.Key)).FirstOrDefault(kind => kind is not null);

    private static string? Kind(string keyword) => keyword switch
    {
        "properties" or "required" or "additionalProperties" or "minProperties" or "maxProperties" => "object",
        "items" or "prefixItems" or "minItems" or "maxItems" or "uniqueItems" => "array",
        "minLength" or "maxLength" or "pattern" or "format" => "string",
        "minimum" or "maximum" or "exclusiveMinimum" or "exclusiveMaximum" or "multipleOf" => "number",
        _ => null,
    };

    private static void Only(JsonObject schema, string pointer, params ReadOnlySpan<string> keywords)
    {
        foreach (var (keyword, _) in schema)
            if (!Annotations.Contains(keyword) && !keywords.Contains(keyword))
                throw Fault($"{pointer}/{Escape(keyword)}", $"the keyword '{keyword}' is not supported here. Remove it.");
    }

    private string Reference(string reference, string pointer)
    {
        if (!_pending.Add(reference))
            throw Fault(pointer, $"'{reference}' leads back to itself with nothing in between. Correct it.");
        if (_references.TryGetValue(reference, out var known))
        {
            _pending.Remove(reference);
            return known;
        }
        var target = Resolve(reference, pointer);
        // The name comes first: a recursive schema refers to it from inside.
        var name = _references[reference] = $"ref{_references.Count}";
        var body = Visit(target, reference[1..]);
        _pending.Remove(reference);
        _rules.Append(CultureInfo.InvariantCulture, $"{name} ::= {body}\n");
        return name;
    }

    private JsonNode Resolve(string reference, string pointer)
    {
        if (!reference.StartsWith("#/", StringComparison.Ordinal))
            throw Fault($"{pointer}/$ref", $"'{reference}' is not in this document. Use a reference such as #/$defs/name.");
        JsonNode? node = root;
        foreach (var part in reference[2..].Split('/'))
        {
            var key = Uri.UnescapeDataString(part).Replace("~1", "/", StringComparison.Ordinal).Replace("~0", "~", StringComparison.Ordinal);
            node = node is JsonObject o ? o[key]
                : node is JsonArray a && int.TryParse(key, NumberStyles.None, CultureInfo.InvariantCulture, out var i) && i < a.Count ? a[i] : null;
        }
        return node ?? throw Fault($"{pointer}/$ref", $"'{reference}' does not exist. Correct it.");
    }

    private string Choice(JsonObject schema, string keyword, string pointer)
    {
        if (schema.ContainsKey("anyOf") && schema.ContainsKey("oneOf"))
            throw Fault(pointer, "'anyOf' and 'oneOf' together are not supported. Use one.");
        var common = (JsonObject)schema.DeepClone();
        common.Remove(keyword);
        var isAlone = common.All(p => Annotations.Contains(p.Key));
        var branches = (schema[keyword] as JsonArray ?? throw Fault($"{pointer}/{keyword}", "it is no list. Correct it.")).Select((branch, i) =>
        {
            var at = $"{pointer}/{keyword}/{i}";
            if (isAlone)
                return Visit(branch, at);
            return Visit(Merged(new JsonObject { ["allOf"] = new JsonArray(common.DeepClone(), branch?.DeepClone()) }, at), at);
        }).ToList();
        return branches.Count > 0 ? Rule(string.Join(" | ", branches)) : throw Fault($"{pointer}/{keyword}", "it is empty. Give it a branch.");
    }

    /// <summary>allOf: objects join; any other keyword may appear once, or twice with one value.</summary>
    private JsonObject Merged(JsonObject schema, string pointer)
    {
        if (++_depth > MaxDepth)
            throw Fault(pointer, $"it nests more than {MaxDepth} deep. Flatten it.");
        var merged = (JsonObject)schema.DeepClone();
        merged.Remove("allOf");
        var parts = schema["allOf"] as JsonArray ?? throw Fault($"{pointer}/allOf", "it is no list. Correct it.");
        for (var i = 0; i < parts.Count; i++)
        {
            var at = $"{pointer}/allOf/{i}";
            var part = parts[i] as JsonObject ?? throw Fault(at, "it is no object. Correct it.");
            if (part["$ref"]?.GetValue<string>() is { } reference)
            {
                Only(part, at, "$ref");
                part = Resolve(reference, at) as JsonObject ?? throw Fault(at, "it refers to no object. Correct it.");
            }
            if (part.ContainsKey("allOf"))
                part = Merged(part, at);
            foreach (var (keyword, value) in part)
                Join(merged, keyword, value, at);
        }
        _depth--;
        return merged;
    }

    private static void Join(JsonObject merged, string keyword, JsonNode? value, string pointer)
    {
        if (Annotations.Contains(keyword))
            return;
        if (!merged.TryGetPropertyValue(keyword, out var present))
            merged[keyword] = value?.DeepClone();
        else if (keyword == "properties")
        {
            foreach (var (name, property) in value?.AsObject() ?? [])
                present!.AsObject()[name] = present[name] is { } first
                    ? new JsonObject { ["allOf"] = new JsonArray(first.DeepClone(), property?.DeepClone()) }
                    : property?.DeepClone();
        }
        else if (keyword == "required")
        {
            foreach (var name in value?.AsArray() ?? [])
                if (!present!.AsArray().Any(n => JsonNode.DeepEquals(n, name)))
                    present.AsArray().Add(name?.DeepClone());
        }
        else if (!JsonNode.DeepEquals(present, value))
            throw Fault($"{pointer}/{Escape(keyword)}", $"'{keyword}' contradicts another part of the schema. Merge them by hand.");
    }

    private string Enumeration(JsonObject schema, string pointer)
    {
        Only(schema, pointer, "const", "enum", "type");
        List<JsonNode?> values = schema.TryGetPropertyValue("const", out var only) ? [only] : [.. schema["enum"] as JsonArray ?? throw Fault($"{pointer}/enum", "it is no list. Correct it.")];
        var types = schema["type"] is JsonArray several ? several.Select(String).ToList()
            : schema["type"]?.GetValue<string>() is { } one ? [one] : null;
        var literals = values.Where(v => types is null || types.Contains(TypeOf(v)) || (TypeOf(v) == "integer" && types.Contains("number")))
            .Select(v => $"{Gbnf.Literal(Json(v))}").ToList();
        if (literals.Count is 0 or > MaxCount)
            throw Fault($"{pointer}/enum", $"it admits {literals.Count} values. Give 1 to {MaxCount}.");
        return Rule($"( {string.Join(" | ", literals)} ) ws");
    }

    private static string TypeOf(JsonNode? value) => value?.GetValueKind() switch
    {
        JsonValueKind.String => "string",
        JsonValueKind.Number => value.ToJsonString().AsSpan().ContainsAny(".eE") ? "number" : "integer",
        JsonValueKind.True or JsonValueKind.False => "boolean",
        JsonValueKind.Object => "object",
        JsonValueKind.Array => "array",
        _ => "null",
    };

    private static string Json(JsonNode? value) => value switch
    {
        null => "null",
        JsonObject o => $"{{{string.Join(", ", o.Select(p => $"{Gbnf.JsonString(p.Key)}: {Json(p.Value)}"))}}}",
        JsonArray a => $"[{string.Join(", ", a.Select(Json))}]",
        _ when value.GetValueKind() == JsonValueKind.String => Gbnf.JsonString(value.GetValue<string>()),
        _ => value.ToJsonString(),
    };

    private static string String(JsonNode? node) => node?.GetValue<string>() ?? throw new InvalidOperationException("null where a text should be");

    private static string Escape(string key) => key.Replace("~", "~0", StringComparison.Ordinal).Replace("/", "~1", StringComparison.Ordinal);

    private static int? Count(JsonObject schema, string keyword, string pointer) => schema[keyword] is not { } node ? null
        : node.GetValue<double>() is >= 0 and <= MaxCount and var count && count == Math.Floor(count) ? (int)count
        : throw Fault($"{pointer}/{keyword}", $"it is {node.ToJsonString()}. Use an integer from 0 to {MaxCount}.");

    // GBNF has no {0,0}.
    private static string Repeat(string one, int least, int? most) => most == 0 ? "\"\"" : $"{one}{{{least},{most}}}";
}
