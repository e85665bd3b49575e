using System.Runtime.InteropServices;
using Ergon.Native.Interop;

namespace Ergon.Native.Tensors;

/// <summary>
/// A device opened for work, with its thread pool where it has one. In ggml the calling thread is worker 0
/// of the pool and takes part in its affinity, so one dedicated thread makes all <see cref="Compute"/> calls.
/// </summary>
internal sealed unsafe class Backend : SafeHandle
{
    private readonly nint _threadPool;
    private readonly delegate* unmanaged[Cdecl]<nint, void> _freeThreadPool;

    /// <param name="device">The device.</param>
    /// <param name="threads">Worker threads, the calling one included; ignored by devices without threads.</param>
    /// <param name="cpus">The logical CPUs to stay on; empty leaves the choice to the system.</param>
    /// <exception cref="NativeException">The device cannot be opened.</exception>
    public Backend(NativeDevice device, int threads, ReadOnlySpan<int> cpus = default) : base(0, ownsHandle: true)
    {
        Device = device;
        SetHandle(Ggml.ggml_backend_dev_init(device.Handle, 0));
        if (IsInvalid)
            throw new NativeException($"The device {device.Name} ({device.Description}) cannot be opened; choose another with --device.");

        var create = (delegate* unmanaged[Cdecl]<Ggml.ggml_threadpool_params*, nint>)device.Procedure("ggml_threadpool_new");
        var attach = (delegate* unmanaged[Cdecl]<nint, nint, void>)device.Procedure("ggml_backend_cpu_set_threadpool");
        var setThreads = (delegate* unmanaged[Cdecl]<nint, int, void>)device.Procedure("ggml_backend_set_n_threads");
        if (setThreads != null)
            setThreads(handle, threads);
        if (create == null || attach == null)
            return;

        var parameters = default(Ggml.ggml_threadpool_params);
        Ggml.ggml_threadpool_params_init(&parameters, threads);
        // New workers would spin for work while the weights load; the first graph wakes a paused pool.
        parameters.paused = 1;
        foreach (var cpu in cpus)
        {
            ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual((uint)cpu, (uint)Ggml.GGML_MAX_N_THREADS);
            parameters.cpumask[cpu] = 1;
        }
        _freeThreadPool = (delegate* unmanaged[Cdecl]<nint, void>)device.Procedure("ggml_threadpool_free");
        _threadPool = create(&parameters);
        if (_threadPool == 0)
            throw new NativeException($"A pool of {threads} threads cannot be created; use fewer with --threads.");
        attach(handle, _threadPool);
    }

    public NativeDevice Device { get; }

    /// <inheritdoc/>
    public override bool IsInvalid => handle == 0;

    internal nint Handle => handle;

    /// <summary>The pool, for libllama to share in comparisons; 0 where the device has none.</summary>
    internal nint ThreadPool => _threadPool;

    /// <summary>Runs an allocated graph and waits for it.</summary>
    /// <exception cref="NativeException">The device reported a failure.</exception>
    public void Compute(Graph graph)
    {
        var status = Ggml.ggml_backend_graph_compute(handle, graph.Handle);
        if (status != 0)
            throw new NativeException($"The device {Device.Name} failed with status {status} in a graph of {graph.Nodes} operations.", status);
    }

    /// <inheritdoc/>
    protected override bool ReleaseHandle()
    {
        Ggml.ggml_backend_free(handle);
        if (_threadPool != 0)
            _freeThreadPool(_threadPool);
        return true;
    }
}
