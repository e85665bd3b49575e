using System.Collections.Frozen;
using System.Globalization;

namespace Ergon.Models.Templates;

/// <summary>jinja2's filters (<c>x | ...</c>). Those that are lazy there give a list here.</summary>
internal static class Filters
{
    public delegate object? Filter(object? value, Arguments arguments, Budget budget);

    public static readonly FrozenDictionary<string, Filter> All = Build();

    private static FrozenDictionary<string, Filter> Build()
    {
        var filters = new Dictionary<string, Filter>
        {
            ["trim"] = (v, a, b) => Strings.Strip(Text.Of(v, b), a.Get(0, "chars"), true, true, b),
            ["upper"] = (v, _, b) => Strings.Upper(Text.Of(v, b), b),
            ["lower"] = (v, _, b) => Strings.Lower(Text.Of(v, b), b),
            ["capitalize"] = (v, _, b) => Strings.Capitalize(Text.Of(v, b), b),
            ["title"] = (v, _, b) => Title(Text.Of(v, b), b),
            ["string"] = (v, _, b) => Text.Of(v, b),
            ["safe"] = (v, _, b) => Text.Of(v, b),
            ["escape"] = (v, _, b) => Escape(Text.Of(v, b), b),
            ["indent"] = Indent,
            ["replace"] = (v, a, b) => Strings.Replace(Text.Of(v, b), Text.Of(a.Require(0, "old"), b), Text.Of(a.Require(1, "new"), b),
                a.Get(2, "count") is { } count ? Strings.Integer(count) : -1, b),
            ["length"] = (v, _, b) => Values.Length(v, b),
            ["default"] = (v, a, _) => v is Undefined || (Values.IsTrue(a.Get(1, "boolean")) && !Values.IsTrue(v))
                ? a.Get(0, "default_value", MarkedText.Empty) : v,
            ["tojson"] = ToJson,
            ["int"] = (v, a, _) => ToInteger(v) ?? a.Get(0, "default", 0L),
            ["float"] = (v, a, _) => ToNumber(v) ?? a.Get(0, "default", 0.0),
            ["abs"] = (v, _, _) => v is double number ? Math.Abs(number) : (object)Operators.Absolute(Strings.Integer(v)),
            ["round"] = (v, a, b) => v is long ? v : Round(v, a, b),
            ["list"] = (v, _, b) => Copy(v, b),
            ["first"] = (v, _, b) => Values.Iterate(v, b) is [var item, ..] ? item : new Undefined("the first item of an empty list"),
            ["last"] = (v, _, b) => Values.Iterate(v, b) is [.., var item] ? item : new Undefined("the last item of an empty list"),
            ["min"] = (v, a, b) => Sorted(v, a, b).Items is [var item, ..] ? item : new Undefined("the least item of an empty list"),
            ["max"] = (v, a, b) => Sorted(v, a, b).Items is [.., var item] ? item : new Undefined("the greatest item of an empty list"),
            ["sum"] = (v, a, b) => Values.Iterate(v, b).Aggregate(a.Get(1, "start", 0L),
                (sum, x) => Operators.Apply("+", sum, Attribute(x, a.Get(0, "attribute"), b), b)),
            ["reverse"] = Reverse,
            ["sort"] = (v, a, b) => Sorted(v, a.Skip(1), b, Values.IsTrue(a.Get(0, "reverse"))),
            ["unique"] = Unique,
            ["items"] = (v, _, b) => v is Undefined ? new Sequence([]) : Values.Pairs(MappingOf(v), b),
            ["dictsort"] = DictSort,
            ["join"] = (v, a, b) => Strings.Join(Text.Of(a.Get(0, "d", MarkedText.Empty), b),
                [.. Values.Iterate(v, b).Select(x => Attribute(x, a.Get(1, "attribute"), b))], strict: false, b),
            ["map"] = Map,
            ["select"] = (v, a, b) => Select(v, a, b, byAttribute: false, keep: true),
            ["reject"] = (v, a, b) => Select(v, a, b, byAttribute: false, keep: false),
            ["selectattr"] = (v, a, b) => Select(v, a, b, byAttribute: true, keep: true),
            ["rejectattr"] = (v, a, b) => Select(v, a, b, byAttribute: true, keep: false),
        };
        foreach (var (alias, name) in new[] { ("count", "length"), ("d", "default"), ("e", "escape") })
            filters[alias] = filters[name];
        return filters.ToFrozenDictionary(StringComparer.Ordinal);
    }

