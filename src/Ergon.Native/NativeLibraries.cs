using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Text;
using Ergon.Native.Interop;

namespace Ergon.Native;

/// <summary>How serious a message of the native libraries is.</summary>
public enum NativeLogLevel
{
    /// <summary>Details for developers of the libraries.</summary>
    Debug = 1,

    /// <summary>Progress.</summary>
    Information = 2,

    /// <summary>Something unexpected that the libraries worked around.</summary>
    Warning = 3,

    /// <summary>A failure.</summary>
    Error = 4,
}

/// <summary>Loads ggml, its backends and libllama once per process, and routes their messages.</summary>
public static class NativeLibraries
{
    private static readonly Lock Gate = new();
    private static readonly Dictionary<string, nint> Handles = [];
    private static volatile bool s_loaded;
    private static bool s_resolving;
    private static string? s_folder;
    private static NativeLogLevel s_lastLevel = NativeLogLevel.Information;

    [ThreadStatic]
    private static StringBuilder? t_errors;

    /// <summary>Receives each message of the native libraries, on any thread; <see langword="null"/> discards them.</summary>
    public static Action<NativeLogLevel, string>? Log { get; set; }

    /// <summary>The folder that the libraries were loaded from.</summary>
    /// <exception cref="NativeException">No usable libraries were found.</exception>
    public static string Folder
    {
        get
        {
            EnsureLoaded();
            return s_folder!;
        }
    }

    /// <summary>Loads the libraries unless that has happened. Safe to call from any thread.</summary>
    /// <exception cref="NativeException">No libraries, or libraries whose binary interface is not the pinned one.</exception>
    public static void EnsureLoaded()
    {
        if (s_loaded)
            return;
        lock (Gate)
        {
            if (s_loaded)
                return;
            s_folder = NativeFolder.Resolve();
            foreach (var name in (ReadOnlySpan<string>)["ggml-base", "ggml", "llama"])
                Handles[name] = Open(s_folder, name);
            if (!s_resolving)
                NativeLibrary.SetDllImportResolver(typeof(NativeLibraries).Assembly, static (name, _, _) => Handles.GetValueOrDefault(name));
            // It can be set once; a second try after a failure finds it there.
            s_resolving = true;
            RouteLog();
            CheckLayouts();
            Ggml.ggml_backend_load_all_from_path(s_folder);
            foreach (var backend in NativeFolder.AddedBackends())
                Ggml.ggml_backend_load(backend);
            LlamaApi.llama_backend_init();
            s_loaded = true;
        }
    }

    /// <summary>Runs a call whose C API returns null on failure, with the reason in its log only.</summary>
    /// <returns>The call's result, and the error messages it caused on this thread.</returns>
    internal static (nint Handle, string Errors) Explained(Func<nint> call)
    {
        var errors = t_errors = new StringBuilder();
        try
        {
            return (call(), errors.ToString().Trim());
        }
        finally
        {
            t_errors = null;
        }
    }

    /// <summary>The sentence in <paramref name="errors"/> that tells why, without the function's name and a full stop.</summary>
    internal static string Reason(string errors)
    {
        // "llama_model_load: error loading model: check_tensor_dims: tensor 'x' not found"
        const string verdict = "error loading model";
        var line = errors.Split('\n')[0].Trim();
        while (line.IndexOf(": ", StringComparison.Ordinal) is var colon and > 0 && (line[..colon] == verdict || line[..colon].All(c => char.IsAsciiLetterOrDigit(c) || c == '_')))
            line = line[(colon + 2)..];
        return line.Length > 0 ? line.TrimEnd('.') : "it gives no reason";
    }

    private static nint Open(string folder, string name)
    {
        var file = Directory.EnumerateFiles(folder).FirstOrDefault(f => NativeFolder.IsLibrary(Path.GetFileName(f), name))
            ?? throw new NativeException($"The native library {name} is not in {folder}; delete that folder and build again, or set ERGON_NATIVE to a folder that has it.");
        try
        {
            return NativeLibrary.Load(file);
        }
        catch (Exception e) when (e is DllNotFoundException or BadImageFormatException)
        {
            throw new NativeException($"{file} cannot be loaded on this machine ({e.Message}); set ERGON_NATIVE to a folder with a build for {RuntimeInformation.RuntimeIdentifier}.");
        }
    }

    private static unsafe void RouteLog()
    {
        delegate* unmanaged[Cdecl]<int, byte*, nint, void> callback = &OnMessage;
        Ggml.ggml_log_set((nint)callback, 0);
        LlamaApi.llama_log_set((nint)callback, 0);
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    private static unsafe void OnMessage(int level, byte* text, nint userData)
    {
        const int Continued = 5;
        if (level is >= 1 and <= 4)
            s_lastLevel = (NativeLogLevel)level;
        else if (level != Continued)
            return;
        try
        {
            if (s_lastLevel == NativeLogLevel.Error)
                t_errors?.Append(Marshal.PtrToStringUTF8((nint)text));
            Log?.Invoke(s_lastLevel, Marshal.PtrToStringUTF8((nint)text) ?? "");
        }
#pragma warning disable CA1031 // an exception must not cross into native frames.
        catch
#pragma warning restore CA1031
        {
        }
    }

    // Structs pass by value, so a library of another release would corrupt memory silently.
    // Known defaults and one tensor's fields tell a wrong layout before any harm.
    private static unsafe void CheckLayouts()
    {
        var model = LlamaApi.llama_model_default_params();
        var context = LlamaApi.llama_context_default_params();
        var ctx = Ggml.ggml_init(new Ggml.ggml_init_params { mem_size = 4 * Ggml.ggml_tensor_overhead(), no_alloc = 1 });
        var tensor = (Ggml.ggml_tensor*)Ggml.ggml_new_tensor_2d(ctx, 1, 7, 5);
        var threads = default(Ggml.ggml_threadpool_params);
        Ggml.ggml_threadpool_params_init(&threads, 3);
        var asPinned = LlamaApi.LayoutsAreAsPinned
            && model is { n_gpu_layers: -1, lazy_mode: 1, use_extra_bufts: 1, vocab_only: 0 }
            && context is { n_ctx: 512, n_batch: 2048, n_ubatch: 512, flash_attn_type: -1, yarn_orig_ctx: 0, type_k: 1, type_v: 1, offload_kqv: 1, swa_full: 1, n_samplers: 0 }
            && tensor->type == 1 && tensor->ne[0] == 7 && tensor->ne[1] == 5 && tensor->ne[3] == 1 && tensor->nb[0] == 2 && tensor->nb[1] == 14
            && threads is { n_threads: 3, poll: 50, strict_cpu: 0 };
        Ggml.ggml_free(ctx);
        if (!asPinned)
            throw new NativeException($"The native libraries in {s_folder} have another binary interface than llama.cpp {NativeVersion.LlamaCpp}, which this Ergon is built for; use that release or unset ERGON_NATIVE.");
    }
}
