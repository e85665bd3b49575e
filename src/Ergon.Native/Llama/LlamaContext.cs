using System.Runtime.InteropServices;
using Ergon.Native.Interop;
using Ergon.Native.Tensors;

namespace Ergon.Native.Llama;

/// <summary>libllama's own forward pass over one sequence: the oracle of tests and the baseline of benchmarks. Not thread-safe.</summary>
internal sealed unsafe class LlamaContext : SafeHandle
{
    private readonly LlamaModel _model;

    /// <param name="model">A wholly loaded model, kept alive.</param>
    /// <param name="contextLength">Positions that fit.</param>
    /// <param name="threads">CPU threads.</param>
    /// <param name="backend">Whose thread pool to share, as llama-bench does; otherwise threads are made for each pass.</param>
    /// <param name="sequences">Sequences that may be in flight.</param>
    /// <param name="pooling">llama.h's <c>LLAMA_POOLING_TYPE_*</c>, for <see cref="Embed"/>; <see langword="null"/> for <see cref="Decode"/>.</param>
    public LlamaContext(LlamaModel model, int contextLength, int threads, Backend? backend = null, int sequences = 1, int? pooling = null) : base(0, ownsHandle: true)
    {
        _model = model.Held();
        var parameters = LlamaApi.llama_context_default_params();
        parameters.n_ctx = (uint)contextLength;
        parameters.n_batch = 512;
        parameters.n_ubatch = 512;
        parameters.n_seq_max = (uint)sequences;
        parameters.kv_unified = 1;
        parameters.n_threads = threads;
        parameters.n_threads_batch = threads;
        parameters.flash_attn_type = 1;
        parameters.n_outputs_max_per_seq = 0;
        if (pooling is { } type)
        {
            // Texts are embedded whole, so all of them are one physical batch.
            parameters.embeddings = 1;
            parameters.pooling_type = type;
            parameters.n_batch = parameters.n_ubatch = (uint)contextLength;
        }
        SetHandle(LlamaApi.llama_init_from_model(model.Handle, parameters));
        if (IsInvalid)
        {
            _model.DangerousRelease();
            throw new NativeException($"libllama cannot create a context of {contextLength} positions.");
        }
        if (backend is { ThreadPool: not 0 })
            LlamaApi.llama_attach_threadpool(handle, backend.ThreadPool, backend.ThreadPool);
    }

    /// <inheritdoc/>
    public override bool IsInvalid => handle == 0;

    /// <summary>Appends up to 512 tokens to sequence 0 and copies the logits of each row asked for, [n_vocab] apiece, into <paramref name="logits"/>.</summary>
    /// <param name="tokens">Tokens, the first at <paramref name="position"/>.</param>
    /// <param name="position">Position of the first token.</param>
    /// <param name="outputRows">Rows whose logits are wanted, ascending.</param>
    /// <param name="logits">[outputRows.Length * n_vocab].</param>
    public void Decode(ReadOnlySpan<int> tokens, int position, ReadOnlySpan<int> outputRows, Span<float> logits)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(tokens.Length, 512);
        var n = tokens.Length;
        int* positions = stackalloc int[n], counts = stackalloc int[n];
        int** sequences = stackalloc int*[n];
        sbyte* wanted = stackalloc sbyte[n];
        var zero = 0;
        for (var i = 0; i < n; i++)
        {
            positions[i] = position + i;
            counts[i] = 1;
            sequences[i] = &zero;
            wanted[i] = 0;
        }
        foreach (var row in outputRows)
            wanted[row] = 1;
        int status;
        fixed (int* t = tokens)
            status = LlamaApi.llama_decode(handle, new LlamaApi.llama_batch { n_tokens = n, token = t, pos = positions, n_seq_id = counts, seq_id = sequences, logits = wanted });
        if (status != 0)
            throw new NativeException($"llama_decode failed with status {status}.", status);
        var vocabulary = _model.Vocabulary.Count;
        for (var i = 0; i < outputRows.Length; i++)
            new ReadOnlySpan<float>(LlamaApi.llama_get_logits_ith(handle, outputRows[i]), vocabulary).CopyTo(logits[(i * vocabulary)..]);
    }

    /// <summary>Embeds texts in one batch, a sequence each.</summary>
    public float[][] Embed(IReadOnlyList<int[]> texts)
    {
        Clear();
        int[] tokens = [.. texts.SelectMany(t => t)], positions = [.. texts.SelectMany(t => Enumerable.Range(0, t.Length))];
        int[] sequences = [.. texts.SelectMany((t, i) => Enumerable.Repeat(i, t.Length))], counts = [.. tokens.Select(_ => 1)];
        sbyte[] wanted = [.. tokens.Select(_ => (sbyte)1)];
        int status;
        fixed (int* t = tokens, p = positions, s = sequences, n = counts)
        fixed (sbyte* w = wanted)
        {
            var each = new int*[tokens.Length];
            for (var i = 0; i < each.Length; i++)
                each[i] = s + i;
            fixed (int** e = each)
                status = LlamaApi.llama_decode(handle, new LlamaApi.llama_batch { n_tokens = tokens.Length, token = t, pos = p, n_seq_id = n, seq_id = e, logits = w });
        }
        if (status != 0)
            throw new NativeException($"llama_decode failed with status {status}.", status);
        var dimensions = LlamaApi.llama_model_n_embd_out(_model.Handle);
        var vectors = new float[texts.Count][];
        for (var i = 0; i < vectors.Length; i++)
            vectors[i] = new ReadOnlySpan<float>(LlamaApi.llama_get_embeddings_seq(handle, i), dimensions).ToArray();
        return vectors;
    }

    /// <summary>Forgets all sequences.</summary>
    public void Clear()
    {
        // Encoders have no memory.
        if (LlamaApi.llama_get_memory(handle) is not 0 and var memory)
            LlamaApi.llama_memory_clear(memory, 1);
    }

    /// <inheritdoc/>
    protected override bool ReleaseHandle()
    {
        LlamaApi.llama_free(handle);
        _model.DangerousRelease();
        return true;
    }
}
