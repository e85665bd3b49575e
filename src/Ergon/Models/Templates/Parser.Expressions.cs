using System.Globalization;

namespace Ergon.Models.Templates;

/// <summary>Expressions, loosest binding first; the order is jinja2's, which is not Python's: "~" binds tighter than "+".</summary>
internal sealed partial class Parser
{
    /// <summary>An expression, or several with commas between them, which make a tuple.</summary>
    private Expression Tuple(bool withConditional = true)
    {
        var at = Current.At;
        var items = new List<Expression>();
        var isTuple = false;
        do
        {
            if (items.Count > 0 && (Current.Kind is TokenKind.PrintEnd or TokenKind.BlockEnd || IsOperator(Current, ")")))
                break;
            items.Add(withConditional ? Expression() : Or());
        }
        while (SkipOperator(",") && (isTuple = true));
        return isTuple ? new ListOf(at, [.. items], IsTuple: true) : items[0];
    }

    private Expression Expression()
    {
        Budget.GuardStack();
        var value = Or();
        while (Current is { Kind: TokenKind.Name, Text: "if" } token)
        {
            _next++;
            var test = Or();
            value = new Conditional(token.At, test, value, Skip("else") ? Expression() : null);
        }
        return value;
    }

    private Expression Or()
    {
        var left = And();
        while (Current is { Kind: TokenKind.Name, Text: "or" } token)
        {
            _next++;
            left = new Logical(token.At, IsAnd: false, left, And());
        }
        return left;
    }

    private Expression And()
    {
        var left = Not();
        while (Current is { Kind: TokenKind.Name, Text: "and" } token)
        {
            _next++;
            left = new Logical(token.At, IsAnd: true, left, Not());
        }
        return left;
    }

    private Expression Not()
    {
        Budget.GuardStack();
        if (Current is not { Kind: TokenKind.Name, Text: "not" } token)
            return Compare();
        _next++;
        return new Unary(token.At, "not", Not());
    }

    private Expression Compare()
    {
        var first = Binary(0);
        var rest = new List<(string, Expression)>();
        for (; ; )
        {
            if (Current is { Kind: TokenKind.Operator, Text: "==" or "!=" or "<" or "<=" or ">" or ">=" } token)
            {
                _next++;
                rest.Add((token.Text, Binary(0)));
            }
            else if (Skip("in"))
                rest.Add(("in", Binary(0)));
            else if (Current is { Kind: TokenKind.Name, Text: "not" } && Following is { Kind: TokenKind.Name, Text: "in" })
            {
                _next += 2;
                rest.Add(("not in", Binary(0)));
            }
            else
                return rest.Count == 0 ? first : new Comparison(first.At, first, [.. rest]);
        }
    }

    private static readonly string[][] Levels = [["+", "-"], ["~"], ["*", "/", "//", "%"], ["**"]];

    private Expression Binary(int level)
    {
        if (level == Levels.Length)
            return Sign(withFilters: true);
        var left = Binary(level + 1);
        while (Current.Kind == TokenKind.Operator && Levels[level].Contains(Current.Text))
        {
            var token = _tokens[_next++];
            left = new Binary(token.At, token.Text, left, Binary(level + 1));
        }
        return left;
    }

    private Expression Sign(bool withFilters)
    {
        Budget.GuardStack();
        var value = Current is { Kind: TokenKind.Operator, Text: "-" or "+" } token
            ? new Unary(token.At, _tokens[_next++].Text, Sign(withFilters: false))
            : Primary();
        value = Postfix(value);
        return withFilters ? FiltersAndTests(value) : value;
    }

    private Expression Primary()
    {
        var token = _tokens[_next];
        switch (token.Kind)
        {
            case TokenKind.Name:
                _next++;
                return token.Text switch
                {
                    "true" or "True" => new Literal(token.At, true),
                    "false" or "False" => new Literal(token.At, false),
                    "none" or "None" => new Literal(token.At, null),
                    _ => new Name(token.At, token.Text),
                };
            case TokenKind.Text:
                var text = "";
                while (Current.Kind == TokenKind.Text)
                    text += _tokens[_next++].Text;
                return new Literal(token.At, MarkedText.Trusted(text));
            case TokenKind.Integer:
                _next++;
                return new Literal(token.At, long.TryParse(token.Text, CultureInfo.InvariantCulture, out var integer)
                    ? integer : throw new TemplateFault("this integer does not fit in 64 bits. Use a smaller one."));
            case TokenKind.Float:
                _next++;
                return new Literal(token.At, double.Parse(token.Text, CultureInfo.InvariantCulture));
            case TokenKind.Operator when token.Text == "(":
                _next++;
                if (SkipOperator(")"))
                    return new ListOf(token.At, [], IsTuple: true);
                var inner = Tuple();
                ExpectOperator(")");
                return inner;
            case TokenKind.Operator when token.Text == "[":
                return new ListOf(token.At, Sequence("[", "]", Expression), IsTuple: false);
            case TokenKind.Operator when token.Text == "{":
                return new MappingOf(token.At, Sequence("{", "}", () =>
                {
                    var key = Expression();
                    ExpectOperator(":");
                    return (key, Expression());
                }));
            default:
                throw Unexpected("an expression");
        }
    }