    // transformers replaces jinja2's tojson, which escapes HTML, by json.dumps(ensure_ascii=False).
    private static MarkedText ToJson(object? value, Arguments arguments, Budget budget)
    {
        var indent = arguments.Get(1, "indent") switch
        {
            null => null,
            MarkedText text => text.Value,
            var width => new string(' ', Width(width)),
        };
        var separators = arguments.Get(2, "separators") as Sequence;
        var style = new Text.JsonStyle(indent,
            Values.IsTrue(arguments.Get(0, "ensure_ascii", false)),
            Values.IsTrue(arguments.Get(3, "sort_keys", false)),
            separators is { Items: [var item, _] } ? Strings.TextOf(item).Value : indent is null ? ", " : ",",
            separators is { Items: [_, var key] } ? Strings.TextOf(key).Value : ": ");
        var builder = new MarkedBuilder(budget);
        Text.AppendJson(builder, value, style, budget);
        return builder.ToText();
    }

    private static int Width(object? value) => Strings.Integer(value) is var width and >= 0 and <= 64
        ? (int)width : throw new TemplateFault("an indent is 0 to 64 characters wide. Choose one of these.");

    private static MarkedText Indent(object? value, Arguments arguments, Budget budget)
    {
        var width = arguments.Get(0, "width", 4L);
        var indent = width as MarkedText ?? MarkedText.Trusted(new string(' ', Width(width)));
        var (first, blank) = (Values.IsTrue(arguments.Get(1, "first")), Values.IsTrue(arguments.Get(2, "blank")));
        var text = Text.Of(value, budget);
        var builder = new MarkedBuilder(budget);
        for (var at = 0; at <= text.Length;)
        {
            var end = text.Value.IndexOf('\n', at);
            end = end < 0 ? text.Length : end;
            if (at == 0 ? first : blank || end > at)
                builder.Append(indent);
            builder.Append(text, at, Math.Min(end + 1, text.Length) - at);
            at = end + 1;
        }
        return builder.ToText();
    }

    private static MarkedText Title(MarkedText text, Budget budget) => text.Map((c, i) =>
        i == 0 || Characters.IsSpace(text.Value[i - 1]) || text.Value[i - 1] is '-' or '(' or '{' or '[' or '<'
            ? char.ToUpperInvariant(c) : char.ToLowerInvariant(c), budget);

    private static MarkedText Escape(MarkedText text, Budget budget)
    {
        var builder = new MarkedBuilder(budget);
        Text.AppendEscaped(builder, text, c => c switch
        {
            '&' => "&amp;",
            '<' => "&lt;",
            '>' => "&gt;",
            '"' => "&#34;",
            '\'' => "&#39;",
            _ => null,
        });
        return builder.ToText();
    }

    private static object? ToInteger(object? value) => value switch
    {
        long or bool => Strings.Integer(value),
        double number when Math.Abs(number) < 9e18 => (long)number,
        MarkedText text when long.TryParse(text.Value, NumberStyles.Integer, CultureInfo.InvariantCulture, out var integer) => integer,
        MarkedText text when ToNumber(text) is { } number => ToInteger(number),
        _ => null,
    };

    private static double? ToNumber(object? value) => Values.TryNumber(value, out var number)
        || (value is MarkedText text && double.TryParse(text.Value, NumberStyles.Float, CultureInfo.InvariantCulture, out number))
            ? number : null;

    private static double Round(object? value, Arguments arguments, Budget budget)
    {
        if (!Values.TryNumber(value, out var number))
            throw new TemplateFault($"{Values.Kind(value)} cannot be rounded. Use a number.");
        var scale = Math.Pow(10, Strings.Integer(arguments.Get(0, "precision", 0L)));
        return Text.Of(arguments.Get(1, "method", MarkedText.Trusted("common")), budget).Value switch
        {
            "ceil" => Math.Ceiling(number * scale) / scale,
            "floor" => Math.Floor(number * scale) / scale,
            _ => Math.Round(number * scale, MidpointRounding.ToEven) / scale,
        };
    }

    private static Sequence Copy(object? value, Budget budget)
    {
        var items = Values.Iterate(value, budget);
        budget.Charge(items.Count);
        return new([.. items]);
    }

