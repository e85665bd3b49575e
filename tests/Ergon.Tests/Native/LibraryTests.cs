using System.Runtime.InteropServices;
using Ergon.Native;
using Ergon.Native.Interop;
using Ergon.Native.Tensors;

namespace Ergon.Tests.Native;

public sealed class LibraryTests
{
    [Fact]
    public void The_type_table_is_the_librarys()
    {
        NativeLibraries.EnsureLoaded();
        for (var type = 0; type < GgmlTypes.Count; type++)
        {
            var known = GgmlTypes.TryGetTraits((GgmlType)type, out var traits);
            Assert.Equal(Ggml.ggml_blck_size(type) != 0, known);
            if (!known)
                continue;
            Assert.Equal((Ggml.ggml_blck_size(type), (long)Ggml.ggml_type_size(type)), (traits.BlockSize, traits.BlockBytes));
            Assert.Equal(Marshal.PtrToStringUTF8(Ggml.ggml_type_name(type)), traits.Name);
        }
    }

    [Fact]
    public void A_processor_is_found_and_can_be_opened()
    {
        var cpu = Assert.Single(NativeDevice.All(), d => d.Kind == NativeDeviceKind.Cpu);
        Assert.Equal("CPU", cpu.Name);
        Assert.True(cpu.Memory().Total > 0);
        using var backend = new Backend(cpu, 1, [0]);
        Assert.False(backend.IsInvalid);
    }

    [Fact]
    public void Repacked_memory_takes_only_what_it_can_store()
    {
        using var probe = new RepackProbe(NativeDevice.All().First(d => d.Kind == NativeDeviceKind.Cpu));
        Assert.False(probe.Takes(GgmlType.F32, [256, 256], experts: false));
        Assert.False(probe.Takes(GgmlType.F16, [256, 256], experts: false));
    }

    [Fact]
    public void Handles_may_be_freed_in_any_order()
    {
        var cpu = NativeDevice.All().First(d => d.Kind == NativeDeviceKind.Cpu);
        foreach (var arenaFirst in (bool[])[true, false])
        {
            var arena = new TensorArena(2);
            var tensor = arena.New(GgmlType.F32, 8);
            var buffer = arena.Allocate(cpu.BufferType, tensor.Bytes)!;
            tensor.Set<float>([1, 2, 3, 4, 5, 6, 7, 8]);
            var back = new float[8];
            tensor.Get<float>(back);
            Assert.Equal([1, 2, 3, 4, 5, 6, 7, 8], back);
            (arenaFirst ? (IDisposable)arena : buffer).Dispose();
            (arenaFirst ? (IDisposable)buffer : arena).Dispose();
        }
    }
}
