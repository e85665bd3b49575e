using System.Runtime.InteropServices;
using Ergon.Native.Interop;

namespace Ergon.Native.Tensors;

/// <summary>Gives a graph's intermediate tensors their places in one buffer of the device, which grows as needed.</summary>
internal sealed class GraphAllocator : SafeHandle
{
    private readonly BufferType _type;

    public GraphAllocator(BufferType type) : base(0, ownsHandle: true)
    {
        _type = type;
        SetHandle(Ggml.ggml_gallocr_new(type.Handle));
    }

    /// <inheritdoc/>
    public override bool IsInvalid => handle == 0;

    /// <summary>Size of the buffer now.</summary>
    public long Bytes => (long)Ggml.ggml_gallocr_get_buffer_size(handle, 0);

    /// <summary>Places the tensors of <paramref name="graph"/>; those of an earlier graph lose theirs.</summary>
    /// <exception cref="NativeException">The device has not enough memory.</exception>
    public void Allocate(Graph graph)
    {
        if (Ggml.ggml_gallocr_alloc_graph(handle, graph.Handle) == 0)
            throw new NativeException($"{_type.Name} has not enough memory for the intermediate results; use a smaller --ctx.");
    }

    /// <inheritdoc/>
    protected override bool ReleaseHandle()
    {
        Ggml.ggml_gallocr_free(handle);
        return true;
    }
}
