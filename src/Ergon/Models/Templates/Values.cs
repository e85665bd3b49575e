using System.Diagnostics.CodeAnalysis;
using System.Text.Json;

namespace Ergon.Models.Templates;

// A value is null (none), bool, long, double, MarkedText, or one of these.

internal sealed record Sequence(List<object?> Items, bool IsTuple = false);

/// <summary>Keys in order of insertion; a key is a text, a number or a bool.</summary>
internal sealed class Mapping
{
    public OrderedDictionary<object, object?> Entries { get; } = new(KeyComparer.Instance);

    /// <summary>False for none and undefined too, which are never keys.</summary>
    public bool TryGet(object? key, out object? value)
    {
        value = null;
        return key is not (null or Undefined) && Entries.TryGetValue(key, out value);
    }

    public void Put(string key, object? value) => Entries[MarkedText.Trusted(key)] = value;

    // Python's numbers are one kind of key: 1, 1.0 and true are the same.
    private sealed class KeyComparer : IEqualityComparer<object>
    {
        public static readonly KeyComparer Instance = new();

        public new bool Equals(object? x, object? y) =>
            x is MarkedText ? x.Equals(y) : Values.TryNumber(x, out var a) && Values.TryNumber(y, out var b) && a == b;

        public int GetHashCode([DisallowNull] object value) => value is MarkedText ? value.GetHashCode()
            : Values.TryNumber(value, out var number) ? number.GetHashCode()
            : throw new TemplateFault($"{Values.Kind(value)} cannot be a key. Use a text or a number.");
    }
}

/// <summary>jinja2's default undefined: prints as nothing, iterates over nothing, and fails when it is used otherwise.</summary>
internal sealed record Undefined(string What)
{
    public TemplateFault Fault() => new($"{What} is undefined. Give it, or use a template that does not need it.");
}

/// <summary>What <c>namespace()</c> makes: the one value that a template can change.</summary>
internal sealed class Namespace
{
    public Dictionary<string, object?> Attributes { get; } = new(StringComparer.Ordinal);
}

internal sealed record Function(string Name, Func<Arguments, object?> Invoke);

/// <summary>The arguments of one call, in Python's manner: by place or by name.</summary>
internal sealed record Arguments(List<object?> Positional, Dictionary<string, object?> Named)
{
    public static readonly Arguments None = new([], []);

    public object? Get(int place, string name, object? fallback = null) =>
        place < Positional.Count ? Positional[place] : Named.GetValueOrDefault(name, fallback);

    public object? Require(int place, string name) => place < Positional.Count || Named.ContainsKey(name)
        ? Get(place, name) : throw new TemplateFault($"the argument '{name}' is missing. Give it.");

    public Arguments Skip(int count) => new(Positional[Math.Min(count, Positional.Count)..], Named);
}

internal static class Values
{
    public static string Kind(object? value) => value switch
    {
        null => "none",
        bool => "a boolean",
        long => "an integer",
        double => "a float",
        MarkedText => "a text",
        Sequence { IsTuple: true } => "a tuple",
        Sequence => "a list",
        Mapping => "a mapping",
        Undefined undefined => undefined.What,
        Namespace => "a namespace",
        _ => "a function",
    };

    public static bool IsTrue(object? value) => value switch
    {
        null or Undefined => false,
        bool boolean => boolean,
        long integer => integer != 0,
        double number => number != 0,
        MarkedText text => text.Length > 0,
        Sequence sequence => sequence.Items.Count > 0,
        Mapping mapping => mapping.Entries.Count > 0,
        _ => true,
    };

    public static bool TryInteger(object? value, out long integer)
    {
        integer = value is long i ? i : value is true ? 1 : 0;
        return value is long or bool;
    }

    public static bool TryNumber(object? value, out double number)
    {
        number = value is double d ? d : TryInteger(value, out var integer) ? integer : 0;
        return value is double or long or bool;
    }

    public static bool AreEqual(object? a, object? b, Budget budget)
    {
        budget.Enter();
        if (TryInteger(a, out var i) && TryInteger(b, out var j))
            return i == j;
        if (TryNumber(a, out var x) && TryNumber(b, out var y))
            return x == y;
        switch (a, b)
        {
            case (MarkedText s, MarkedText t):
                budget.Charge(Math.Min(s.Length, t.Length) / 16);
                return s.Equals(t);
            case (Sequence s, Sequence t):
                return s.IsTuple == t.IsTuple && s.Items.Count == t.Items.Count
                    && s.Items.Zip(t.Items).All(pair => AreEqual(pair.First, pair.Second, budget));
            case (Mapping s, Mapping t):
                return s.Entries.Count == t.Entries.Count
                    && s.Entries.All(e => t.Entries.TryGetValue(e.Key, out var other) && AreEqual(e.Value, other, budget));
            case (Undefined, Undefined) or (null, null):
                return true;
            default:
                return ReferenceEquals(a, b);
        }
    }

