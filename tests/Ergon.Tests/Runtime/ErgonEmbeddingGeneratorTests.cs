using Ergon.Energy;
using Ergon.Inference;
using Ergon.Native;
using Ergon.Runtime;
using Ergon.Tests.Inference;
using Microsoft.Extensions.AI;

namespace Ergon.Tests.Runtime;

public sealed class ErgonEmbeddingGeneratorTests
{
    [Fact]
    public async Task Texts_become_embeddings_with_their_usage()
    {
        using var folder = new TemporaryFolder();
        using var generator = ErgonEmbeddingGenerator.Load(new RandomModel("bert", GgmlType.Q8_0).Write(folder.Path), new() { Threads = 1 });
        var embeddings = await generator.GenerateAsync(["the sky", "is blue"]);

        Assert.Equal([256, 256], embeddings.Select(e => e.Dimensions));
        Assert.Equal("random weights", embeddings[0].ModelId);
        var model = generator.GetRequiredService<EmbeddingModel>();
        Assert.Equal(model.Tokenize("the sky").Length + model.Tokenize("is blue").Length, embeddings.Usage!.InputTokenCount);
        Assert.Equal(256, generator.GetRequiredService<EmbeddingGeneratorMetadata>().DefaultModelDimensions);
        await Assert.ThrowsAsync<ErgonException>(() => generator.GenerateAsync(["x"], new() { Dimensions = 64 }));
        Assert.Null(embeddings.AdditionalProperties);
    }

    [Fact]
    public async Task With_a_monitor_embeddings_have_their_receipt()
    {
        using var folder = new TemporaryFolder();
        using var monitor = EnergyMonitor.OfMachine();
        using var generator = ErgonEmbeddingGenerator.Load(new RandomModel("bert", GgmlType.Q8_0).Write(folder.Path), new() { Threads = 1 }, monitor);
        var receipt = Assert.IsType<Receipt>((await generator.GenerateAsync(["the sky", "is blue"])).AdditionalProperties![EnergyMonitor.ReceiptKey]);
        // Whatever this machine has: a figure, or why there is none.
        Assert.True(receipt.Energy is not null || receipt.Reason is not null);
        Assert.Equal(0, receipt.Tokens);
    }
}
