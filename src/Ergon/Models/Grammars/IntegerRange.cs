using System.Globalization;

namespace Ergon.Models.Grammars;

/// <summary>Decimal digits of the integers in a range, as GBNF.</summary>
internal static class IntegerRange
{
    private const int MaxDigits = 18;

    /// <summary>Integers from <paramref name="least"/> to <paramref name="most"/>, absent bounds open.</summary>
    public static string Integers(long? least, long? most)
    {
        var parts = new List<string>();
        if (least is null or < 0)
        {
            var smallest = Math.Max(1, most is < 0 ? -most.Value : 1);
            parts.Add($"\"-\" ( {Naturals(smallest, -least)} )");
        }
        if (most is null or >= 0)
            parts.Add(Naturals(Math.Max(0, least ?? 0), most));
        return string.Join(" | ", parts);
    }

    /// <summary>Decimals between integer bounds, both included.</summary>
    public static string Decimals(long? least, long? most)
    {
        var parts = new List<string>();
        if (least is null or < 0)
            parts.Add($"\"-\" ( {Magnitudes(most is < 0 ? -most.Value : 0, -least)} )");
        if (most is null or >= 0)
            parts.Add(Magnitudes(Math.Max(0, least ?? 0), most));
        return string.Join(" | ", parts);
    }

    private static string Magnitudes(long least, long? most)
    {
        const string fraction = "( \".\" [0-9]{1,16} )?";
        if (most is not { } top)
            return $"( {Naturals(least, null)} ) {fraction}";
        var at = $"\"{top}\" ( \".\" \"0\"{{1,16}} )?";
        return top > least ? $"( {Naturals(least, top - 1)} ) {fraction} | {at}" : at;
    }

    private static string Naturals(long least, long? most)
    {
        var parts = new List<string>();
        var top = most ?? Power(Digits(least)) - 1;
        for (var digits = Digits(least); digits <= Digits(top); digits++)
            parts.Add(Between(
                Math.Max(least, digits == 1 ? 0 : Power(digits - 1)).ToString(CultureInfo.InvariantCulture),
                Math.Min(top, Power(digits) - 1).ToString(CultureInfo.InvariantCulture)));
        if (most is null && Digits(least) < MaxDigits)
            parts.Add($"[1-9] [0-9]{{{Digits(least)},{MaxDigits - 1}}}");
        return string.Join(" | ", parts);
    }

    // Two bounds of one length: digits in common, then the first that differs.
    private static string Between(string low, string high)
    {
        if (low.Length == 0)
            return "\"\"";
        if (low == high)
            return $"\"{low}\"";
        var rest = low.Length - 1;
        if (low[0] == high[0])
            return $"\"{low[0]}\" ( {Between(low[1..], high[1..])} )";
        var parts = new List<string>();
        var (from, to) = (low[0], high[0]);
        if (low[1..].AsSpan().ContainsAnyExcept('0'))
            parts.Add($"\"{from++}\" ( {Between(low[1..], new string('9', rest))} )");
        var last = high[1..].AsSpan().ContainsAnyExcept('9') ? $"\"{to--}\" ( {Between(new string('0', rest), high[1..])} )" : null;
        if (from <= to)
            parts.Add(rest == 0 ? $"[{from}-{to}]" : $"[{from}-{to}] [0-9]{{{rest}}}");
        if (last is not null)
            parts.Add(last);
        return string.Join(" | ", parts);
    }

    private static int Digits(long value) => value.ToString(CultureInfo.InvariantCulture).Length;
    private static long Power(int exponent) => exponent > MaxDigits ? long.MaxValue : (long)Math.Pow(10, exponent);
}
