using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Ergon.Native.Interop;

// The subset of llama.h that Ergon calls, names verbatim.
internal static unsafe partial class LlamaApi
{
    private const string Lib = "llama";

    [StructLayout(LayoutKind.Sequential)]
    internal struct llama_model_params
    {
        public nint devices;
        public nint tensor_buft_overrides;
        public int n_gpu_layers;
        public int split_mode;
        public int load_mode;
        public int lazy_mode;
        public int main_gpu;
        public nint tensor_split;
        public nint progress_callback;
        public nint progress_callback_user_data;
        public nint kv_overrides;
        public byte vocab_only;
        public byte check_tensors;
        public byte use_extra_bufts;
        public byte no_host;
        public byte no_alloc;
        public byte load_mtp;
    }

    [StructLayout(LayoutKind.Sequential)]
    internal struct llama_context_params
    {
        public uint n_ctx;
        public uint n_batch;
        public uint n_ubatch;
        public uint n_seq_max;
        public uint n_rs_seq;
        public uint n_outputs_max;
        public uint n_outputs_max_per_seq;
        public int n_threads;
        public int n_threads_batch;
        public int ctx_type;
        public int rope_scaling_type;
        public int pooling_type;
        public int attention_type;
        public int flash_attn_type;
        public float rope_freq_base;
        public float rope_freq_scale;
        public float yarn_ext_factor;
        public float yarn_attn_factor;
        public float yarn_beta_fast;
        public float yarn_beta_slow;
        public uint yarn_orig_ctx;
        public float defrag_thold;
        public nint cb_eval;
        public nint cb_eval_user_data;
        public int type_k;
        public int type_v;
        public nint abort_callback;
        public nint abort_callback_data;
        public byte embeddings;
        public byte offload_kqv;
        public byte no_perf;
        public byte op_offload;
        public byte swa_full;
        public byte kv_unified;
        public nint samplers;
        public nuint n_samplers;
        public nint ctx_other;
    }

    [StructLayout(LayoutKind.Sequential)]
    internal struct llama_batch
    {
        public int n_tokens;
        public int* token;
        public float* embd;
        public int* pos;
        public int* n_seq_id;
        public int** seq_id;
        public sbyte* logits;
    }

    [StructLayout(LayoutKind.Sequential)]
    internal struct llama_token_data
    {
        public int id;
        public float logit;
        public float p;
    }

    [StructLayout(LayoutKind.Sequential)]
    internal struct llama_token_data_array
    {
        public llama_token_data* data;
        public nuint size;
        public long selected;
        public byte sorted;
    }

    [StructLayout(LayoutKind.Sequential)]
    internal struct llama_sampler_chain_params
    {
        public byte no_perf;
    }

    [StructLayout(LayoutKind.Sequential)]
    internal struct llama_logit_bias
    {
        public int token;
        public float bias;
    }

    [LibraryImport(Lib)] internal static partial void llama_backend_init();
    [LibraryImport(Lib)] internal static partial void llama_log_set(nint callback, nint user_data);
    [LibraryImport(Lib)] internal static partial llama_model_params llama_model_default_params();
    [LibraryImport(Lib)] internal static partial llama_context_params llama_context_default_params();
    [LibraryImport(Lib)] internal static partial llama_sampler_chain_params llama_sampler_chain_default_params();
    [LibraryImport(Lib, StringMarshalling = StringMarshalling.Utf8)] internal static partial nint llama_model_load_from_file(string path, llama_model_params @params);
    [LibraryImport(Lib)] internal static partial void llama_model_free(nint model);
    [LibraryImport(Lib)] internal static partial nint llama_model_get_vocab(nint model);
    [LibraryImport(Lib)] internal static partial int llama_model_n_embd_out(nint model);
    [LibraryImport(Lib)] internal static partial int llama_model_n_swa(nint model);
    [LibraryImport(Lib)] internal static partial byte llama_model_has_encoder(nint model);
    [LibraryImport(Lib)] internal static partial nint llama_init_from_model(nint model, llama_context_params @params);
    [LibraryImport(Lib)] internal static partial void llama_free(nint ctx);
    [LibraryImport(Lib)] internal static partial void llama_attach_threadpool(nint ctx, nint threadpool, nint threadpool_batch);
    [LibraryImport(Lib)] internal static partial int llama_decode(nint ctx, llama_batch batch);
    [LibraryImport(Lib)] internal static partial void llama_synchronize(nint ctx);
    [LibraryImport(Lib)] internal static partial float* llama_get_logits_ith(nint ctx, int i);
    [LibraryImport(Lib)] internal static partial float* llama_get_embeddings_seq(nint ctx, int seq_id);
    [LibraryImport(Lib)] internal static partial nint llama_get_memory(nint ctx);
    [LibraryImport(Lib)] internal static partial void llama_memory_clear(nint memory, byte data);
    [LibraryImport(Lib)] internal static partial byte llama_memory_seq_rm(nint memory, int seq_id, int p0, int p1);
    [LibraryImport(Lib)] internal static partial void llama_memory_seq_cp(nint memory, int seq_id_src, int seq_id_dst, int p0, int p1);
    [LibraryImport(Lib)] internal static partial int llama_memory_seq_pos_min(nint memory, int seq_id);
    [LibraryImport(Lib)] internal static partial int llama_memory_seq_pos_max(nint memory, int seq_id);

