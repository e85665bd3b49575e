using Ergon.Inference;
using Ergon.Models;
using Ergon.Models.Gguf;
using Ergon.Native;
using Ergon.Native.Tensors;
using Xunit.Abstractions;

namespace Ergon.Tests.Inference;

/// <summary>Tests that count what the whole process allocates run while no other does.</summary>
[CollectionDefinition(nameof(SteadyDecodeTests), DisableParallelization = true)]
public sealed class SteadyDecodeCollection;

[Collection(nameof(SteadyDecodeTests))]
public sealed class SteadyDecodeTests(ITestOutputHelper output) : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    [Fact]
    public void A_decoding_pass_allocates_next_to_nothing()
    {
        var model = ModelDescription.Read(GgufFile.Open(new RandomModel("llama", GgmlType.Q8_0).Write(_folder.Path)));
        var cpu = NativeDevice.All().First(d => d.Kind == NativeDeviceKind.Cpu);
        using var engine = new Engine(model, [new Placement(cpu, StageRange.Whole(model), 1)], 1024, 1, GgmlType.F16);
        var sequence = engine.Cells.Open()!.Value;
        Decode(20);
        const int tokens = 200;
        var before = GC.GetAllocatedBytesForCurrentThread();
        Decode(tokens);

        // The list of a sequence's cells doubles now and then.
        Assert.InRange((GC.GetAllocatedBytesForCurrentThread() - before) / (double)tokens, 0, 64);

        void Decode(int count)
        {
            for (var i = 0; i < count; i++)
                Assert.True(engine.TryRun([new PassRow(sequence, i, WantsLogits: true)], out _));
        }
    }

    [Theory]
    [InlineData(1, 0f, false)]
    [InlineData(1, 0.8f, false)]
    [InlineData(8, 0f, false)]
    [InlineData(8, 0f, true)]
    public async Task A_generated_token_allocates_less_than_2_KiB(int sessions, float temperature, bool clusters)
    {
        var path = new RandomModel("llama", GgmlType.Q8_0).Write(_folder.Path);
        var options = new ModelOptions { ContextLength = 1024, MaxSequences = sessions };
        var description = ModelDescription.Read(GgufFile.Open(path));
        var cpu = NativeDevice.All().First(d => d.Kind == NativeDeviceKind.Cpu);
        using var model = ErgonModel.Load(path, !clusters ? options with { Threads = 1 } : options with
        {
            Placements = [new(cpu, StageRange.OfLayers(description, 0, 1), 1, [0]), new(cpu, StageRange.OfLayers(description, 1, description.LayerCount), 1, [1 % Environment.ProcessorCount])],
        });
        await GenerateAsync(50);
        var before = GC.GetTotalAllocatedBytes(precise: true);
        var tokens = await GenerateAsync(600);
        var perToken = (GC.GetTotalAllocatedBytes(precise: true) - before) / (double)tokens;
        output.WriteLine($"{sessions} sessions on {(clusters ? "two clusters" : "one device")}, temperature {temperature}: {perToken:F0} bytes a token");
        Assert.InRange(perToken, 0, 2048);

        async Task<int> GenerateAsync(int count)
        {
            var all = await Task.WhenAll(Enumerable.Range(0, sessions).Select(async i =>
            {
                using var session = model.CreateSession();
                var given = 0;
                await foreach (var token in session.GenerateAsync([i + 3, 7, 9], new GenerationOptions
                {
                    MaxTokens = count, IgnoreEndOfGeneration = true, Sampling = new SamplingOptions { Temperature = temperature, Seed = 1 },
                }))
                    given += token.Id >= 0 ? 1 : 0;
                return given;
            }));
            return all.Sum();
        }
    }

    public void Dispose() => _folder.Dispose();
}
