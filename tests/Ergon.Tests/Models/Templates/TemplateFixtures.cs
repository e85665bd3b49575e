using System.Runtime.CompilerServices;
using System.Text.Json;
using Ergon.Models.Templates;

namespace Ergon.Tests.Models.Templates;

/// <summary>The fixtures and goldens beside this file; make-goldens.py writes the goldens.</summary>
internal static class TemplateFixtures
{
    public static string Folder([CallerFilePath] string here = "") => Path.GetDirectoryName(here)!;

    public static JsonElement Json(string name) => JsonElement.Parse(File.ReadAllText(Path.Combine(Folder(), name)));

    public static JsonElement Conversations { get; } = Json("conversations.json");

    public static ChatTemplate Template(string name) =>
        ChatTemplate.Parse(File.ReadAllText(Path.Combine(Folder(), "fixtures", name + ".jinja")));

    public static ChatTemplateInput Input(JsonElement conversation) => new()
    {
        Messages = [.. conversation.GetProperty("messages").EnumerateArray().Select(Message)],
        Tools = conversation.TryGetProperty("tools", out var tools) ? [.. tools.EnumerateArray()] : [],
        AddGenerationPrompt = conversation.GetProperty("add_generation_prompt").GetBoolean(),
        EnableThinking = conversation.TryGetProperty("enable_thinking", out var thinking) ? thinking.GetBoolean() : null,
        BosToken = "<s>",
        EosToken = "</s>",
        Clock = new FixedClock(),
    };

    private static ChatTemplateMessage Message(JsonElement m) => new(m.GetProperty("role").GetString()!, m.GetProperty("content").GetString())
    {
        ReasoningContent = Optional(m, "reasoning_content"),
        Name = Optional(m, "name"),
        ToolCallId = Optional(m, "tool_call_id"),
        ToolCalls = m.TryGetProperty("tool_calls", out var calls) ? [.. calls.EnumerateArray().Select(ToolCall)] : [],
    };

    private static ChatTemplateToolCall ToolCall(JsonElement call) => new(
        call.GetProperty("function").GetProperty("name").GetString()!,
        call.GetProperty("function").GetProperty("arguments"),
        Optional(call, "id"));

    private static string? Optional(JsonElement json, string name) => json.TryGetProperty(name, out var value) ? value.GetString() : null;

    private sealed class FixedClock : TimeProvider
    {
        public override DateTimeOffset GetUtcNow() => new(2026, 3, 7, 9, 5, 2, TimeSpan.Zero);
        public override TimeZoneInfo LocalTimeZone => TimeZoneInfo.Utc;
    }
}
