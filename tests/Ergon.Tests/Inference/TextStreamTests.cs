using System.Text;
using Ergon.Inference;
using Ergon.Models;
using Ergon.Native;

namespace Ergon.Tests.Inference;

public sealed class TextStreamTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();
    private readonly Tokenizer _tokenizer;

    public TextStreamTests() => _tokenizer = Tokenizer.Load(new RandomModel("llama", GgmlType.F16) { Layers = 1 }.Write(_folder.Path));

    [Fact]
    public void A_character_appears_when_its_last_byte_came()
    {
        var stream = new TextStream(_tokenizer.Vocabulary, []);
        var bytes = Encoding.UTF8.GetBytes("a€😀");
        string[] parts = [.. bytes.Select(b => stream.Append(Token(b)))];
        Assert.Equal(["a", "", "", "€", "", "", "", "😀"], parts);
        Assert.Equal("", stream.Finish());
    }

    [Fact]
    public void An_incomplete_character_at_the_end_becomes_a_replacement()
    {
        var stream = new TextStream(_tokenizer.Vocabulary, []);
        Assert.Equal("", stream.Append(Token(0xE2)));
        Assert.Equal("\uFFFD", stream.Finish());
    }

    [Theory]
    [InlineData("one END two", "END", "one ", true)]
    [InlineData("one EN two", "END", "one EN two", false)]
    [InlineData("one ENEND", "END", "one EN", true)]
    [InlineData("aab", "aab", "", true)]
    [InlineData("aaab", "aab", "a", true)]
    [InlineData("xEN", "END", "xEN", false)]
    public void Text_stops_before_a_stop_sequence_and_nothing_else_is_lost(string text, string stop, string expected, bool stopped)
    {
        var stream = new TextStream(_tokenizer.Vocabulary, [stop, "never comes"]);
        var output = new StringBuilder();
        foreach (var b in Encoding.UTF8.GetBytes(text))
        {
            output.Append(stream.Append(Token(b)));
            if (stream.Stopped)
                break;
        }
        output.Append(stream.Finish());
        Assert.Equal((expected, stopped), (output.ToString(), stream.Stopped));
    }

    private static int Token(int b) => b;

    public void Dispose()
    {
        _tokenizer.Dispose();
        _folder.Dispose();
    }
}
