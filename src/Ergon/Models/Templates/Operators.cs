namespace Ergon.Models.Templates;

/// <summary>Python's operators on template values.</summary>
internal static class Operators
{
    public static object? Apply(string symbol, object? left, object? right, Budget budget)
    {
        if (symbol == "~")
            return Concatenate(Text.Of(left, budget), Text.Of(right, budget), budget);
        if ((left as Undefined ?? right as Undefined) is { } undefined)
            throw undefined.Fault();
        switch (symbol, left, right)
        {
            case ("+", MarkedText a, MarkedText b):
                return Concatenate(a, b, budget);
            case ("+", Sequence a, Sequence b) when a.IsTuple == b.IsTuple:
                budget.Charge((long)a.Items.Count + b.Items.Count);
                return new Sequence([.. a.Items, .. b.Items], a.IsTuple);
            case ("*", MarkedText or Sequence, long count):
                return Repeat(left, count, budget);
            case ("*", long count, MarkedText or Sequence):
                return Repeat(right, count, budget);
        }
        try
        {
            if (symbol != "/" && Values.TryInteger(left, out var i) && Values.TryInteger(right, out var j) && (symbol != "**" || j >= 0))
                return symbol switch
                {
                    "+" => checked(i + j),
                    "-" => checked(i - j),
                    "*" => checked(i * j),
                    "//" => FloorDivide(i, j),
                    "%" => Modulo(i, j),
                    _ => Power(i, j),
                };
            if (Values.TryNumber(left, out var x) && Values.TryNumber(right, out var y))
                return symbol switch
                {
                    "+" => x + y,
                    "-" => x - y,
                    "*" => x * y,
                    "**" => Math.Pow(x, y),
                    _ when y == 0 => throw new DivideByZeroException(),
                    "/" => x / y,
                    "//" => Math.Floor(x / y),
                    _ => x - y * Math.Floor(x / y),
                };
        }
        catch (ArithmeticException failure)
        {
            throw new TemplateFault(failure is DivideByZeroException
                ? "division by zero. Test the divisor first."
                : "the result does not fit in 64 bits. Use smaller numbers.");
        }
        throw new TemplateFault($"'{symbol}' does not combine {Values.Kind(left)} and {Values.Kind(right)}. Convert one, for example with |string.");
    }

    public static long Modulo(long a, long b)
    {
        if (b is 0)
            throw new DivideByZeroException();
        // Python's remainder has the divisor's sign. (MinValue % -1 traps.)
        var remainder = b == -1 ? 0 : a % b;
        return remainder != 0 && remainder < 0 != b < 0 ? remainder + b : remainder;
    }

    public static long Absolute(long value) => value == long.MinValue
        ? throw new TemplateFault("the result does not fit in 64 bits. Use smaller numbers.") : Math.Abs(value);

    public static object Negate(object? value) => value switch
    {
        double number => -number,
        long or bool => Apply("-", 0L, value, new Budget())!,
        Undefined undefined => throw undefined.Fault(),
        _ => throw new TemplateFault($"{Values.Kind(value)} has no sign. Use a number."),
    };

    /// <summary><c>target[key]</c>: an item first, an attribute second.</summary>
    public static object? Element(object? target, object? key, Budget budget)
    {
        switch (target)
        {
            case Undefined undefined:
                throw undefined.Fault();
            case Mapping mapping when mapping.TryGet(key, out var value):
                return value;
            case Sequence { Items: var items } when Values.TryInteger(key, out var index):
                index += index < 0 ? items.Count : 0;
                return index >= 0 && index < items.Count ? items[(int)index] : new Undefined($"item {index} of {items.Count}");
            case Namespace space when key is MarkedText name && space.Attributes.TryGetValue(name.Value, out var value):
                return value;
            case MarkedText text when Values.TryInteger(key, out var index):
                var count = Values.Length(text, budget);
                index += index < 0 ? count : 0;
                if (index < 0 || index >= count)
                    return new Undefined($"character {index} of {count}");
                var at = Characters.Offset(text.Value, (int)index);
                return text.Substring(at, Characters.Width(text.Value, at), budget);
        }
        return key is MarkedText attribute ? Attribute(target, attribute.Value, budget) ?? Missing(target, attribute.Value) : Missing(target, Text.Of(key, budget).Value);
    }

    /// <summary><c>target.name</c>: a method first, an item second.</summary>
    public static object? Member(object? target, string name, Budget budget)
    {
        if (target is Undefined undefined)
            throw undefined.Fault();
        if (Attribute(target, name, budget) is { } attribute)
            return attribute;
        if (target is Namespace space && space.Attributes.TryGetValue(name, out var value))
            return value;
        if (target is Mapping mapping && mapping.TryGet(MarkedText.Trusted(name), out value))
            return value;
        return Missing(target, name);
    }

