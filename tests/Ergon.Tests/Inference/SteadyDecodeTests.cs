using Ergon.Inference;
using Ergon.Models;
using Ergon.Models.Gguf;
using Ergon.Native;
using Ergon.Native.Tensors;

namespace Ergon.Tests.Inference;

public sealed class SteadyDecodeTests : IDisposable
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

    public void Dispose() => _folder.Dispose();
}
