using System.Runtime.Intrinsics.X86;
using Ergon.Inference;
using Ergon.Models;
using Ergon.Models.Gguf;
using Ergon.Native;

namespace Ergon.Tests.Inference;

public sealed class KvCacheTypeTests
{
    [Theory]
    [InlineData(32, true, true)]
    [InlineData(32, false, false)]
    [InlineData(64, true, false)]
    [InlineData(128, true, false)]
    public void Short_heads_are_stored_in_F32_on_a_processor_whose_F16_loops_they_do_not_fill(int heads, bool onCpu, bool wide)
    {
        using var folder = new TemporaryFolder();
        var model = ModelDescription.Read(GgufFile.Open(new RandomModel("llama", GgmlType.F32) { Layers = 1, HeadLength = heads }.Write(folder.Path)));
        Assert.Equal(wide && Avx512F.IsSupported ? KvCacheType.F32 : KvCacheType.F16, KvCacheTypes.Default(model, onCpu));
    }

    [Fact]
    public void A_model_has_the_type_that_was_asked_for_and_the_default_otherwise()
    {
        using var folder = new TemporaryFolder();
        var path = new RandomModel("llama", GgmlType.F32) { Layers = 1, HeadLength = 32 }.Write(folder.Path);
        using var asked = ErgonModel.Load(path, new ModelOptions { Device = "CPU", ContextLength = 64, KvType = KvCacheType.F16 });
        using var left = ErgonModel.Load(path, new ModelOptions { Device = "CPU", ContextLength = 64 });
        Assert.Equal((KvCacheType.F16, KvCacheTypes.Default(left.Description, onCpu: true)), (asked.KvType, left.KvType));
    }
}
