using System.Globalization;
using System.Text.RegularExpressions;

namespace Ergon.Reasoning.Tasks;

/// <summary>Evaluates the sums in worked answers anew: <c>3*413=1239</c>, <c>&lt;&lt;2/2=1&gt;&gt;</c>. Evidence, not proof: right sums may follow a wrong plan.</summary>
internal static partial class Arithmetic
{
    private const int DeepestNesting = 50;

    /// <summary>How many steps a text works, and how many of them hold.</summary>
    public static (int Steps, int Right) Check(string text) => Find(text) is var (steps, right, _) ? (steps, right) : default;

    /// <summary>As <see cref="Check"/>, and where the last of what looks like a step ends; 0 where nothing does.</summary>
    public static (int Steps, int Right, int End) Find(string text)
    {
        var (steps, right, end) = (0, 0, 0);
        foreach (Match step in Step().Matches(text))
        {
            end = step.Index + step.Length;
            if (Evaluate(step.Groups["sum"].Value) is not { } value || Value(step.Groups["result"].Value) is not { } result)
                continue;
            steps++;
            // A result is as exact as it is written: 10/3 = 3.33 holds, 10/3 = 3 does not.
            var digits = step.Groups["result"].Value.Split('.') is [_, var fraction] ? fraction.Length : 0;
            right += Math.Abs(value - result) <= (digits == 0 ? 1e-9m : 0.5m * Pow10(-digits) * 1.000001m) ? 1 : 0;
        }
        return (steps, right, end);
    }

    /// <summary>The share of steps that hold; <see langword="null"/> without any.</summary>
    public static double? Evidence(string text) => Check(text) is (> 0, _) and var (steps, right) ? right / (double)steps : null;

    /// <summary>The value of a sum of numbers, + - * / x × ÷ and parentheses; <see langword="null"/> where it is malformed, divides by zero or overflows.</summary>
    public static decimal? Evaluate(string sum)
    {
        var plain = sum.Replace(",", "", StringComparison.Ordinal).Replace("$", "", StringComparison.Ordinal).Replace("%", "/100", StringComparison.Ordinal)
            .Replace('x', '*').Replace('X', '*').Replace('×', '*').Replace('÷', '/').Replace('−', '-');
        var parser = new Parser(string.Concat(plain.Where(c => !char.IsWhiteSpace(c))));
        try
        {
            return parser.Sum(0) is { } value && parser.AtEnd ? value : null;
        }
        catch (Exception e) when (e is OverflowException or DivideByZeroException)
        {
            return null;
        }
    }

    private static decimal? Value(string text) =>
        decimal.TryParse(text.Replace(",", "", StringComparison.Ordinal).Replace("$", "", StringComparison.Ordinal), NumberStyles.AllowLeadingSign | NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out var value) ? value : null;

    private static decimal Pow10(int exponent)
    {
        var value = 1m;
        for (; exponent < 0; exponent++)
            value /= 10;
        return value;
    }

    // An operator between numbers on the left, one number on the right; what stands before a sum is not part of it.
    [GeneratedRegex(@"(?<sum>[\d($.][\d\s+\-−*/x×÷().,$%]*[\d)%])\s*=\s*(?<result>-?\$?-?(?:(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|\.\d+))(?![\d/*×÷])", RegexOptions.IgnoreCase | RegexOptions.CultureInvariant)]
    private static partial Regex Step();

    private sealed class Parser(string text)
    {
        private int _at;
        private bool _operator;

        /// <summary>Whether all was read and there was something to compute.</summary>
        public bool AtEnd => _at == text.Length && _operator;

        public decimal? Sum(int depth)
        {
            if (depth > DeepestNesting)
                return null;
            var value = Product(depth);
            while (value is not null && Take('+', '-') is { } op)
                value = Product(depth) is not { } term ? null : op == '+' ? value + term : value - term;
            return value;
        }

        private decimal? Product(int depth)
        {
            var value = Factor(depth);
            while (value is not null && Take('*', '/') is { } op)
                value = Factor(depth) is not { } factor ? null : op == '*' ? value * factor : value / factor;
            return value;
        }

        private decimal? Factor(int depth)
        {
            if (_at < text.Length && text[_at] == '(')
            {
                _at++;
                var inner = Sum(depth + 1);
                return _at < text.Length && text[_at++] == ')' ? inner : null;
            }
            var start = _at;
            if (_at < text.Length && text[_at] == '-')
                _at++;
            while (_at < text.Length && (char.IsAsciiDigit(text[_at]) || text[_at] == '.'))
                _at++;
            return Value(text[start.._at]);
        }

        private char? Take(char one, char other)
        {
            if (_at >= text.Length || (text[_at] != one && text[_at] != other))
                return null;
            _operator = true;
            return text[_at++];
        }
    }
}
