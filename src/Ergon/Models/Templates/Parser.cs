namespace Ergon.Models.Templates;

/// <summary>Statements: jinja2's grammar without inheritance, includes and call blocks.</summary>
internal sealed partial class Parser
{
    private readonly List<Token> _tokens;
    private int _next;

    private Parser(List<Token> tokens) => _tokens = tokens;

    private Token Current => _tokens[_next];
    private Token Following => _tokens[Math.Min(_next + 1, _tokens.Count - 1)];

    /// <param name="tokens">The lexer's.</param>
    /// <param name="at">Where the parser was when it failed.</param>
    public static Statement[] Run(List<Token> tokens, out int at)
    {
        var parser = new Parser(tokens);
        try
        {
            return parser.Body();
        }
        finally
        {
            at = parser.Current.At;
        }
    }

    /// <summary>Statements up to a tag among <paramref name="ends"/>, whose name is consumed, or to the end of the template.</summary>
    private Statement[] Body(params ReadOnlySpan<string> ends)
    {
        Budget.GuardStack();
        var body = new List<Statement>();
        for (; ; )
        {
            var token = Current;
            switch (token.Kind)
            {
                case TokenKind.Data:
                    _next++;
                    body.Add(new Data(token.At, MarkedText.Trusted(token.Text)));
                    break;
                case TokenKind.PrintBegin:
                    _next++;
                    body.Add(new Output(token.At, Tuple()));
                    Expect(TokenKind.PrintEnd);
                    break;
                case TokenKind.BlockBegin when Following.Kind == TokenKind.Name && ends.Contains(Following.Text):
                    _next++;
                    return [.. body];
                case TokenKind.BlockBegin:
                    _next++;
                    body.Add(Block());
                    break;
                default:
                    if (ends.Length > 0)
                        throw new TemplateFault($"a block is not closed. Add {{% {ends[^1]} %}}.");
                    return [.. body];
            }
        }
    }

    private Statement Block()
    {
        var token = Expect(TokenKind.Name);
        Statement statement = token.Text switch
        {
            "if" => If(token.At),
            "for" => For(token.At),
            "set" => Set(token.At),
            "macro" => Macro(token.At),
            "filter" => FilterBlock(token.At),
            "generation" => new Scoped(token.At, Enclosed("endgeneration")),
            "break" or "continue" => new Jump(token.At, token.Text == "break"),
            _ => throw new TemplateFault($"the tag '{token.Text}' is not supported. Use a template within docs/chat-templates.md."),
        };
        Expect(TokenKind.BlockEnd);
        return statement;
    }

    private If If(int at)
    {
        var branches = new List<(Expression, Statement[])>();
        Statement[] otherwise = [];
        do
        {
            var test = Tuple(withConditional: false);
            Expect(TokenKind.BlockEnd);
            branches.Add((test, Body("elif", "else", "endif")));
        }
        while (Skip("elif"));
        if (Skip("else"))
            otherwise = Enclosed("endif");
        else
            ExpectName("endif");
        return new If(at, [.. branches], otherwise);
    }

    private For For(int at)
    {
        var target = Target();
        ExpectName("in");
        var items = Tuple(withConditional: false);
        var filter = Skip("if") ? Expression() : null;
        if (Current is { Kind: TokenKind.Name, Text: "recursive" })
            throw new TemplateFault("recursive loops are not supported. Use a macro that calls itself.");
        Expect(TokenKind.BlockEnd);
        var body = Body("else", "endfor");
        Statement[] otherwise = [];
        if (Skip("else"))
            otherwise = Enclosed("endfor");
        else
            ExpectName("endfor");
        return new For(at, target, items, filter, body, otherwise);
    }

    private Statement Set(int at)
    {
        Expression target;
        if (Current.Kind == TokenKind.Name && IsOperator(Following, "."))
        {
            var name = Expect(TokenKind.Name);
            _next++;
            target = new Member(name.At, new Name(name.At, name.Text), Expect(TokenKind.Name).Text);
        }
        else
            target = Target();
        if (SkipOperator("="))
            return new Set(at, target, Tuple());
        var filter = IsOperator(Current, "|") ? (Filtered)Filters(null) : null;
        return new SetBlock(at, target, filter, Enclosed("endset"));
    }

    private Macro Macro(int at)
    {
        var name = Expect(TokenKind.Name).Text;
        var parameters = new List<string>();
        var defaults = new List<Expression?>();
        ExpectOperator("(");
        while (!SkipOperator(")"))
        {
            if (parameters.Count > 0)
                ExpectOperator(",");
            parameters.Add(Expect(TokenKind.Name).Text);
            defaults.Add(SkipOperator("=") ? Expression() : null);
        }
        return new Macro(at, name, [.. parameters], [.. defaults], Enclosed("endmacro"));
    }

    private FilterBlock FilterBlock(int at)
    {
        var filter = (Filtered)Filters(null, inline: true);
        return new FilterBlock(at, filter, Enclosed("endfilter"));
    }

    private Statement[] Enclosed(string end)
    {
        Expect(TokenKind.BlockEnd);
        var body = Body(end);
        ExpectName(end);
        return body;
    }

    /// <summary>A name, or names in a tuple.</summary>
    private Expression Target()
    {
        var at = Current.At;
        var parenthesis = SkipOperator("(");
        var names = new List<Expression>();
        var isTuple = false;
        do
        {
            if (names.Count > 0 && Current is not { Kind: TokenKind.Name, Text: not "in" })
                break;
            names.Add(new Name(Current.At, Expect(TokenKind.Name).Text));
        }
        while (SkipOperator(",") && (isTuple = true));
        if (parenthesis)
            ExpectOperator(")");
        return names.Count > 1 || isTuple ? new ListOf(at, [.. names], IsTuple: true) : names[0];
    }

    private Token Expect(TokenKind kind) => Current.Kind == kind
        ? _tokens[_next++]
        : throw Unexpected(kind switch
        {
            TokenKind.Name => "a name",
            TokenKind.BlockEnd => "%}",
            TokenKind.PrintEnd => "}}",
            _ => kind.ToString(),
        });

    private void ExpectName(string name)
    {
        if (!Skip(name))
            throw Unexpected($"'{name}'");
    }

    private void ExpectOperator(string symbol)
    {
        if (!SkipOperator(symbol))
            throw Unexpected($"'{symbol}'");
    }

    private bool Skip(string name) => Advance(Current is { Kind: TokenKind.Name } token && token.Text == name);
    private bool SkipOperator(string symbol) => Advance(IsOperator(Current, symbol));

    private bool Advance(bool matched)
    {
        if (matched)
            _next++;
        return matched;
    }

    private static bool IsOperator(Token token, string symbol) => token.Kind == TokenKind.Operator && token.Text == symbol;
    private TemplateFault Unexpected(string wanted) => new($"found '{Current.Text}' where {wanted} should be. Correct the template.");
}
