using Ergon.Native.Interop;

namespace Ergon.Native.Llama;

/// <summary>
/// The candidate list that samplers narrow, reused from token to token: one entry per token of the
/// vocabulary. Not thread-safe; one per engine thread is enough.
/// </summary>
internal sealed class Candidates(int vocabularySize)
{
    internal LlamaApi.llama_token_data[] Data { get; } = GC.AllocateUninitializedArray<LlamaApi.llama_token_data>(vocabularySize, pinned: true);

    internal unsafe LlamaApi.llama_token_data_array Load(ReadOnlySpan<float> logits)
    {
        var data = Data;
        ArgumentOutOfRangeException.ThrowIfNotEqual(logits.Length, data.Length);
        for (var i = 0; i < data.Length; i++)
            data[i] = new LlamaApi.llama_token_data { id = i, logit = logits[i] };
        // Pinned at allocation, so the address stays good for as long as this object lives.
        fixed (LlamaApi.llama_token_data* p = data)
            return new LlamaApi.llama_token_data_array { data = p, size = (nuint)data.Length, selected = -1 };
    }
}
