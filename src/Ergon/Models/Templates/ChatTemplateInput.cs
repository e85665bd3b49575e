using System.Text.Json;

namespace Ergon.Models.Templates;

/// <summary>What a chat template renders: the variables that transformers' <c>apply_chat_template</c> sets.</summary>
public sealed record ChatTemplateInput
{
    /// <summary>The conversation, oldest first.</summary>
    public required IReadOnlyList<ChatTemplateMessage> Messages { get; init; }

    /// <summary>Tool definitions in OpenAI's shape; none makes the variable <c>tools</c> none.</summary>
    public IReadOnlyList<JsonElement> Tools { get; init; } = [];

    /// <summary>Whether the prompt ends with the header of the assistant's turn. Default: true.</summary>
    public bool AddGenerationPrompt { get; init; } = true;

    /// <summary>The variable <c>enable_thinking</c>; null leaves it undefined, so that the template's own default holds.</summary>
    public bool? EnableThinking { get; init; }

    /// <summary>Further variables (<c>documents</c>, <c>custom_tools</c>, ...). They win over the ones above.</summary>
    public IReadOnlyDictionary<string, JsonElement> Variables { get; init; } = new Dictionary<string, JsonElement>();

    /// <summary>Text of the model's beginning-of-sequence token; trusted as the template's own. Default: empty.</summary>
    public string BosToken { get; init; } = "";

    /// <summary>Text of the model's end-of-sequence token; trusted as the template's own. Default: empty.</summary>
    public string EosToken { get; init; } = "";

    /// <summary>The clock of <c>strftime_now</c>, read in its local zone. Default: the system's.</summary>
    public TimeProvider Clock { get; init; } = TimeProvider.System;
}

/// <summary>One message. An absent (null) optional field is undefined in the template.</summary>
/// <param name="Role"><c>system</c>, <c>user</c>, <c>assistant</c>, <c>tool</c>, or whatever the template knows.</param>
/// <param name="Content">The text; null (an assistant's turn that only calls tools) is the template's <c>none</c>.</param>
public sealed record ChatTemplateMessage(string Role, string? Content)
{
    /// <summary>The assistant's reasoning, for templates that keep it.</summary>
    public string? ReasoningContent { get; init; }

    /// <summary>Name of the speaker, or of the tool that answers.</summary>
    public string? Name { get; init; }

    /// <summary>The assistant's tool calls; none leaves <c>tool_calls</c> undefined.</summary>
    public IReadOnlyList<ChatTemplateToolCall> ToolCalls { get; init; } = [];

    /// <summary>The call that a tool's message answers.</summary>
    public string? ToolCallId { get; init; }
}

/// <summary>One tool call, seen by the template in OpenAI's shape.</summary>
/// <param name="Name">Name of the function.</param>
/// <param name="Arguments">An object; most templates write it with <c>tojson</c>.</param>
/// <param name="Id">Identifier that the tool's answer repeats; null leaves it undefined.</param>
public sealed record ChatTemplateToolCall(string Name, JsonElement Arguments, string? Id = null);
