using System.Text;
using System.Text.Json;
using Ergon.Models;
using Ergon.Models.Grammars;
using Ergon.Native;
using Ergon.Native.Llama;
using Ergon.Tests.Inference;

namespace Ergon.Tests.Models.Grammars;

/// <summary>The grammars made from schemas, followed by llama.cpp's own sampler byte by byte.</summary>
public sealed class NativeGrammarTests : IDisposable
{
    private const int EndOfSequence = 258;
    private readonly TemporaryFolder _folder = new();
    private readonly Tokenizer _tokenizer;

    public NativeGrammarTests() => _tokenizer = Tokenizer.Load(new RandomModel("llama", GgmlType.F16) { Layers = 1 }.Write(_folder.Path));

    [Theory]
    [MemberData(nameof(JsonSchemaGrammarTests.Schemas), MemberType = typeof(JsonSchemaGrammarTests))]
    public void The_native_sampler_takes_what_the_schema_admits_and_nothing_it_refuses(string schema, string[] admitted, string[] refused)
    {
        var grammar = JsonSchemaGrammar.FromSchema(JsonElement.Parse(schema));
        Assert.All(admitted, document => Assert.True(Takes(grammar, document), document));
        Assert.All(refused, document => Assert.False(Takes(grammar, document), document));
    }

    [Fact]
    public void Any_json_object_is_taken_in_json_mode()
    {
        Assert.True(Takes(JsonGrammar.Any, """{"a": [1, 2.5e3, null, {"b": "x\n\u00e9"}]}"""));
        Assert.False(Takes(JsonGrammar.Any, "[1]"));
    }

    private bool Takes(string grammar, string text)
    {
        using var sampler = new GrammarSampler(_tokenizer.Vocabulary, grammar);
        // The random model's first 256 tokens are the bytes.
        foreach (var b in Encoding.UTF8.GetBytes(text))
        {
            if (!sampler.Allows(b))
                return false;
            sampler.Accept(b);
        }
        return sampler.Allows(EndOfSequence);
    }

    public void Dispose()
    {
        _tokenizer.Dispose();
        _folder.Dispose();
    }
}
