using Ergon.Models;
using Ergon.Models.Templates;
using Ergon.Native;
using Ergon.Tests.Inference;

namespace Ergon.Tests.Models;

public sealed class TokenizerTests
{
    [SharedTheory]
    [InlineData("bert-bge")]
    [InlineData("falcon")]
    [InlineData("gpt-2")]
    [InlineData("llama-bpe")]
    [InlineData("llama-spm")]
    [InlineData("phi-3")]
    [InlineData("qwen2")]
    public void Every_vector_of_llama_cpp_gives_its_tokens(string vocabulary)
    {
        var file = Shared.Path($"data/vocab/ggml-vocab-{vocabulary}.gguf");
        using var tokenizer = Tokenizer.Load(file);
        var texts = File.ReadAllText(file + ".inp").Split("\n__ggml_vocab_test__\n");
        var expected = File.ReadAllText(file + ".out").Split('\n');
        Assert.True(texts.Length > 40);
        for (var i = 0; i < texts.Length; i++)
        {
            int[] ids = [.. expected[i].Split(' ', StringSplitOptions.RemoveEmptyEntries).Select(int.Parse)];
            Assert.True(ids.AsSpan().SequenceEqual(tokenizer.Tokenize(texts[i], addSpecial: false)), $"text {i}: {texts[i]}");
        }
    }

    [Fact]
    public void A_users_text_never_becomes_a_special_token()
    {
        using var folder = new TemporaryFolder();
        using var tokenizer = Tokenizer.Load(new RandomModel("llama", GgmlType.F16) { Layers = 1 }.Write(folder.Path));
        const int eos = 258;
        Assert.Contains(eos, tokenizer.Tokenize("a<|eos|>b", addSpecial: false, parseSpecial: true));
        Assert.DoesNotContain(eos, tokenizer.Tokenize("a<|eos|>b", addSpecial: false));

        // The template's own becomes the token; the user's, and one that both spell together, does not.
        Check([("<|eos|>he", true)], specials: 1);
        Check([("x", true), ("he<|eos|>he", false), ("<|eos|>", true)], specials: 1);
        Check([("<|e", true), ("os|>", false)], specials: 0);
        Check([("<|e", false), ("os|>", true)], specials: 0);
        Check([("x", true), ("<|eos|><|eos|>", false)], specials: 0);
        // Where the user wrote none, the tokens are those of the whole text: "h" and "e" merge across the seam.
        Assert.Equal([256], tokenizer.Tokenize(Prompt([("h", true), ("e", false)])));

        void Check((string, bool)[] spans, int specials)
        {
            var tokens = tokenizer.Tokenize(Prompt(spans));
            Assert.Equal(specials, tokens.Count(t => t == eos));
            Assert.Equal(string.Concat(spans.Select(s => s.Item1)), tokenizer.Detokenize(tokens, special: true));
        }

        static RenderedPrompt Prompt((string Text, bool IsTemplate)[] spans)
        {
            var start = 0;
            return new RenderedPrompt(string.Concat(spans.Select(s => s.Text)),
                [.. spans.Select(s => new PromptSpan((start += s.Text.Length) - s.Text.Length, s.Text.Length, s.IsTemplate))]);
        }
    }
}
