using System.Runtime.InteropServices;
using Ergon.Native.Interop;

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

    /// <param name="path">A GGUF file that was validated before.</param>
    /// <param name="vocabularyOnly">Whether to leave the weights out.</param>
    /// <param name="gpuLayers">Layers to put on GPUs; 0 keeps all on the CPU.</param>
    /// <exception cref="NativeException">libllama refuses the file; the message carries its own reason.</exception>
    public static LlamaModel Load(string path, bool vocabularyOnly, int gpuLayers = 0)
    {
        NativeLibraries.EnsureLoaded();
        var parameters = LlamaApi.llama_model_default_params();
        parameters.vocab_only = vocabularyOnly ? (byte)1 : (byte)0;
        parameters.n_gpu_layers = gpuLayers;

        var (model, errors) = NativeLibraries.Explained(() => LlamaApi.llama_model_load_from_file(path, parameters));
        return model != 0 ? new LlamaModel(model)
            : throw new NativeException($"libllama cannot load {path}: {(errors.Length > 0 ? errors.Split('\n')[0] : "it gives no reason")}.");
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
