namespace Ergon.Models.Templates;

/// <summary>Runs statements. One instance renders once.</summary>
internal sealed partial class Evaluator(Budget budget)
{
    private const int MaxMacroDepth = 100;

    private enum Flow { Next, Break, Continue }

    private MarkedBuilder _output = new(budget);
    private Scope _scope = new(null);
    private int _macroDepth;

    /// <summary>Offset of the node being evaluated: where a failure happened.</summary>
    public int At { get; private set; }

    public MarkedText Run(Statement[] statements, Scope scope)
    {
        _scope = scope;
        Execute(statements);
        return _output.ToText();
    }

    private Flow Execute(Statement[] statements)
    {
        foreach (var statement in statements)
            if (Execute(statement) is var flow and not Flow.Next)
                return flow;
        return Flow.Next;
    }

    private Flow Execute(Statement statement)
    {
        At = statement.At;
        budget.Enter();
        switch (statement)
        {
            case Data data:
                _output.Append(data.Text);
                return Flow.Next;
            case Output output:
                Text.Append(_output, Evaluate(output.Value), budget);
                return Flow.Next;
            case If branches:
                foreach (var (test, body) in branches.Branches)
                    if (Values.IsTrue(Evaluate(test)))
                        return Execute(body);
                return Execute(branches.Else);
            case For loop:
                return Loop(loop);
            case Set set:
                Assign(set.Target, Evaluate(set.Value));
                return Flow.Next;
            case SetBlock set:
                var captured = Capture(set.Body, new Scope(_scope));
                Assign(set.Target, set.Filter is null ? captured : ApplyToBlock(set.Filter, captured));
                return Flow.Next;
            case FilterBlock block:
                Text.Append(_output, ApplyToBlock(block.Filter, Capture(block.Body, new Scope(_scope))), budget);
                return Flow.Next;
            case Macro macro:
                _scope.Set(macro.Name, MacroFunction(macro, _scope));
                return Flow.Next;
            case Scoped scoped:
                return In(new Scope(_scope), () => Execute(scoped.Body));
            case Jump jump:
                return jump.IsBreak ? Flow.Break : Flow.Continue;
            default:
                throw new InvalidOperationException($"No rule for {statement.GetType().Name}.");
        }
    }

    private Flow Loop(For loop)
    {
        var items = Values.Iterate(Evaluate(loop.Items), budget);
        var outer = _scope;
        if (loop.Filter is not null)
            items = items.FindAll(item => In(new Scope(outer), () =>
            {
                Assign(loop.Target, item);
                return Values.IsTrue(Evaluate(loop.Filter));
            }));
        if (items.Count == 0)
            return In(new Scope(outer), () => Execute(loop.Else));

        var state = new LoopState(items);
        for (; state.Index < items.Count; state.Index++)
        {
            budget.Charge(Budget.Allocation);
            var flow = In(new Scope(outer), () =>
            {
                _scope.Set("loop", state);
                Assign(loop.Target, items[state.Index]);
                return Execute(loop.Body);
            });
            if (flow == Flow.Break)
                break;
        }
        return Flow.Next;
    }

    private void Assign(Expression target, object? value)
    {
        switch (target)
        {
            case Name name:
                _scope.Set(name.Id, value);
                break;
            case Member { Target: Name owner } member:
                if (_scope.Get(owner.Id) is not Namespace space)
                    throw new TemplateFault($"'{owner.Id}' is not a namespace, so its attributes cannot be set. Make it with namespace().");
                space.Attributes[member.Attribute] = value;
                break;
            case ListOf names:
                var items = Values.Iterate(value, budget);
                if (items.Count != names.Items.Length)
                    throw new TemplateFault($"{items.Count} values do not fit into {names.Items.Length} names. Give as many names as values.");
                for (var i = 0; i < items.Count; i++)
                    Assign(names.Items[i], items[i]);
                break;
        }
    }

    private MarkedText Capture(Statement[] body, Scope scope)
    {
        var outer = _output;
        _output = new(budget);
        In(scope, () => Execute(body));
        var captured = _output.ToText();
        _output = outer;
        return captured;
    }

    // No finally: a fault ends the rendering.
    private T In<T>(Scope scope, Func<T> action)
    {
        var outer = _scope;
        _scope = scope;
        var result = action();
        _scope = outer;
        return result;
    }

    private Function MacroFunction(Macro macro, Scope definition) => new(macro.Name, arguments =>
    {
        if (_macroDepth == MaxMacroDepth)
            throw new TemplateFault($"the macro '{macro.Name}' calls itself more than {MaxMacroDepth} deep. Use data with less nesting.");
        if (arguments.Positional.Count > macro.Parameters.Length)
            throw new TemplateFault($"the macro '{macro.Name}' takes {macro.Parameters.Length} arguments, not {arguments.Positional.Count}. Give fewer.");
        if (arguments.Named.Keys.FirstOrDefault(k => !macro.Parameters.Contains(k)) is { } unknown)
            throw new TemplateFault($"the macro '{macro.Name}' has no parameter '{unknown}'. Remove it.");
        var scope = new Scope(definition);
        var missing = new Undefined("");
        for (var i = 0; i < macro.Parameters.Length; i++)
        {
            var (name, fallback) = (macro.Parameters[i], macro.Defaults[i]);
            var value = arguments.Get(i, name, missing);
            if (ReferenceEquals(value, missing))
                value = fallback is null ? new Undefined($"the parameter '{name}'") : In(scope, () => Evaluate(fallback));
            scope.Set(name, value);
        }
        _macroDepth++;
        var text = Capture(macro.Body, scope);
        _macroDepth--;
        return text;
    });
}