    private static object Reverse(object? value, Arguments _, Budget budget)
    {
        var copy = Copy(value, budget);
        copy.Items.Reverse();
        return value is MarkedText ? Strings.Join(MarkedText.Empty, copy.Items, strict: true, budget) : copy;
    }

    // Arguments: case_sensitive, attribute. Texts compare without case unless asked.
    private static Sequence Sorted(object? value, Arguments arguments, Budget budget, bool descending = false)
    {
        var exact = Values.IsTrue(arguments.Get(0, "case_sensitive"));
        var attribute = arguments.Get(1, "attribute");
        return new(Values.Order(Values.Iterate(value, budget),
            item => WithoutCase(Attribute(item, attribute, budget), exact, budget), descending, budget));
    }

    private static Sequence Unique(object? value, Arguments arguments, Budget budget)
    {
        var exact = Values.IsTrue(arguments.Get(0, "case_sensitive"));
        var seen = new Mapping();
        return new([.. Values.Iterate(value, budget).Where(item =>
            WithoutCase(Attribute(item, arguments.Get(1, "attribute"), budget), exact, budget) is { } key && seen.Entries.TryAdd(key, null))]);
    }

    private static object? WithoutCase(object? value, bool exact, Budget budget) =>
        value is MarkedText text && !exact ? Strings.Lower(text, budget) : value;

    private static Sequence DictSort(object? value, Arguments arguments, Budget budget)
    {
        var exact = Values.IsTrue(arguments.Get(0, "case_sensitive"));
        var place = Text.Of(arguments.Get(1, "by", MarkedText.Trusted("key")), budget).Value == "value" ? 1 : 0;
        return new(Values.Order(Values.Pairs(MappingOf(value), budget).Items,
            pair => WithoutCase(((Sequence)pair!).Items[place], exact, budget), Values.IsTrue(arguments.Get(2, "reverse")), budget));
    }

    private static Mapping MappingOf(object? value) => value as Mapping
        ?? throw new TemplateFault($"a mapping is needed here, not {Values.Kind(value)}. Pass an object.");

    private static Sequence Map(object? value, Arguments arguments, Budget budget)
    {
        var items = Some(value, budget);
        budget.Charge(items.Count);
        if (arguments.Named.TryGetValue("attribute", out var attribute))
            return new([.. items.Select(x => Attribute(x, attribute, budget) is var found && found is Undefined
                ? arguments.Get(int.MaxValue, "default", found) : found)]);
        var name = Strings.TextOf(arguments.Require(0, "filter")).Value;
        if (!All.TryGetValue(name, out var filter))
            throw new TemplateFault($"the filter '{name}' is not supported. Use a template within docs/chat-templates.md.");
        var rest = arguments.Skip(1);
        return new([.. items.Select(x => filter(x, rest, budget))]);
    }

    private static Sequence Select(object? value, Arguments arguments, Budget budget, bool byAttribute, bool keep)
    {
        var attribute = byAttribute ? arguments.Require(0, "attribute") : null;
        var rest = arguments.Skip(byAttribute ? 1 : 0);
        Tests.Test test = (v, _, _) => Values.IsTrue(v);
        if (rest.Positional.Count > 0)
        {
            var name = Strings.TextOf(rest.Positional[0]).Value;
            test = Tests.All.GetValueOrDefault(name)
                ?? throw new TemplateFault($"the test '{name}' is not supported. Use a template within docs/chat-templates.md.");
            rest = rest.Skip(1);
        }
        var items = Some(value, budget);
        budget.Charge(items.Count);
        return new([.. items.Where(x => test(Attribute(x, attribute, budget), rest, budget) == keep)]);
    }

    // map, select and their kin take none (tools that were not given) for an empty list.
    private static List<object?> Some(object? value, Budget budget) => Values.IsTrue(value) ? Values.Iterate(value, budget) : [];

    // "a.b" and "items.0", as jinja2's make_attrgetter.
    private static object? Attribute(object? item, object? path, Budget budget)
    {
        if (path is null)
            return item;
        budget.Charge(1);
        if (path is long index)
            return Operators.Element(item, index, budget);
        foreach (var part in Strings.TextOf(path).Value.Split('.'))
            item = Operators.Element(item, long.TryParse(part, out var place) ? place : MarkedText.Trusted(part), budget);
        return item;
    }
}
