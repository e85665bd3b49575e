namespace Ergon.Models.Templates;

/// <summary>The functions and variables that a template starts with.</summary>
internal static class Globals
{
    public static Scope For(ChatTemplateInput input, Budget budget)
    {
        var scope = new Scope(null);
        foreach (var function in Functions(input, budget))
            scope.Set(function.Name, function);

        var variables = new Scope(scope);
        variables.Set("messages", new Sequence([.. input.Messages.Select(Message)]));
        variables.Set("tools", input.Tools.Count == 0 ? null : new Sequence([.. input.Tools.Select(Values.FromJson)]));
        variables.Set("documents", null);
        variables.Set("add_generation_prompt", input.AddGenerationPrompt);
        variables.Set("bos_token", MarkedText.Trusted(input.BosToken));
        variables.Set("eos_token", MarkedText.Trusted(input.EosToken));
        if (input.EnableThinking is { } thinking)
            variables.Set("enable_thinking", thinking);
        foreach (var (name, value) in input.Variables)
            variables.Set(name, Values.FromJson(value));
        return variables;
    }

    private static Mapping Message(ChatTemplateMessage message)
    {
        var mapping = new Mapping();
        mapping.Put("role", MarkedText.Foreign(message.Role));
        mapping.Put("content", Foreign(message.Content));
        if (message.ReasoningContent is not null)
            mapping.Put("reasoning_content", Foreign(message.ReasoningContent));
        if (message.Name is not null)
            mapping.Put("name", Foreign(message.Name));
        if (message.ToolCalls.Count > 0)
            mapping.Put("tool_calls", new Sequence([.. message.ToolCalls.Select(ToolCall)]));
        if (message.ToolCallId is not null)
            mapping.Put("tool_call_id", Foreign(message.ToolCallId));
        return mapping;
    }

    private static Mapping ToolCall(ChatTemplateToolCall call)
    {
        var function = new Mapping();
        function.Put("name", Foreign(call.Name));
        function.Put("arguments", Values.FromJson(call.Arguments));
        var mapping = new Mapping();
        if (call.Id is not null)
            mapping.Put("id", Foreign(call.Id));
        mapping.Put("type", Foreign("function"));
        mapping.Put("function", function);
        return mapping;
    }

    private static MarkedText? Foreign(string? text) => text is null ? null : MarkedText.Foreign(text);

    private static IEnumerable<Function> Functions(ChatTemplateInput input, Budget budget)
    {
        yield return new("raise_exception", a =>
            throw new TemplateFault($"the template refuses this conversation: {Text.Of(a.Require(0, "message"), budget)}"));
        yield return new("strftime_now", a =>
            MarkedText.Trusted(Strftime.Format(input.Clock.GetLocalNow(), Strings.TextOf(a.Require(0, "format")).Value)));
        yield return new("range", a => Range(a, budget));
        yield return new("namespace", a =>
        {
            var space = new Namespace();
            if (a.Positional is [Mapping initial])
                foreach (var (key, value) in initial.Entries)
                    space.Attributes[Strings.TextOf(key).Value] = value;
            foreach (var (key, value) in a.Named)
                space.Attributes[key] = value;
            return space;
        });
        yield return new("dict", a =>
        {
            var mapping = new Mapping();
            foreach (var pair in a.Positional is [var initial] ? Values.Pairs(initial as Mapping ?? new(), budget).Items : [])
                mapping.Entries[((Sequence)pair!).Items[0]!] = ((Sequence)pair).Items[1];
            foreach (var (key, value) in a.Named)
                mapping.Put(key, value);
            return mapping;
        });
    }

    private static Sequence Range(Arguments arguments, Budget budget)
    {
        var first = Strings.Integer(arguments.Require(0, "start"));
        var (start, stop) = arguments.Positional.Count > 1 ? (first, Strings.Integer(arguments.Positional[1])) : (0, first);
        var step = Strings.Integer(arguments.Get(2, "step", 1L));
        if (step == 0)
            throw new TemplateFault("a range cannot step by 0. Use another step.");
        var items = new List<object?>();
        // In 128 bits the last step cannot overflow.
        for (Int128 i = start; step > 0 ? i < stop : i > stop; i += step)
        {
            budget.Charge(1);
            if (items.Count == Budget.MaxRange)
                throw new TemplateFault($"the range has more than {Budget.MaxRange} items. Use a shorter one.");
            items.Add((long)i);
        }
        return new(items);
    }
}
