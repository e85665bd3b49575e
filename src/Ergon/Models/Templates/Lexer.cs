using System.Globalization;
using System.Text;

namespace Ergon.Models.Templates;

internal enum TokenKind { Data, PrintBegin, PrintEnd, BlockBegin, BlockEnd, Name, Text, Integer, Float, Operator, End }

internal readonly record struct Token(TokenKind Kind, string Text, int At);

/// <summary>Cuts a template into tokens, with trim_blocks and lstrip_blocks on as transformers sets them.</summary>
internal sealed class Lexer
{
    // Longest first: "**" before "*".
    private static readonly string[] Operators =
        ["==", "!=", ">=", "<=", "//", "**", "+", "-", "/", "*", "%", "~", "[", "]", "(", ")", "{", "}", ">", "<", "=", ".", ":", "|", ","];

    private readonly string _source;
    private readonly List<Token> _tokens = [];
    private int _at;

    private Lexer(string source) => _source = source;

    /// <summary>One line ending, and none at the end, as jinja2 has it.</summary>
    public static string Normalize(string source)
    {
        source = source.Replace("\r\n", "\n", StringComparison.Ordinal).Replace('\r', '\n');
        return source.EndsWith('\n') ? source[..^1] : source;
    }

    /// <param name="source">Normalized.</param>
    /// <param name="at">Where the lexer was when it failed.</param>
    public static List<Token> Run(string source, out int at)
    {
        var lexer = new Lexer(source);
        try
        {
            while (lexer._at < source.Length)
                lexer.DataThenTag();
            lexer._tokens.Add(new(TokenKind.End, "the end of the template", source.Length));
            return lexer._tokens;
        }
        finally
        {
            at = lexer._at;
        }
    }

    private void DataThenTag()
    {
        var tag = FindTag();
        var sign = tag + 2 < _source.Length ? _source[tag + 2] : ' ';
        var kind = tag < _source.Length ? _source[tag + 1] : ' ';
        var end = tag;
        if (sign == '-')
            while (end > _at && Characters.IsSpace(_source[end - 1]))
                end--;
        else if (sign != '+' && kind is '%' or '#')
            end = WithoutIndent(tag);
        if (end > _at)
            _tokens.Add(new(TokenKind.Data, _source[_at..end], _at));
        _at = tag;
        if (kind == '#')
            Comment();
        else if (kind == '%' && TryRaw())
            return;
        else if (kind is '{' or '%')
            Code(kind == '{' ? TokenKind.PrintBegin : TokenKind.BlockBegin, sign is '-' or '+' ? 3 : 2, kind == '{' ? "}}" : "%}");
    }

    private int FindTag()
    {
        for (var i = _at; (i = _source.IndexOf('{', i)) >= 0 && i + 1 < _source.Length; i++)
            if (_source[i + 1] is '{' or '%' or '#')
                return i;
        return _source.Length;
    }

    // lstrip_blocks: a tag alone at the beginning of its line takes the indent with it.
    private int WithoutIndent(int tag)
    {
        var line = tag;
        while (line > _at && _source[line - 1] != '\n' && Characters.IsSpace(_source[line - 1]))
            line--;
        return line == 0 || _source[line - 1] == '\n' ? line : tag;
    }

    private void Comment()
    {
        var end = _source.IndexOf("#}", _at + 2, StringComparison.Ordinal);
        if (end < 0)
            throw new TemplateFault("this comment has no end. Close it with #}.");
        var sign = end > _at + 2 ? _source[end - 1] : ' ';
        _at = end + 2;
        AfterTag(sign, trimNewline: true);
    }

    private void AfterTag(char sign, bool trimNewline)
    {
        if (sign == '-')
            while (_at < _source.Length && Characters.IsSpace(_source[_at]))
                _at++;
        else if (sign != '+' && trimNewline && _at < _source.Length && _source[_at] == '\n')
            _at++;
    }

    private bool TryRaw()
    {
        if (!TryTag(_at, "raw", out _, out var end, out var closing))
            return false;
        var opening = _at;
        _at = end;
        AfterTag(closing, trimNewline: false);
        for (var i = _at; (i = _source.IndexOf("{%", i, StringComparison.Ordinal)) >= 0; i++)
        {
            if (!TryTag(i, "endraw", out var sign, out end, out closing))
                continue;
            var text = _source[_at..(sign is '-' or '+' ? i : WithoutIndent(i))];
            if (sign == '-')
                text = Characters.TrimEnd(text);
            if (text.Length > 0)
                _tokens.Add(new(TokenKind.Data, text, _at));
            _at = end;
            AfterTag(closing, trimNewline: true);
            return true;
        }
        _at = opening;
        throw new TemplateFault("this raw block has no end. Close it with {% endraw %}.");
    }

    private bool TryTag(int at, string word, out char sign, out int end, out char closing)
    {
        var i = at + 2;
        sign = closing = ' ';
        end = 0;
        if (i < _source.Length && _source[i] is '-' or '+')
            sign = _source[i++];
        while (i < _source.Length && Characters.IsSpace(_source[i]))
            i++;
        if (string.CompareOrdinal(_source, i, word, 0, word.Length) != 0)
            return false;
        i += word.Length;
        while (i < _source.Length && Characters.IsSpace(_source[i]))
            i++;
        if (i < _source.Length && _source[i] is '-' or '+')
            closing = _source[i++];
        end = i + 2;
        return string.CompareOrdinal(_source, i, "%}", 0, 2) == 0;
    }