    // Vocabulary
    [LibraryImport(Lib)] internal static partial int llama_vocab_n_tokens(nint vocab);
    [LibraryImport(Lib)] internal static partial int llama_vocab_bos(nint vocab);
    [LibraryImport(Lib)] internal static partial int llama_vocab_eos(nint vocab);
    [LibraryImport(Lib)] internal static partial byte llama_vocab_is_eog(nint vocab, int token);
    [LibraryImport(Lib)] internal static partial byte llama_vocab_is_control(nint vocab, int token);
    [LibraryImport(Lib)] internal static partial byte llama_vocab_get_add_bos(nint vocab);
    [LibraryImport(Lib)] internal static partial int llama_tokenize(nint vocab, byte* text, int text_len, int* tokens, int n_tokens_max, byte add_special, byte parse_special);
    [LibraryImport(Lib)] internal static partial int llama_token_to_piece(nint vocab, int token, byte* buf, int length, int lstrip, byte special);
    [LibraryImport(Lib)] internal static partial int llama_detokenize(nint vocab, int* tokens, int n_tokens, byte* text, int text_len_max, byte remove_special, byte unparse_special);

    // Samplers
    [LibraryImport(Lib)] internal static partial nint llama_sampler_chain_init(llama_sampler_chain_params @params);
    [LibraryImport(Lib)] internal static partial void llama_sampler_chain_add(nint chain, nint sampler);
    [LibraryImport(Lib)] internal static partial nint llama_sampler_chain_remove(nint chain, int i);
    [LibraryImport(Lib)] internal static partial int llama_sampler_chain_n(nint chain);
    [LibraryImport(Lib)] internal static partial void llama_sampler_free(nint sampler);
    [LibraryImport(Lib)] internal static partial void llama_sampler_accept(nint sampler, int token);
    [LibraryImport(Lib)] internal static partial void llama_sampler_apply(nint sampler, llama_token_data_array* candidates);
    [LibraryImport(Lib)] internal static partial nint llama_sampler_init_greedy();
    [LibraryImport(Lib)] internal static partial nint llama_sampler_init_dist(uint seed);
    [LibraryImport(Lib)] internal static partial nint llama_sampler_init_top_k(int k);
    [LibraryImport(Lib)] internal static partial nint llama_sampler_init_top_p(float p, nuint min_keep);
    [LibraryImport(Lib)] internal static partial nint llama_sampler_init_min_p(float p, nuint min_keep);
    [LibraryImport(Lib)] internal static partial nint llama_sampler_init_typical(float p, nuint min_keep);
    [LibraryImport(Lib)] internal static partial nint llama_sampler_init_temp(float t);
    [LibraryImport(Lib)] internal static partial nint llama_sampler_init_xtc(float p, float t, nuint min_keep, uint seed);
    [LibraryImport(Lib)] internal static partial nint llama_sampler_init_mirostat(int n_vocab, uint seed, float tau, float eta, int m);
    [LibraryImport(Lib)] internal static partial nint llama_sampler_init_mirostat_v2(uint seed, float tau, float eta);
    [LibraryImport(Lib, StringMarshalling = StringMarshalling.Utf8)] internal static partial nint llama_sampler_init_grammar(nint vocab, string grammar_str, string grammar_root);
    [LibraryImport(Lib)] internal static partial nint llama_sampler_init_penalties(int n_vocab, int penalty_last_n, float penalty_repeat, float penalty_freq, float penalty_present);
    [LibraryImport(Lib)] internal static partial nint llama_sampler_init_dry(nint vocab, float multiplier, float @base, int allowed_length, int penalty_last_n, byte** seq_breakers, nuint num_breakers);
    [LibraryImport(Lib)] internal static partial nint llama_sampler_init_logit_bias(int n_vocab, int n_logit_bias, llama_logit_bias* logit_bias);

    /// <summary>The sizes that the pinned llama.h gives these structs on 64-bit platforms.</summary>
    internal static bool LayoutsAreAsPinned =>
        Unsafe.SizeOf<llama_model_params>() == 80 && Unsafe.SizeOf<llama_context_params>() == 160
        && Unsafe.SizeOf<llama_batch>() == 56 && Unsafe.SizeOf<llama_token_data>() == 12;
}