    private T[] Sequence<T>(string open, string close, Func<T> item)
    {
        var items = new List<T>();
        ExpectOperator(open);
        while (!SkipOperator(close))
        {
            if (items.Count > 0)
            {
                ExpectOperator(",");
                if (SkipOperator(close))
                    break;
            }
            items.Add(item());
        }
        return [.. items];
    }

    private Expression Postfix(Expression value)
    {
        for (; ; )
        {
            var at = Current.At;
            if (IsOperator(Current, "("))
                value = new Call(at, value, Arguments());
            else if (SkipOperator("["))
                value = Subscript(at, value);
            else if (SkipOperator("."))
                value = Current.Kind == TokenKind.Integer
                    ? new Element(at, value, Primary())
                    : new Member(at, value, Expect(TokenKind.Name).Text);
            else
                return value;
        }
    }

    private Expression Subscript(int at, Expression target)
    {
        var start = IsOperator(Current, ":") ? null : Tuple();
        if (start is not null && SkipOperator("]"))
            return new Element(at, target, start);
        Expression? stop = null, step = null;
        ExpectOperator(":");
        if (!IsOperator(Current, ":") && !IsOperator(Current, "]"))
            stop = Expression();
        if (SkipOperator(":") && !IsOperator(Current, "]"))
            step = Expression();
        ExpectOperator("]");
        return new Slice(at, target, start, stop, step);
    }

    private Expression FiltersAndTests(Expression value)
    {
        for (; ; )
        {
            if (IsOperator(Current, "|"))
                value = Filters(value);
            else if (Current is { Kind: TokenKind.Name, Text: "is" })
                value = Test(value);
            else if (IsOperator(Current, "("))
                value = new Call(Current.At, value, Arguments());
            else
                return value;
        }
    }

    private Expression Filters(Expression? target, bool inline = false)
    {
        while (inline || SkipOperator("|"))
        {
            inline = false;
            if (Current.Kind == TokenKind.Name && !Templates.Filters.All.ContainsKey(Current.Text))
                throw new TemplateFault($"the filter '{Current.Text}' is not supported. Use a template within docs/chat-templates.md.");
            var name = Expect(TokenKind.Name);
            target = new Filtered(name.At, target, name.Text, IsOperator(Current, "(") ? Arguments() : ArgumentList.None);
        }
        return target!;
    }

    private Expression Test(Expression target)
    {
        var at = _tokens[_next++].At;
        var negated = Skip("not");
        if (Current.Kind == TokenKind.Name && !Tests.All.ContainsKey(Current.Text))
            throw new TemplateFault($"the test '{Current.Text}' is not supported. Use a template within docs/chat-templates.md.");
        var name = Expect(TokenKind.Name);
        var arguments = ArgumentList.None;
        if (IsOperator(Current, "("))
            arguments = Arguments();
        else if (Current.Kind is TokenKind.Text or TokenKind.Integer or TokenKind.Float
            || Current is { Kind: TokenKind.Operator, Text: "[" or "{" }
            || Current is { Kind: TokenKind.Name, Text: not ("else" or "or" or "and" or "is" or "if" or "in" or "not") })
            arguments = new([Postfix(Primary())], []);
        Expression tested = new Tested(name.At, target, name.Text, arguments);
        return negated ? new Unary(at, "not", tested) : tested;
    }

    private ArgumentList Arguments()
    {
        var named = new List<(string, Expression)>();
        var positional = new List<Expression>();
        Sequence("(", ")", () =>
        {
            if (Current.Kind == TokenKind.Name && IsOperator(Following, "="))
            {
                var name = Expect(TokenKind.Name).Text;
                _next++;
                named.Add((name, Expression()));
            }
            else if (named.Count > 0)
                throw Unexpected("a named argument");
            else
                positional.Add(Expression());
            return true;
        });
        return new([.. positional], [.. named]);
    }
}
