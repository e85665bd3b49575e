using System.Collections.Concurrent;
using System.Runtime.ExceptionServices;
using Ergon.Models;
using Ergon.Native.Tensors;

namespace Ergon.Inference;

/// <summary>
/// A model's weights on one device, for a run of layers. Weights that the CPU takes as they are stay in the
/// mapped file; matrices that it multiplies faster in another order are repacked; GPUs get copies.
/// </summary>
internal sealed class Weights : IDisposable
{
    private readonly Dictionary<(WeightRole, int), Tensor> _tensors = [];
    private readonly List<IDisposable> _owned = [];

    /// <param name="model">The model.</param>
    /// <param name="device">Where the weights go.</param>
    /// <param name="stages">The layers, and the weights before and after them, to load.</param>
    /// <param name="progress">Told the share done, 0 to 1.</param>
    /// <param name="cancellation">Stops between two tensors.</param>
    /// <exception cref="Native.NativeException">The device has not enough memory.</exception>
    public Weights(ModelDescription model, NativeDevice device, StageRange stages, IProgress<double>? progress = null, CancellationToken cancellation = default)
    {
        try
        {
            Load(model, device, stages, progress, cancellation);
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    /// <summary>The weight of that role; a null tensor where the model has none.</summary>
    public Tensor this[WeightRole role, int layer = -1] => _tensors.GetValueOrDefault((role, layer));

    private void Load(ModelDescription model, NativeDevice device, StageRange stages, IProgress<double>? progress, CancellationToken cancellation)
    {
        WeightSpec[] specs = [.. model.Weights.Where(w => stages.Contains(w))];
        using var repack = new RepackProbe(device);
        var arenas = (Mapped: Owned(new TensorArena(specs.Length)), Plain: Owned(new TensorArena(specs.Length)), Repacked: Owned(new TensorArena(specs.Length)));
        var parts = model.File.Parts.Select(part => Owned(new MappedFile(part.Path))).ToArray();
        var maps = parts.Select(part => device.BufferType.IsHost ? part.AsBuffer(device) : null).ToArray();
        _owned.AddRange(maps.OfType<DeviceBuffer>());

        var copies = new List<(Tensor Tensor, Models.Gguf.GgufTensor Source)>();
        var bytes = (Plain: 0L, Repacked: 0L);
        foreach (var spec in specs)
        {
            var source = model.File.FindTensor(spec.TensorName)!;
            Tensor tensor;
            if (spec.IsMatrix && repack.Takes(source.Type, source.Ne.AsSpan(), spec.IsExperts))
            {
                tensor = arenas.Repacked.New(source.Type, source.Ne.AsSpan());
                bytes.Repacked += source.Bytes;
                copies.Add((tensor, source));
            }
            else if (maps[source.Part] is { } map)
            {
                tensor = arenas.Mapped.New(source.Type, source.Ne.AsSpan());
                parts[source.Part].Place(tensor, map.AsWeights(), source.FileOffset);
            }
            else
            {
                tensor = arenas.Plain.New(source.Type, source.Ne.AsSpan());
                bytes.Plain += source.Bytes;
                copies.Add((tensor, source));
            }
            tensor.Name = spec.TensorName;
            _tensors.Add((spec.Role, spec.Layer), tensor);
        }

        if (arenas.Plain.Allocate(device.BufferType, bytes.Plain) is { } plain)
            Owned(plain.AsWeights());
        if (repack.Type is { } type && arenas.Repacked.Allocate(type, bytes.Repacked) is { } repacked)
            Owned(repacked.AsWeights());

        long done = 0, all = Math.Max(1, bytes.Plain + bytes.Repacked);
        var gate = new Lock();
        // Repacking keeps every core busy; the copies of a GPU's backend are not made for several threads.
        var workers = device.BufferType.IsHost ? Environment.ProcessorCount : 1;
        try
        {
            Parallel.ForEach(Partitioner.Create(copies, EnumerablePartitionerOptions.NoBuffering), new ParallelOptions { MaxDegreeOfParallelism = workers, CancellationToken = cancellation }, copy =>
            {
                var (tensor, source) = copy;
                var part = parts[source.Part];
                part.CopyTo(tensor, source.FileOffset);
                part.Release(source.FileOffset, source.Bytes);
                lock (gate)
                    progress?.Report((done += source.Bytes) / (double)all);
            });
        }
        catch (AggregateException e)
        {
            ExceptionDispatchInfo.Throw(e.InnerExceptions[0]);
        }
        // A part that nothing uses in place is not needed any more.
        for (var i = 0; i < parts.Length; i++)
        {
            if (maps[i] is null)
            {
                _owned.Remove(parts[i]);
                parts[i].Dispose();
            }
        }
    }

    private T Owned<T>(T resource) where T : IDisposable
    {
        _owned.Add(resource);
        return resource;
    }

    /// <summary>Frees all of it. Buffers go before the arenas and files they lie in.</summary>
    public void Dispose()
    {
        for (var i = _owned.Count - 1; i >= 0; i--)
            _owned[i].Dispose();
        _owned.Clear();
    }
}
