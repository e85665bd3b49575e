using System.Runtime.InteropServices;
using Ergon.Native.Interop;
using Ergon.Native.Tensors;

namespace Ergon.Native.Llama;

/// <summary>One row of a batch: a token at a position of a sequence.</summary>
internal readonly record struct LlamaRow(int Sequence, int Position, int Token, bool WantsLogits);

/// <summary>libllama's own forward pass: the second engine, the oracle of tests and the baseline of benchmarks. Not thread-safe.</summary>
internal sealed unsafe class LlamaContext : SafeHandle
{
    private const int NoSlot = 1;

    private readonly LlamaModel _model;
    private readonly int _maxRows = 512;
    private readonly nint _memory; // 0 where a model keeps nothing from pass to pass

    /// <param name="model">A wholly loaded model, kept alive.</param>
    /// <param name="contextLength">Positions that fit.</param>
    /// <param name="threads">CPU threads.</param>
    /// <param name="backend">Whose thread pool to share, as llama-bench does; otherwise threads are made for each pass.</param>
    /// <param name="sequences">Sequences that may be in flight.</param>
    /// <param name="pooling">llama.h's <c>LLAMA_POOLING_TYPE_*</c>, for <see cref="Embed"/>; <see langword="null"/> to decode.</param>
    /// <param name="cacheType">How keys and values are stored.</param>
    /// <param name="flash">Whether to insist on flash attention; otherwise it is used where the device has it.</param>
    public LlamaContext(LlamaModel model, int contextLength, int threads, Backend? backend = null, int sequences = 1, int? pooling = null, GgmlType cacheType = GgmlType.F16, bool flash = true) : base(0, ownsHandle: true)
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
        parameters.flash_attn_type = flash ? 1 : -1;
        parameters.type_k = parameters.type_v = (int)cacheType;
        parameters.n_outputs_max_per_seq = 0;
        if (pooling is { } type)
        {
            // Texts are embedded whole, so all of them are one physical batch.
            parameters.embeddings = 1;
            parameters.pooling_type = type;
            parameters.n_batch = parameters.n_ubatch = (uint)contextLength;
            _maxRows = contextLength;
        }
        var (context, errors) = NativeLibraries.Explained(() => LlamaApi.llama_init_from_model(model.Handle, parameters));
        SetHandle(context);
        if (IsInvalid)
        {
            _model.DangerousRelease();
            throw new NativeException($"libllama cannot create a context of {contextLength} positions: {NativeLibraries.Reason(errors)}.");
        }
        _memory = LlamaApi.llama_get_memory(handle);
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
        var rows = new LlamaRow[tokens.Length];
        for (var i = 0; i < rows.Length; i++)
            rows[i] = new LlamaRow(0, position + i, tokens[i], outputRows.Contains(i));
        Decode(rows);
        var vocabulary = _model.Vocabulary.Count;
        for (var i = 0; i < outputRows.Length; i++)
            Logits(outputRows[i]).CopyTo(logits[(i * vocabulary)..]);
    }

    /// <summary>Computes up to 512 rows, with pooling as many as the context holds, whose logits stay here, and waits for them.</summary>
    public void Decode(ReadOnlySpan<LlamaRow> rows)
    {
        if (!TryDecode(rows))
            throw new NativeException("llama_decode found no room for the rows.", NoSlot);
    }

    /// <summary>As <see cref="Decode(ReadOnlySpan{LlamaRow})"/>; without room for the rows returns false.</summary>
    public bool TryDecode(ReadOnlySpan<LlamaRow> rows)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(rows.Length, _maxRows);
        var n = rows.Length;
        int* tokens = stackalloc int[n], positions = stackalloc int[n], counts = stackalloc int[n], sequences = stackalloc int[n];
        int** sequenceOf = stackalloc int*[n];
        sbyte* wanted = stackalloc sbyte[n];
        for (var i = 0; i < n; i++)
        {
            (sequences[i], positions[i], tokens[i], var wantsLogits) = rows[i];
            wanted[i] = wantsLogits ? (sbyte)1 : (sbyte)0;
            counts[i] = 1;
            sequenceOf[i] = &sequences[i];
        }
        var status = LlamaApi.llama_decode(handle, new LlamaApi.llama_batch { n_tokens = n, token = tokens, pos = positions, n_seq_id = counts, seq_id = sequenceOf, logits = wanted });
        if (status is not (0 or NoSlot))
            throw new NativeException($"llama_decode failed with status {status}.", status);
        LlamaApi.llama_synchronize(handle);
        return status == 0;
    }

    /// <summary>The logits of a row of the last batch that wanted them, [n_vocab]; valid until the next.</summary>
    public ReadOnlySpan<float> Logits(int row)
    {
        var logits = LlamaApi.llama_get_logits_ith(handle, row);
        return logits != null ? new(logits, _model.Vocabulary.Count) : throw new NativeException("libllama gives no logits for a row that wanted them.");
    }

    /// <summary>Embeds texts in one batch, a sequence each.</summary>
    public float[][] Embed(IReadOnlyList<int[]> texts)
    {
        Clear();
        Decode([.. texts.SelectMany((text, sequence) => text.Select((token, position) => new LlamaRow(sequence, position, token, true)))]);
        var dimensions = LlamaApi.llama_model_n_embd_out(_model.Handle);
        var vectors = new float[texts.Count][];
        for (var i = 0; i < vectors.Length; i++)
            vectors[i] = new ReadOnlySpan<float>(LlamaApi.llama_get_embeddings_seq(handle, i), dimensions).ToArray();
        return vectors;
    }

    /// <summary>Whether sequences stay from pass to pass.</summary>
    public bool HasMemory => _memory != 0;

    /// <summary>Forgets all sequences, and overwrites what they held.</summary>
    public void Clear()
    {
        // Encoders have no memory.
        if (_memory != 0)
            LlamaApi.llama_memory_clear(_memory, 1);
    }

    /// <summary>Forgets the positions of a sequence from <paramref name="length"/> on; false, with nothing changed, where its state cannot go back.</summary>
    public bool TryTruncate(int sequence, int length) => LlamaApi.llama_memory_seq_rm(_memory, sequence, length, -1) != 0;

    /// <summary>Lets an empty sequence share the first positions of another; what has only a state shares all of it.</summary>
    public void Share(int from, int to, int length) => LlamaApi.llama_memory_seq_cp(_memory, from, to, 0, length);

    /// <summary>The first and the last position that the memory has of a sequence; -1 for an empty one.</summary>
    public (int First, int Last) Positions(int sequence) => (LlamaApi.llama_memory_seq_pos_min(_memory, sequence), LlamaApi.llama_memory_seq_pos_max(_memory, sequence));

    /// <inheritdoc/>
    protected override bool ReleaseHandle()
    {
        LlamaApi.llama_free(handle);
        _model.DangerousRelease();
        return true;
    }
}