    private void Code(TokenKind begin, int skip, string close)
    {
        _tokens.Add(new(begin, _source.Substring(_at, skip), _at));
        var opening = _at;
        _at += skip;
        // Inside brackets "}}" closes two mappings, not the tag.
        for (var depth = 0; ;)
        {
            while (_at < _source.Length && Characters.IsSpace(_source[_at]))
                _at++;
            if (_at == _source.Length)
            {
                _at = opening;
                throw new TemplateFault($"this tag has no end. Close it with {close}.");
            }
            if (depth == 0 && TryClose(close))
                return;
            depth += Lex() switch { '(' or '[' or '{' => 1, ')' or ']' or '}' => -1, _ => 0 };
        }
    }

    private bool TryClose(string close)
    {
        var sign = _source[_at] is '-' or '+' ? _source[_at] : ' ';
        var length = sign == ' ' ? 2 : 3;
        if (string.CompareOrdinal(_source, _at + length - 2, close, 0, 2) != 0)
            return false;
        _tokens.Add(new(close == "}}" ? TokenKind.PrintEnd : TokenKind.BlockEnd, close, _at));
        _at += length;
        AfterTag(sign, trimNewline: close == "%}");
        return true;
    }

    private char Lex()
    {
        var start = _at;
        var c = _source[_at];
        if (c is '"' or '\'')
            _tokens.Add(new(TokenKind.Text, Quoted(c), start));
        else if (char.IsAsciiDigit(c))
            Number();
        else if (char.IsLetter(c) || c == '_')
        {
            while (_at < _source.Length && (char.IsLetterOrDigit(_source[_at]) || _source[_at] == '_'))
                _at++;
            _tokens.Add(new(TokenKind.Name, _source[start.._at], start));
        }
        else
        {
            var symbol = Array.Find(Operators, o => string.CompareOrdinal(_source, start, o, 0, o.Length) == 0)
                ?? throw new TemplateFault($"the character '{c}' has no meaning here. Remove it.");
            _at += symbol.Length;
            _tokens.Add(new(TokenKind.Operator, symbol, start));
            return symbol.Length == 1 ? c : ' ';
        }
        return ' ';
    }

    private void Number()
    {
        var start = _at;
        var kind = TokenKind.Integer;
        Digits();
        // "a.0.1" is two indices, not an index and a fraction.
        var isIndex = start > 0 && _source[start - 1] == '.';
        if (!isIndex && Peek(0) == '.' && char.IsAsciiDigit(Peek(1)))
        {
            kind = TokenKind.Float;
            _at++;
            Digits();
        }
        var sign = Peek(1) is '+' or '-' ? 1 : 0;
        if (!isIndex && Peek(0) is 'e' or 'E' && char.IsAsciiDigit(Peek(1 + sign)))
        {
            kind = TokenKind.Float;
            _at += 1 + sign;
            Digits();
        }
        _tokens.Add(new(kind, _source[start.._at].Replace("_", "", StringComparison.Ordinal), start));
    }

    private void Digits()
    {
        while (char.IsAsciiDigit(Peek(0)) || (Peek(0) == '_' && char.IsAsciiDigit(Peek(1))))
            _at++;
    }

    private char Peek(int ahead) => _at + ahead < _source.Length ? _source[_at + ahead] : '\0';

    private string Quoted(char quote)
    {
        var start = _at++;
        var text = new StringBuilder();
        while (_at < _source.Length && _source[_at] != quote)
        {
            if (_source[_at] == '\\' && _at + 1 < _source.Length)
                Escape(text);
            else
                text.Append(_source[_at++]);
        }
        if (_at == _source.Length)
        {
            _at = start;
            throw new TemplateFault($"this string has no end. Close it with {quote}.");
        }
        _at++;
        return text.ToString();
    }

    // Python's escapes; one that it does not know keeps its backslash.
    private void Escape(StringBuilder text)
    {
        var c = _source[_at + 1];
        _at += 2;
        switch (c)
        {
            case '\n': break;
            case 'n': text.Append('\n'); break;
            case 't': text.Append('\t'); break;
            case 'r': text.Append('\r'); break;
            case 'a': text.Append('\a'); break;
            case 'b': text.Append('\b'); break;
            case 'f': text.Append('\f'); break;
            case 'v': text.Append('\v'); break;
            case '\\' or '\'' or '"': text.Append(c); break;
            case 'x': Hex(text, 2); break;
            case 'u': Hex(text, 4); break;
            case 'U': Hex(text, 8); break;
            case >= '0' and <= '7':
                var octal = c - '0';
                for (var i = 0; i < 2 && Peek(0) is >= '0' and <= '7'; i++)
                    octal = octal * 8 + _source[_at++] - '0';
                text.Append((char)octal);
                break;
            default: text.Append('\\').Append(c); break;
        }
    }

    private void Hex(StringBuilder text, int digits)
    {
        if (_at + digits > _source.Length
            || !int.TryParse(_source.AsSpan(_at, digits), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out var code)
            || code is < 0 or > 0x10FFFF)
            throw new TemplateFault($"this escape needs {digits} hexadecimal digits of a Unicode character. Correct it.");
        _at += digits;
        if (code > 0xFFFF)
            text.Append(char.ConvertFromUtf32(code));
        else
            text.Append((char)code);
    }
}