    public static int Compare(object? a, object? b, Budget budget)
    {
        budget.Enter();
        if (TryInteger(a, out var i) && TryInteger(b, out var j))
            return i.CompareTo(j);
        if (TryNumber(a, out var x) && TryNumber(b, out var y))
            return x.CompareTo(y);
        switch (a, b)
        {
            case (MarkedText s, MarkedText t):
                budget.Charge(Math.Min(s.Length, t.Length) / 16);
                return string.CompareOrdinal(s.Value, t.Value);
            case (Sequence s, Sequence t) when s.IsTuple == t.IsTuple:
                for (var k = 0; k < Math.Min(s.Items.Count, t.Items.Count); k++)
                    if (Compare(s.Items[k], t.Items[k], budget) is var order and not 0)
                        return order;
                return s.Items.Count - t.Items.Count;
            default:
                throw (a as Undefined ?? b as Undefined)?.Fault() ?? new TemplateFault($"{Kind(a)} and {Kind(b)} have no order. Compare values of one kind.");
        }
    }

    /// <summary>A stable sort, descending without reversing equals, as Python's.</summary>
    public static List<T> Order<T>(IEnumerable<T> items, Func<T, object?> key, bool descending, Budget budget)
    {
        var comparer = Comparer<object?>.Create((a, b) => Compare(a, b, budget));
        try
        {
            return [.. descending ? items.OrderByDescending(key, comparer) : items.OrderBy(key, comparer)];
        }
        catch (InvalidOperationException failure) when (failure.InnerException is TemplateFault fault)
        {
            // .NET wraps what a comparer throws.
            throw new TemplateFault(fault.Message);
        }
    }

    public static bool Contains(object? container, object? item, Budget budget)
    {
        switch (container)
        {
            case MarkedText text when item is MarkedText part:
                budget.ChargeSearch(text.Length, part.Length);
                return text.Value.Contains(part.Value, StringComparison.Ordinal);
            case MarkedText:
                throw new TemplateFault($"a text contains texts, not {Kind(item)}. Convert it with |string.");
            case Mapping mapping:
                return mapping.TryGet(item, out _);
            default:
                return Iterate(container, budget).Exists(x => AreEqual(x, item, budget));
        }
    }

    /// <summary>The items, which the caller must not change.</summary>
    public static List<object?> Iterate(object? value, Budget budget)
    {
        switch (value)
        {
            case Sequence sequence:
                return sequence.Items;
            case Mapping mapping:
                budget.Charge(mapping.Entries.Count);
                return [.. mapping.Entries.Keys];
            case Undefined:
                return [];
            case MarkedText text:
                var characters = new List<object?>();
                for (var (i, width) = (0, 0); i < text.Length; i += width)
                {
                    width = Characters.Width(text.Value, i);
                    budget.Charge(Budget.Allocation);
                    characters.Add(text.Substring(i, width, budget));
                }
                return characters;
            default:
                throw new TemplateFault($"{Kind(value)} cannot be iterated. Use a list, a mapping or a text.");
        }
    }

    public static long Length(object? value, Budget budget)
    {
        if (value is MarkedText text)
        {
            budget.Charge(text.Length / 16);
            return Characters.Count(text.Value);
        }
        return value switch
        {
            Sequence sequence => sequence.Items.Count,
            Mapping mapping => mapping.Entries.Count,
            Undefined => 0,
            _ => throw new TemplateFault($"{Kind(value)} has no length. Use a list, a mapping or a text."),
        };
    }

    public static Sequence Pairs(Mapping mapping, Budget budget)
    {
        budget.Charge(3L * mapping.Entries.Count);
        return new([.. mapping.Entries.Select(e => (object?)new Sequence([e.Key, e.Value], IsTuple: true))]);
    }

    /// <summary>The caller's data; its texts are foreign. The depth is bounded by JsonDocument's own limit and the stack guard.</summary>
    public static object? FromJson(JsonElement json)
    {
        Budget.GuardStack();
        switch (json.ValueKind)
        {
            case JsonValueKind.String:
                return MarkedText.Foreign(json.GetString()!);
            case JsonValueKind.Number:
                return json.TryGetInt64(out var integer) && !json.GetRawText().AsSpan().ContainsAny(".eE") ? integer : (object)json.GetDouble();
            case JsonValueKind.True or JsonValueKind.False:
                return json.GetBoolean();
            case JsonValueKind.Array:
                return new Sequence([.. json.EnumerateArray().Select(FromJson)]);
            case JsonValueKind.Object:
                var mapping = new Mapping();
                foreach (var property in json.EnumerateObject())
                    mapping.Entries[MarkedText.Foreign(property.Name)] = FromJson(property.Value);
                return mapping;
            default:
                return null;
        }
    }
}
