using System.Globalization;
using Ergon.Inference;
using Ergon.Native;

namespace Ergon.Tests.Inference;

public sealed class PerplexityTests
{
    // What llama-perplexity of the pinned release says of the first 30,000 bytes of the text (-c 128); bench/perplexity.sh compares more.
    [SharedTheory]
    [InlineData("stories260K-f32.gguf", 4.0953, 111 * 63)]
    public async Task It_is_llama_perplexitys(string model, double expected, int tokens)
    {
        var text = File.ReadAllText(Shared.Path("data/datasets/tinystories/tinystories-train-head.txt"))[..30000];
        using var loaded = ErgonModel.Load(Shared.Path("data/models/" + model), new ModelOptions { ContextLength = 128, Threads = 1, KvType = KvCacheType.F16 });
        var result = await Perplexity.MeasureAsync(loaded, text);
        Assert.Equal(expected.ToString("F4", CultureInfo.InvariantCulture), result.Value.ToString("F4", CultureInfo.InvariantCulture));
        Assert.Equal(tokens, result.Tokens);
    }

    [Fact]
    public async Task A_text_shorter_than_two_chunks_is_refused()
    {
        using var folder = new TemporaryFolder();
        using var model = ErgonModel.Load(new RandomModel("llama", GgmlType.F32) { Layers = 1 }.Write(folder.Path), new ModelOptions { ContextLength = 64, Threads = 1 });
        var error = await Assert.ThrowsAsync<ErgonException>(() => Perplexity.MeasureAsync(model, new string('x', 100)));
        Assert.Contains("two chunks of 64", error.Message, StringComparison.Ordinal);
    }
}
