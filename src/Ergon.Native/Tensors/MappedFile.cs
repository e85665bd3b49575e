using System.IO.MemoryMappedFiles;
using Ergon.Native.Interop;

namespace Ergon.Native.Tensors;

/// <summary>
/// A file mapped for reading. Weights that need no conversion are used in place on the CPU;
/// the others are copied from here. Outlives every buffer made of it: dispose it last.
/// </summary>
internal sealed unsafe class MappedFile : IDisposable
{
    private readonly MemoryMappedFile _file;
    private readonly MemoryMappedViewAccessor _view;
    private readonly byte* _base;

    public MappedFile(string path)
    {
        Length = new FileInfo(path).Length;
        _file = MemoryMappedFile.CreateFromFile(path, FileMode.Open, null, 0, MemoryMappedFileAccess.Read);
        _view = _file.CreateViewAccessor(0, 0, MemoryMappedFileAccess.Read);
        byte* start = null;
        _view.SafeMemoryMappedViewHandle.AcquirePointer(ref start);
        _base = start + _view.PointerOffset;
    }

    public long Length { get; }

    /// <summary>A buffer of the device over the whole file, without a copy; <see langword="null"/> where the device cannot.</summary>
    public DeviceBuffer? AsBuffer(NativeDevice device)
    {
        var buffer = Ggml.ggml_backend_dev_buffer_from_host_ptr(device.Handle, _base, (nuint)Length, (nuint)Length);
        return buffer == 0 ? null : new DeviceBuffer(buffer);
    }

    /// <summary>Lets <paramref name="tensor"/>'s data be the file's bytes at <paramref name="offset"/>, inside a buffer from <see cref="AsBuffer"/>.</summary>
    public void Place(Tensor tensor, DeviceBuffer buffer, long offset)
    {
        CheckRange(tensor, offset);
        var status = Ggml.ggml_backend_tensor_alloc(buffer.Handle, tensor.Handle, _base + offset);
        if (status != 0)
            throw new NativeException($"The tensor {tensor.Name} cannot be placed in the mapped file (status {status}).", status);
    }

    /// <summary>Copies the file's bytes at <paramref name="offset"/> into the tensor, converting to its buffer's order.</summary>
    public void CopyTo(Tensor tensor, long offset)
    {
        CheckRange(tensor, offset);
        Ggml.ggml_backend_tensor_set(tensor.Handle, _base + offset, 0, (nuint)tensor.Bytes);
    }

    /// <summary>
    /// Takes the whole pages between <paramref name="offset"/> and <paramref name="offset"/> + <paramref name="length"/>
    /// out of this process's resident memory. Reading them again brings them back from the system's cache or the disk.
    /// </summary>
    public void Release(long offset, long length)
    {
        if (!OperatingSystem.IsLinux())
            return;
        long page = Environment.SystemPageSize, first = (offset + page - 1) / page * page, end = (offset + length) / page * page;
        if (first < end)
            _ = Posix.madvise(_base + first, (nuint)(end - first), Posix.MADV_DONTNEED);
    }

    private void CheckRange(Tensor tensor, long offset)
    {
        if (offset < 0 || offset > Length - tensor.Bytes)
            throw new NativeException($"The tensor {tensor.Name} lies outside its file (offset {offset}, {tensor.Bytes} bytes of {Length}); the file changed since it was validated.");
    }

    public void Dispose()
    {
        _view.SafeMemoryMappedViewHandle.ReleasePointer();
        _view.Dispose();
        _file.Dispose();
    }
}