    public static object? Slice(object? target, object? start, object? stop, object? step, Budget budget)
    {
        if (target is Undefined undefined)
            throw undefined.Fault();
        if (target is not (MarkedText or Sequence))
            return new Undefined($"a slice of {Values.Kind(target)}");
        var length = Values.Length(target, budget);
        var by = step is null ? 1 : Strings.Integer(step);
        if (by == 0)
            throw new TemplateFault("a slice cannot step by 0. Use another step.");
        var (low, high) = by > 0 ? (0L, length) : (-1L, length - 1);
        var from = Bound(start, by > 0 ? low : high);
        var to = Bound(stop, by > 0 ? high : low);
        if (target is MarkedText text && by == 1)
        {
            var (a, b) = (Characters.Offset(text.Value, (int)from), Characters.Offset(text.Value, (int)to));
            return text.Substring(a, Math.Max(0, b - a), budget);
        }
        var items = Values.Iterate(target, budget);
        var taken = new List<object?>();
        // Beyond the bounds one step leaves, however long it is.
        by = Math.Clamp(by, -length - 1, length + 1);
        for (var i = from; by > 0 ? i < to : i > to; i += by)
        {
            budget.Charge(1);
            taken.Add(items[(int)i]);
        }
        return target is Sequence sequence ? new Sequence(taken, sequence.IsTuple) : Strings.Join(MarkedText.Empty, taken, strict: true, budget);

        long Bound(object? given, long fallback)
        {
            if (given is null)
                return fallback;
            var index = Strings.Integer(given);
            return Math.Clamp(index < 0 ? index + length : index, low, high);
        }
    }

    private static Undefined Missing(object? target, string name) => new($"'{name}' of {Values.Kind(target)}");

    private static object? Attribute(object? target, string name, Budget budget) => target switch
    {
        MarkedText text => Strings.Find(text, name, budget),
        Mapping mapping => name switch
        {
            "items" => new Function(name, _ => Values.Pairs(mapping, budget)),
            "keys" => new Function(name, _ => new Sequence(Values.Iterate(mapping, budget))),
            "values" => new Function(name, _ =>
            {
                budget.Charge(mapping.Entries.Count);
                return new Sequence([.. mapping.Entries.Values]);
            }),
            "get" => new Function(name, a => mapping.TryGet(a.Require(0, "key"), out var value) ? value : a.Get(1, "default")),
            "pop" or "update" or "clear" or "setdefault" or "popitem" => Immutable(name),
            _ => null,
        },
        Sequence sequence => name switch
        {
            "index" => new Function(name, a => sequence.Items.FindIndex(x => Values.AreEqual(x, a.Require(0, "value"), budget)) is var at and >= 0
                ? (long)at : throw new TemplateFault("the item to find is not there. Test it with 'in' first.")),
            "count" => new Function(name, a => (long)sequence.Items.Count(x => Values.AreEqual(x, a.Require(0, "value"), budget))),
            "append" or "pop" or "extend" or "insert" or "remove" or "reverse" or "sort" or "clear" => Immutable(name),
            _ => null,
        },
        LoopState loop => loop.Attribute(name, budget),
        _ => null,
    };

    // As in transformers' sandbox.
    private static Function Immutable(string name) => new(name, _ =>
        throw new TemplateFault($"'{name}' would change a value, which a chat template may not. Use a namespace and '+'."));

    private static MarkedText Concatenate(MarkedText a, MarkedText b, Budget budget)
    {
        var builder = new MarkedBuilder(budget);
        builder.Append(a);
        builder.Append(b);
        return builder.ToText();
    }

    private static object Repeat(object? value, long count, Budget budget)
    {
        count = Math.Clamp(count, 0, int.MaxValue);
        if (value is MarkedText text)
        {
            Budget.CheckLength(text.Length * count);
            var builder = new MarkedBuilder(budget);
            for (; count > 0 && text.Length > 0; count--)
                builder.Append(text);
            return builder.ToText();
        }
        var (items, isTuple) = (Sequence)value!;
        budget.Charge(items.Count * count);
        return new Sequence([.. Enumerable.Repeat(items, items.Count == 0 ? 0 : (int)count).SelectMany(x => x)], isTuple);
    }

    private static long FloorDivide(long a, long b) => checked((a - Modulo(a, b)) / b);

    private static long Power(long value, long exponent)
    {
        long result = 1;
        if (value is 0 or 1 or -1)
            return exponent == 0 ? 1 : value == -1 && exponent % 2 == 0 ? 1 : value;
        for (; exponent > 0; exponent--)
            result = checked(result * value);
        return result;
    }
}
