using System.Globalization;
using System.Text;

namespace Ergon.Models.Grammars;

/// <summary>
/// A bounded regular expression (the keyword <c>pattern</c>) as GBNF: literals, classes, groups, "|",
/// quantifiers, and anchors at the ends.
/// </summary>
internal sealed class PatternGrammar
{
    private const int MaxRepetitions = 1000;
    private const int MaxDepth = 32;

    private readonly string _pattern;
    private readonly Func<string, Exception> _fault;
    private int _at;
    private int _depth;

    private PatternGrammar(string pattern, Func<string, Exception> fault) => (_pattern, _fault) = (pattern, fault);

    public static string Convert(string pattern, Func<string, Exception> fault)
    {
        // Without an anchor a match may stand anywhere in the string.
        var start = pattern.StartsWith('^');
        // "\$" is a dollar, "\\$" a backslash and an anchor.
        var end = pattern.EndsWith('$') && (pattern.Length - 1 - pattern[..^1].TrimEnd('\\').Length) % 2 == 0;
        var inner = pattern[(start ? 1 : 0)..(end ? ^1 : ^0)];
        var parser = new PatternGrammar(inner, fault);
        var body = parser.Alternatives();
        if (parser._at < inner.Length)
            throw fault("has a ')' too many. Correct it.");
        if ((start || end) && parser._topAlternatives)
            throw fault("has an anchor in one alternative. Put the alternatives in a group.");
        return $"{(start ? "" : "char* ")}( {body} ){(end ? "" : " char*")}";
    }

    private bool _topAlternatives;

    private string Alternatives()
    {
        if (++_depth > MaxDepth)
            throw _fault($"nests groups more than {MaxDepth} deep. Simplify it.");
        var parts = new List<string> { Sequence() };
        while (_at < _pattern.Length && _pattern[_at] == '|')
        {
            _at++;
            parts.Add(Sequence());
            _topAlternatives |= _depth == 1;
        }
        _depth--;
        return string.Join(" | ", parts);
    }

    private string Sequence()
    {
        var parts = new List<string>();
        while (_at < _pattern.Length && _pattern[_at] is not ('|' or ')'))
            parts.Add(Atom() + Quantifier());
        return parts.Count == 0 ? "\"\"" : string.Join(" ", parts);
    }

    private string Atom()
    {
        var c = _pattern[_at++];
        switch (c)
        {
            case '(':
                if (_at < _pattern.Length && _pattern[_at] == '?')
                {
                    if (string.CompareOrdinal(_pattern, _at, "?:", 0, 2) != 0)
                        throw _fault("uses a look-around or a named group. Use plain groups.");
                    _at += 2;
                }
                var group = Alternatives();
                if (_at >= _pattern.Length || _pattern[_at++] != ')')
                    throw _fault("has a '(' without its ')'. Close it.");
                return $"( {group} )";
            case '[':
                return Class();
            case '.':
                return "[^\"\\\\\\x7F\\x00-\\x1F]";
            case '\\':
                return ClassEscape() is { } set ? $"[{set}]" : Literal(Escaped());
            case '^' or '$':
                throw _fault("has an anchor inside. Use anchors at the ends only.");
            case '*' or '+' or '?' or '{':
                throw _fault($"has a '{c}' that repeats nothing. Escape it.");
            default:
                return char.IsHighSurrogate(c) && _at < _pattern.Length ? Gbnf.Literal($"{c}{_pattern[_at++]}") : Literal(c);
        }
    }

    private string Quantifier()
    {
        if (_at == _pattern.Length || _pattern[_at] is not ('*' or '+' or '?' or '{'))
            return "";
        var quantifier = _pattern[_at++].ToString();
        if (quantifier == "{")
        {
            var end = _pattern.IndexOf('}', _at);
            var bounds = end < 0 ? [] : _pattern[_at..end].Split(',');
            if (bounds.Length is 0 or > 2 || !Array.TrueForAll(bounds, b => b.Length == 0 || (int.TryParse(b, NumberStyles.None, CultureInfo.InvariantCulture, out var n) && n <= MaxRepetitions)) || bounds[0].Length == 0)
                throw _fault($"has a repetition that is no {{m,n}} up to {MaxRepetitions}. Correct it.");
            quantifier = $"{{{string.Join(',', bounds)}}}";
            _at = end + 1;
        }
        if (_at < _pattern.Length && _pattern[_at] == '?')
            _at++;
        return quantifier;
    }

    private string Class()
    {
        var set = new StringBuilder();
        var negated = _at < _pattern.Length && _pattern[_at] == '^';
        if (negated)
            _at++;
        for (var first = true; ; first = false)
        {
            if (_at >= _pattern.Length)
                throw _fault("has a '[' without its ']'. Close it.");
            var c = _pattern[_at++];
            if (c == ']' && !first)
                break;
            if (c == '\\' && ClassEscape() is { } named)
            {
                set.Append(named);
                continue;
            }
            var escaped = c == '\\';
            c = escaped ? Escaped() : c;
            if (c == '-' && !escaped && !first && _at < _pattern.Length && _pattern[_at] != ']')
            {
                set.Append('-');
                continue;
            }
            if (!negated && c is '"' or '\\' or < ' ')
                throw _fault("has a quote, a backslash or a control character in a class. Use alternatives instead.");
            set.Append(c is ']' or '[' or '\\' or '"' or '-' or '^' ? $"\\x{(int)c:X2}" : c is < ' ' ? $"\\x{(int)c:X2}" : c);
        }
        // What a JSON string cannot hold unescaped is never in a class.
        return negated ? $"[^{set}\"\\\\\\x7F\\x00-\\x1F]" : $"[{set}]";
    }

    private string? ClassEscape()
    {
        var set = _at < _pattern.Length ? _pattern[_at] switch { 'd' => "0-9", 'w' => "A-Za-z0-9_", 's' => " ", _ => null } : null;
        if (set is not null)
            _at++;
        return set;
    }

    private char Escaped()
    {
        if (_at >= _pattern.Length)
            throw _fault("ends in a backslash. Remove it.");
        var c = _pattern[_at++];
        return c switch
        {
            'n' => '\n',
            't' => '\t',
            'r' => '\r',
            _ when char.IsAsciiLetterOrDigit(c) => throw _fault($"uses '\\{c}', which is not supported. Use classes such as [0-9]."),
            _ => c,
        };
    }

    private static string Literal(char c) => Gbnf.Literal(Gbnf.JsonCharacter(c));
}
