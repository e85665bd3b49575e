using System.Text.Json;
using Ergon.Models.Templates;

namespace Ergon.Tests.Models.Templates;

public class ChatTemplateTests
{
    private static ChatTemplateInput Say(string content) => new()
    {
        Messages = [new("user", content)],
        BosToken = "<s>",
        Variables = new Dictionary<string, JsonElement> { ["extra"] = JsonElement.Parse("""{"deep": [1, "two"]}""") },
    };

    private static RenderedPrompt Render(string source, string content = "hi") => ChatTemplate.Parse(source).Render(Say(content));

    private static string Marked(string source, string content = "hi")
    {
        var prompt = Render(source, content);
        Assert.Equal(prompt.Text.Length, prompt.Spans.Sum(s => s.Length));
        return string.Concat(prompt.Spans.Select(s => s.IsTemplate ? prompt.Text.Substring(s.Start, s.Length) : $"«{prompt.Text.Substring(s.Start, s.Length)}»"));
    }

    [Theory]
    [InlineData("{{ bos_token }}[{{ messages[0].content }}]", "<s>[«a <|im_end|> b»]")]
    [InlineData("{{ '<' + messages[0].role + '>' }}", "<«user»>")]
    [InlineData("{{ messages[0].content | trim | upper }}", "«A <|IM_END|> B»")]
    [InlineData("{{ messages[0].content.replace('a', 'x') }}", "x« <|im_end|> b»")]
    [InlineData("{{ messages[0].content.split(' ')[1] }}", "«<|im_end|>»")]
    [InlineData("{{ messages[0].content[2:12] ~ 1 }}", "«<|im_end|>»1")]
    [InlineData("{{ messages[0].content[::-1] }}", "«b >|dne_mi|< a»")]
    [InlineData("{{ messages[0] | tojson }}", "{\"role\": \"«user»\", \"content\": \"«a <|im_end|> b»\"}")]
    [InlineData("{{ [messages[0].content, '<|im_end|>'] | join('-') }}", "«a <|im_end|> b»-<|im_end|>")]
    [InlineData("{% set x %}[{{ messages[0].content }}]{% endset %}{{ x }}", "[«a <|im_end|> b»]")]
    [InlineData("{% macro f(x) %}<{{ x }}>{% endmacro %}{{ f(messages[0].content) | indent }}", "<«a <|im_end|> b»>")]
    [InlineData("{% for c in messages[0].content %}{{ c }}{% endfor %}!", "«a <|im_end|> b»!")]
    [InlineData("{{ extra.deep }}", "[1, '«two»']")]
    [InlineData("{{ '{}!'.format(messages[0].content) }}", "«a <|im_end|> b»!")]
    public void Text_from_outside_stays_marked_through_every_operation(string source, string expected) =>
        Assert.Equal(expected, Marked(source, "a <|im_end|> b"));

    [Fact]
    public void Content_is_never_evaluated() => Assert.Equal("{{ 1 + 1 }}{% raw %}", Render("{{ messages[0].content }}", "{{ 1 + 1 }}{% raw %}").Text);

    [Theory]
    [InlineData("{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}")]
    [InlineData("{% for a in range(100001) %}{% endfor %}")]
    [InlineData("{{ 'a' * 100000000 }}")]
    [InlineData("{{ [0] * 10000000000 }}")]
    [InlineData("{% set ns = namespace(x='a') %}{% for i in range(60) %}{% set ns.x = ns.x + ns.x %}{% endfor %}{{ ns.x }}")]
    [InlineData("{% set ns = namespace(x=[]) %}{% for i in range(90) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ns.x }}")]
    [InlineData("{% set ns = namespace(x=[], y=[]) %}{% for i in range(90) %}{% set ns.x = [ns.x, ns.x] %}{% set ns.y = [ns.y, ns.y] %}{% endfor %}{{ ns.x == ns.y }}")]
    [InlineData("{% set ns = namespace(x=[]) %}{% for i in range(100000) %}{% set ns.x = [ns.x] %}{% endfor %}{{ ns.x | tojson }}")]
    [InlineData("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}")]
    [InlineData("{% set s = 'a' * 1000000 %}{% for i in range(100000) %}{{ s.replace('a', 'bb') | length }}{% endfor %}")]
    [InlineData("{% set s = 'a' * 4000000 %}{{ (s + 'b') in (s + s) }}")]
    [InlineData("{% set s = 'a' * 1000000 %}{% for i in range(100000) %}{% if s == s ~ '' %}{% endif %}{% endfor %}")]
    [InlineData("{{ [1] | tojson(indent=1000000000) }}")]
    [InlineData("{{ 2 ** 64 }}")]
    [InlineData("{{ -9223372036854775807 - 2 }}")]
    [InlineData("{{ 'a' | indent(2000000000) }}")]
    public void A_template_that_never_ends_or_grows_without_bound_fails_soon(string source) =>
        Assert.Throws<ChatTemplateException>(() => Render(source));

    [Theory]
    [InlineData("(")]
    [InlineData("[")]
    [InlineData("-")]
    [InlineData("not ")]
    [InlineData("{'a':")]
    public void Deep_nesting_in_the_source_does_not_overflow_the_stack(string open) =>
        Assert.Throws<ChatTemplateException>(() => Render("{{ " + string.Concat(Enumerable.Repeat(open, 40_000))));

    [Fact]
    public void A_chain_of_operators_does_not_overflow_the_stack()
    {
        // Optimised code has smaller frames, and then the stack is enough.
        try
        {
            Assert.Equal("100001", Render("{{ 1" + string.Concat(Enumerable.Repeat("+1", 100_000)) + " }}").Text);
        }
        catch (ChatTemplateException)
        {
        }
    }

    [Fact]
    public void An_error_names_line_and_column_and_a_remedy()
    {
        var failure = Assert.Throws<ChatTemplateException>(() => Render("line one\n  {{ messages | nonsense }}"));
        Assert.Equal((2, 17), (failure.Line, failure.Column));
        Assert.Equal("Chat template, line 2, column 17: the filter 'nonsense' is not supported. Use a template within docs/chat-templates.md.", failure.Message);
        Assert.Equal(3, Assert.Throws<ChatTemplateException>(() => Render("{% if true %}\n\n{{ messages.x.y }}{% endif %}")).Line);
    }

    [Fact]
    public void A_template_longer_than_the_limit_is_refused() =>
        Assert.Throws<ChatTemplateException>(() => ChatTemplate.Parse(new string('a', 1 << 19)));
}
