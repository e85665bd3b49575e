using System.Globalization;

namespace Ergon.Tests.Models.Grammars;

/// <summary>Matches whole texts against a GBNF grammar, by sets of positions.</summary>
internal sealed class GbnfMatcher
{
    private delegate IEnumerable<int> Matcher(string text, int at);

    private readonly Dictionary<string, Matcher> _rules = new(StringComparer.Ordinal);
    private readonly HashSet<string> _used = new(StringComparer.Ordinal);
    private string _source = "";
    private int _at;

    public GbnfMatcher(string grammar)
    {
        foreach (var line in grammar.Split('\n', StringSplitOptions.RemoveEmptyEntries))
        {
            var cut = line.IndexOf("::=", StringComparison.Ordinal);
            (_source, _at) = (line[(cut + 3)..], 0);
            var rule = Alternatives();
            Assert.True(_at == _source.Length, $"trailing '{_source[_at..]}' in {line}");
            Assert.True(_rules.TryAdd(line[..cut].Trim(), rule), $"second rule {line}");
        }
        Assert.All(_used, name => Assert.True(_rules.ContainsKey(name), $"no rule {name}"));
    }

    public bool Matches(string text) => _rules["root"](text, 0).Contains(text.Length);

    private Matcher Alternatives()
    {
        var parts = new List<Matcher> { Sequence() };
        while (Peek() == '|')
        {
            _at++;
            parts.Add(Sequence());
        }
        return parts.Count == 1 ? parts[0] : (text, at) => parts.SelectMany(p => p(text, at)).Distinct();
    }

    private Matcher Sequence()
    {
        var parts = new List<Matcher>();
        while (Peek() is not ('\0' or '|' or ')'))
            parts.Add(Repeated(Atom()));
        return (text, at) =>
        {
            IEnumerable<int> positions = [at];
            foreach (var part in parts)
                positions = [.. positions.SelectMany(p => part(text, p)).Distinct()];
            return positions;
        };
    }

    private Matcher Repeated(Matcher one)
    {
        var (least, most) = (1, 1);
        switch (_at < _source.Length ? _source[_at] : ' ')
        {
            case '*': (least, most) = (0, int.MaxValue); _at++; break;
            case '+': (least, most) = (1, int.MaxValue); _at++; break;
            case '?': (least, most) = (0, 1); _at++; break;
            case '{':
                var end = _source.IndexOf('}', _at);
                var bounds = _source[(_at + 1)..end].Split(',');
                least = int.Parse(bounds[0], CultureInfo.InvariantCulture);
                most = bounds.Length == 1 ? least : bounds[1].Length == 0 ? int.MaxValue : int.Parse(bounds[1], CultureInfo.InvariantCulture);
                Assert.InRange(most, Math.Max(1, least), int.MaxValue);
                _at = end + 1;
                break;
            default: return one;
        }
        return (text, at) =>
        {
            var all = new HashSet<int>();
            HashSet<int> current = [at];
            for (var i = 0; i <= most && current.Count > 0; i++)
            {
                if (i >= least && !current.Any(all.Add) && i > least)
                    break;
                if (i >= least)
                    all.UnionWith(current);
                if (i < most)
                    current = [.. current.SelectMany(p => one(text, p))];
            }
            return all;
        };
    }

    private Matcher Atom()
    {
        var c = Peek();
        if (c == '(')
        {
            _at++;
            var inner = Alternatives();
            Assert.Equal(')', Peek());
            _at++;
            return inner;
        }
        if (c == '"')
        {
            _at++;
            var literal = "";
            while (_source[_at] != '"')
                literal += Character();
            _at++;
            return (text, at) => string.CompareOrdinal(text, at, literal, 0, literal.Length) == 0 ? [at + literal.Length] : [];
        }
        if (c == '[')
            return Class();
        var start = _at;
        while (_at < _source.Length && (char.IsAsciiLetterOrDigit(_source[_at]) || _source[_at] == '-'))
            _at++;
        Assert.True(_at > start, $"unexpected '{_source[_at..]}'");
        var name = _source[start.._at];
        _used.Add(name);
        return (text, at) => _rules[name](text, at);
    }

    private Matcher Class()
    {
        _at++;
        var negated = _source[_at] == '^';
        _at += negated ? 1 : 0;
        var ranges = new List<(char, char)>();
        while (_source[_at] != ']')
        {
            var low = Character();
            var high = low;
            if (_source[_at] == '-' && _source[_at + 1] != ']')
            {
                _at++;
                high = Character();
            }
            ranges.Add((low, high));
        }
        _at++;
        return (text, at) => at < text.Length && ranges.Exists(r => r.Item1 <= text[at] && text[at] <= r.Item2) != negated ? [at + 1] : [];
    }

    private char Character()
    {
        var c = _source[_at++];
        if (c != '\\')
            return c;
        c = _source[_at++];
        if (c == 'x')
        {
            _at += 2;
            return (char)int.Parse(_source.AsSpan(_at - 2, 2), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture);
        }
        return c switch { 'n' => '\n', 't' => '\t', 'r' => '\r', _ => c };
    }

    private char Peek()
    {
        while (_at < _source.Length && _source[_at] == ' ')
            _at++;
        return _at < _source.Length ? _source[_at] : '\0';
    }
}
