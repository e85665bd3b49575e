using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using Ergon.Models.Templates;

namespace Ergon.Tests.Models.Templates;

public class ChatTemplateGoldenTests
{
    public static TheoryData<string> Templates() =>
        [.. Directory.GetFiles(Path.Combine(TemplateFixtures.Folder(), "fixtures"), "*.jinja").Select(p => Path.GetFileNameWithoutExtension(p)!).Order()];

    [Theory]
    [MemberData(nameof(Templates))]
    public void Every_conversation_renders_as_jinja2_renders_it(string name)
    {
        var template = TemplateFixtures.Template(name);
        var differences = new StringBuilder();
        foreach (var golden in TemplateFixtures.Json($"goldens/{name}.json").EnumerateObject())
        {
            var input = TemplateFixtures.Input(TemplateFixtures.Conversations.GetProperty(golden.Name));
            if (Difference(golden.Value, () => template.Render(input).Text) is { } difference)
                differences.AppendLine($"{golden.Name}: {difference}");
        }
        Assert.True(differences.Length == 0, differences.ToString());
    }

    [Fact]
    public void Every_snippet_renders_as_jinja2_renders_it()
    {
        var input = TemplateFixtures.Input(TemplateFixtures.Conversations.GetProperty("tools"));
        var differences = new StringBuilder();
        foreach (var snippet in TemplateFixtures.Json("snippets.json").EnumerateArray())
        {
            var source = snippet.GetProperty("source").GetString()!;
            if (Difference(snippet, () => ChatTemplate.Parse(source).Render(input).Text) is { } difference)
                differences.AppendLine($"{source}\n  {difference}");
        }
        Assert.True(differences.Length == 0, differences.ToString());
    }

    private static string? Difference(JsonElement golden, Func<string> render)
    {
        try
        {
            var text = render();
            if (!golden.TryGetProperty("text", out var expected))
                return $"should fail, gave {Quote(text, 0)}";
            if (text == expected.GetString())
                return null;
            var same = text.Zip(expected.GetString()!).TakeWhile(pair => pair.First == pair.Second).Count();
            return $"should give ...{Quote(expected.GetString()!, same)}, gave ...{Quote(text, same)}";
        }
        catch (ChatTemplateException failure)
        {
            if (golden.TryGetProperty("text", out var expected))
                return $"should give {expected}, failed: {failure.Message}";
            var message = golden.GetProperty("error") is { ValueKind: JsonValueKind.String } text ? text.GetString()! : "";
            return failure.Message.EndsWith(message, StringComparison.Ordinal) ? null : $"should refuse with '{message}', failed: {failure.Message}";
        }
    }

    private static string Quote(string text, int from)
    {
        from = Math.Max(0, from - 20);
        return JsonEncodedText.Encode(text.AsSpan(from, Math.Min(80, text.Length - from)), JavaScriptEncoder.UnsafeRelaxedJsonEscaping).ToString();
    }
}
