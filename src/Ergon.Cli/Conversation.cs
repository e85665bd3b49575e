using Ergon.Inference;
using Ergon.Models.Templates;

namespace Ergon.Cli;

/// <summary>What has been said to a model, and the prompt that this makes.</summary>
internal sealed class Conversation(ErgonModel model, string? system)
{
    private readonly int _kept = system is null ? 0 : 1;
    private readonly List<ChatTemplateMessage> _messages = system is null ? [] : [new("system", system)];

    public void Add(string role, string text) => _messages.Add(new(role, text));

    /// <summary>Forgets the last message.</summary>
    public void RemoveLast() => _messages.RemoveAt(_messages.Count - 1);

    /// <summary>Forgets everything but the system message.</summary>
    public void Clear() => _messages.RemoveRange(_kept, _messages.Count - _kept);

    /// <summary>The tokens that ask for the next answer.</summary>
    /// <exception cref="ErgonException">The template refuses the conversation.</exception>
    public int[] Tokens() => model.Tokenize(new ChatTemplateInput { Messages = [.. _messages] });
}
