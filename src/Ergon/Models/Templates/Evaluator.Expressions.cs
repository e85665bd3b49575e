namespace Ergon.Models.Templates;

/// <summary>Computes expressions.</summary>
internal sealed partial class Evaluator
{
    private object? Evaluate(Expression expression)
    {
        At = expression.At;
        budget.Enter();
        switch (expression)
        {
            case Literal literal:
                return literal.Value;
            case Name name:
                return _scope.Get(name.Id);
            case ListOf list:
                return new Sequence([.. list.Items.Select(Evaluate)], list.IsTuple);
            case MappingOf mapping:
                return MappingFrom(mapping);
            case Unary unary:
                var operand = Evaluate(unary.Operand);
                At = unary.At;
                return unary.Operator == "not" ? !Values.IsTrue(operand)
                    : unary.Operator == "-" ? Operators.Negate(operand)
                    : Operators.Apply("+", 0L, operand, budget);
            case Binary binary:
                var (left, right) = (Evaluate(binary.Left), Evaluate(binary.Right));
                At = binary.At;
                return Operators.Apply(binary.Operator, left, right, budget);
            case Logical logical:
                // The operand, not a boolean: Python's "x or default".
                var first = Evaluate(logical.Left);
                return Values.IsTrue(first) == logical.IsAnd ? Evaluate(logical.Right) : first;
            case Comparison comparison:
                return Compare(comparison);
            case Conditional conditional:
                return Values.IsTrue(Evaluate(conditional.Test)) ? Evaluate(conditional.Then)
                    : conditional.Else is null ? new Undefined("an 'if' without 'else'") : Evaluate(conditional.Else);
            case Member member:
                var owner = Evaluate(member.Target);
                At = member.At;
                return Operators.Member(owner, member.Attribute, budget);
            case Element element:
                var (target, key) = (Evaluate(element.Target), Evaluate(element.Key));
                At = element.At;
                return Operators.Element(target, key, budget);
            case Slice slice:
                var sliced = Evaluate(slice.Target);
                var (start, stop, step) = (Optional(slice.Start), Optional(slice.Stop), Optional(slice.Step));
                At = slice.At;
                return Operators.Slice(sliced, start, stop, step, budget);
            case Call call:
                return Invoke(call);
            case Filtered filtered:
                return Apply(filtered, filtered.Target is null ? null : Evaluate(filtered.Target));
            case Tested tested:
                var (value, arguments) = (Evaluate(tested.Target), Bind(tested.Arguments));
                At = tested.At;
                return Tests.All[tested.Test](value, arguments, budget);
            default:
                throw new InvalidOperationException($"No rule for {expression.GetType().Name}.");
        }
    }

    private object? Optional(Expression? expression) => expression is null ? null : Evaluate(expression);

    private Mapping MappingFrom(MappingOf syntax)
    {
        var mapping = new Mapping();
        foreach (var (key, value) in syntax.Entries)
            mapping.Entries[Evaluate(key) ?? throw new TemplateFault("none cannot be a key. Use a text or a number.")] = Evaluate(value);
        return mapping;
    }

    private bool Compare(Comparison comparison)
    {
        var left = Evaluate(comparison.First);
        foreach (var (symbol, operand) in comparison.Rest)
        {
            var right = Evaluate(operand);
            At = comparison.At;
            var holds = symbol switch
            {
                "==" => Values.AreEqual(left, right, budget),
                "!=" => !Values.AreEqual(left, right, budget),
                "<" => Values.Compare(left, right, budget) < 0,
                "<=" => Values.Compare(left, right, budget) <= 0,
                ">" => Values.Compare(left, right, budget) > 0,
                ">=" => Values.Compare(left, right, budget) >= 0,
                "in" => Values.Contains(right, left, budget),
                _ => !Values.Contains(right, left, budget),
            };
            if (!holds)
                return false;
            left = right;
        }
        return true;
    }

    private object? Invoke(Call call)
    {
        var target = Evaluate(call.Target);
        var arguments = Bind(call.Arguments);
        At = call.At;
        return target switch
        {
            Function function => function.Invoke(arguments),
            Undefined undefined => throw undefined.Fault(),
            _ => throw new TemplateFault($"{Values.Kind(target)} cannot be called. Remove the parentheses."),
        };
    }

    private object? Apply(Filtered syntax, object? value)
    {
        var arguments = Bind(syntax.Arguments);
        At = syntax.At;
        return Filters.All[syntax.Filter](value, arguments, budget);
    }

    // The filters of a block: the innermost has no target of its own.
    private object? ApplyToBlock(Filtered syntax, MarkedText block) =>
        Apply(syntax, syntax.Target is Filtered inner ? ApplyToBlock(inner, block) : block);

    private Arguments Bind(ArgumentList syntax)
    {
        if (syntax.Positional.Length == 0 && syntax.Named.Length == 0)
            return Arguments.None;
        var named = new Dictionary<string, object?>(StringComparer.Ordinal);
        foreach (var (name, value) in syntax.Named)
            named[name] = Evaluate(value);
        return new([.. syntax.Positional.Select(Evaluate)], named);
    }
}
