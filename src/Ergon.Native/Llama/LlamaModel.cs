using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Ergon.Native.Interop;
using Ergon.Native.Tensors;

namespace Ergon.Native.Llama;

/// <summary>A model that libllama loaded: vocabulary only, or whole for comparisons and for the libllama engine.</summary>
internal sealed class LlamaModel : SafeHandle
{
    private LlamaModel(nint model) : base(0, ownsHandle: true)
    {
        SetHandle(model);
        Vocabulary = new Vocabulary(this, LlamaApi.llama_model_get_vocab(model));
    }

    /// <inheritdoc/>
    public override bool IsInvalid => handle == 0;

    internal nint Handle => handle;

    public Vocabulary Vocabulary { get; }

    /// <summary>Sliding-window layers look back over so many positions; 0 where there are none.</summary>
    public int Window => LlamaApi.llama_model_n_swa(handle);

    /// <summary>Whether it reads a whole text before it writes another, as translators do.</summary>
    public bool HasEncoder => LlamaApi.llama_model_has_encoder(handle) != 0;

    /// <summary>Loads a model, on the CPU.</summary>
    /// <param name="path">A GGUF file that was validated before.</param>
    /// <param name="vocabularyOnly">Whether to leave the weights out.</param>
    /// <exception cref="NativeException">libllama refuses the file; the message carries its own reason.</exception>
    public static LlamaModel Load(string path, bool vocabularyOnly)
    {
        NativeLibraries.EnsureLoaded();
        var parameters = LlamaApi.llama_model_default_params();
        parameters.vocab_only = vocabularyOnly ? (byte)1 : (byte)0;
        parameters.n_gpu_layers = 0;
        return Load(path, parameters);
    }

    /// <summary>Loads a whole model onto one device.</summary>
    /// <param name="path">A GGUF file that was validated before.</param>
    /// <param name="device">The CPU, or a GPU for all layers; no other takes part.</param>
    /// <param name="repack">Whether the CPU may keep weights in an order of its own, which is faster and takes a copy.</param>
    /// <param name="progress">Told the share loaded, 0 to 1, on this thread.</param>
    /// <param name="cancellation">Stops loading.</param>
    /// <exception cref="NativeException">libllama refuses the file; the message carries its own reason.</exception>
    public static unsafe LlamaModel Load(string path, NativeDevice device, bool repack, IProgress<double>? progress = null, CancellationToken cancellation = default)
    {
        var isGpu = device.Kind is NativeDeviceKind.Gpu or NativeDeviceKind.IntegratedGpu;
        if (!isGpu && device.Kind != NativeDeviceKind.Cpu)
            throw new ErgonException($"The device {device.Name} takes single operations, not whole models, and libllama runs a model whole; choose the CPU or a GPU with --device.");
        var parameters = LlamaApi.llama_model_default_params();
        // A list that ends at once keeps libllama from GPUs even for the large products of prompts.
        var devices = stackalloc nint[2] { isGpu ? device.Handle : 0, 0 };
        parameters.devices = (nint)devices;
        parameters.n_gpu_layers = isGpu ? -1 : 0;
        parameters.use_extra_bufts = repack ? (byte)1 : (byte)0;
        delegate* unmanaged[Cdecl]<float, nint, byte> report = &OnProgress;
        parameters.progress_callback = (nint)report;
        var listener = GCHandle.Alloc(new Listener(progress, cancellation));
        try
        {
            parameters.progress_callback_user_data = GCHandle.ToIntPtr(listener);
            return Load(path, parameters);
        }
        catch (NativeException)
        {
            cancellation.ThrowIfCancellationRequested();
            throw;
        }
        finally
        {
            listener.Free();
        }
    }

    private static LlamaModel Load(string path, LlamaApi.llama_model_params parameters)
    {
        var (model, errors) = NativeLibraries.Explained(() => LlamaApi.llama_model_load_from_file(path, parameters));
        return model != 0 ? new LlamaModel(model) : throw new NativeException($"libllama cannot load {path}: {NativeLibraries.Reason(errors)}.");
    }

    private sealed record Listener(IProgress<double>? Progress, CancellationToken Cancellation);

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    private static byte OnProgress(float share, nint listener)
    {
        try
        {
            var (progress, cancellation) = (Listener)GCHandle.FromIntPtr(listener).Target!;
            progress?.Report(share);
            return cancellation.IsCancellationRequested ? (byte)0 : (byte)1;
        }
#pragma warning disable CA1031 // an exception must not cross into native frames.
        catch
#pragma warning restore CA1031
        {
            return 0;
        }
    }

    /// <summary>Keeps the model from being freed until <see cref="SafeHandle.DangerousRelease"/>.</summary>
    /// <exception cref="ObjectDisposedException">It is freed already.</exception>
    internal LlamaModel Held()
    {
        var added = false;
        DangerousAddRef(ref added);
        return this;
    }

    /// <summary>Keeps the model from being freed for the length of a native call.</summary>
    /// <exception cref="ObjectDisposedException">It is freed already.</exception>
    internal Hold Hold() => new(Held());

    /// <inheritdoc/>
    protected override bool ReleaseHandle()
    {
        LlamaApi.llama_model_free(handle);
        return true;
    }
}

/// <summary>Releases the model that it holds.</summary>
internal readonly ref struct Hold(LlamaModel model)
{
    public void Dispose() => model.DangerousRelease();
}
