namespace Ergon.Models.Templates;

/// <summary>
/// A model's chat template (<c>tokenizer.chat_template</c>): a bounded subset of Jinja, rendered as
/// transformers' <c>apply_chat_template</c> does. docs/chat-templates.md lists what it covers.
/// </summary>
/// <remarks>
/// A template is untrusted input. Work, output and nesting are limited; nothing outside its input is
/// reachable. Instances are immutable and safe to share between threads.
/// </remarks>
public sealed class ChatTemplate
{
    private readonly string _source;
    private readonly Statement[] _statements;

    private ChatTemplate(string source, Statement[] statements) => (_source, _statements) = (source, statements);

    /// <summary>Parses a template.</summary>
    /// <exception cref="ChatTemplateException">The syntax is wrong or outside the subset.</exception>
    public static ChatTemplate Parse(string source)
    {
        ArgumentNullException.ThrowIfNull(source);
        if (source.Length > Budget.MaxSource)
            throw new ChatTemplateException($"it has {source.Length} characters, the limit is {Budget.MaxSource}. Use another template.", 1, 1);
        source = Lexer.Normalize(source);
        var at = 0;
        try
        {
            var tokens = Lexer.Run(source, out at);
            return new(source, Parser.Run(tokens, out at));
        }
        catch (TemplateFault fault)
        {
            throw Located(source, at, fault);
        }
    }

    /// <summary>Renders a conversation.</summary>
    /// <exception cref="ChatTemplateException">The template fails on this input, refuses it, or exceeds a limit.</exception>
    public RenderedPrompt Render(ChatTemplateInput input)
    {
        ArgumentNullException.ThrowIfNull(input);
        var budget = new Budget();
        var evaluator = new Evaluator(budget);
        try
        {
            var text = evaluator.Run(_statements, Globals.For(input, budget));
            return new(text.Value, text.Spans());
        }
        catch (TemplateFault fault)
        {
            throw Located(_source, evaluator.At, fault);
        }
    }

    private static ChatTemplateException Located(string source, int at, TemplateFault fault)
    {
        var before = source.AsSpan(0, Math.Min(at, source.Length));
        return new(fault.Message, before.Count('\n') + 1, before.Length - before.LastIndexOf('\n'));
    }
}
