using System.Runtime.InteropServices;

namespace Ergon.Native.Interop;

// The subset of ggml.h, ggml-alloc.h and ggml-backend.h that Ergon calls, names verbatim.
// Every handle is an nint here and a SafeHandle or a struct without public pointer one level up.
internal static unsafe partial class Ggml
{
    private const string Base = "ggml-base";
    private const string Registry = "ggml";

    [StructLayout(LayoutKind.Sequential)]
    internal struct ggml_init_params
    {
        public nuint mem_size;
        public void* mem_buffer;
        public byte no_alloc;
    }

    /// <summary>The fields of <c>struct ggml_tensor</c> that Ergon reads; <see cref="NativeLibraries"/> checks the layout at load.</summary>
    [StructLayout(LayoutKind.Sequential)]
    internal struct ggml_tensor
    {
        public int type;
        public nint buffer;
        public fixed long ne[4];
        public fixed ulong nb[4];
    }

    internal const int GGML_MAX_N_THREADS = 512;

    [StructLayout(LayoutKind.Sequential)]
    internal struct ggml_threadpool_params
    {
        public fixed byte cpumask[GGML_MAX_N_THREADS];
        public int n_threads;
        public int prio;
        public uint poll;
        public byte strict_cpu;
        public byte paused;
    }

    internal const int GGML_PREC_F32 = 10;
    internal const int GGML_HINT_SRC0_IS_HADAMARD = 1;
    internal const int GGML_BACKEND_BUFFER_USAGE_WEIGHTS = 1;

    // ggml.h
    [LibraryImport(Base)] internal static partial void ggml_log_set(nint callback, nint user_data);
    [LibraryImport(Base)] internal static partial nint ggml_init(ggml_init_params @params);
    [LibraryImport(Base)] internal static partial void ggml_free(nint ctx);
    [LibraryImport(Base)] internal static partial void ggml_reset(nint ctx);
    [LibraryImport(Base)] internal static partial nuint ggml_tensor_overhead();
    [LibraryImport(Base)] internal static partial nuint ggml_graph_overhead_custom(nuint size, byte grads);
    [LibraryImport(Base)] internal static partial nuint ggml_type_size(int type);
    [LibraryImport(Base)] internal static partial long ggml_blck_size(int type);
    [LibraryImport(Base)] internal static partial nint ggml_type_name(int type);
    [LibraryImport(Base)] internal static partial nuint ggml_nbytes(nint tensor);
    [LibraryImport(Base)] internal static partial byte ggml_is_contiguous(nint tensor);
    [LibraryImport(Base)] internal static partial nint ggml_op_desc(nint tensor);
    [LibraryImport(Base)] internal static partial nint ggml_new_tensor_1d(nint ctx, int type, long ne0);
    [LibraryImport(Base)] internal static partial nint ggml_new_tensor_2d(nint ctx, int type, long ne0, long ne1);
    [LibraryImport(Base)] internal static partial nint ggml_new_tensor_4d(nint ctx, int type, long ne0, long ne1, long ne2, long ne3);
    [LibraryImport(Base, StringMarshalling = StringMarshalling.Utf8)] internal static partial nint ggml_set_name(nint tensor, string name);
    [LibraryImport(Base)] internal static partial nint ggml_get_name(nint tensor);
    [LibraryImport(Base)] internal static partial void ggml_set_input(nint tensor);
    [LibraryImport(Base)] internal static partial void ggml_set_output(nint tensor);
    [LibraryImport(Base)] internal static partial nint ggml_new_graph_custom(nint ctx, nuint size, byte grads);
    [LibraryImport(Base)] internal static partial void ggml_build_forward_expand(nint graph, nint tensor);
    [LibraryImport(Base)] internal static partial int ggml_graph_n_nodes(nint graph);
    [LibraryImport(Base)] internal static partial nint ggml_graph_node(nint graph, int i);
    [LibraryImport(Base)] internal static partial nuint ggml_quantize_chunk(int type, float* src, void* dst, long start, long nrows, long n_per_row, float* imatrix);
    [LibraryImport(Base)] internal static partial void ggml_threadpool_params_init(ggml_threadpool_params* p, int n_threads);

    // Operations. Shapes are ggml's: ne[0] is the contiguous dimension.
    [LibraryImport(Base)] internal static partial nint ggml_add(nint ctx, nint a, nint b);
    [LibraryImport(Base)] internal static partial nint ggml_mul(nint ctx, nint a, nint b);
    [LibraryImport(Base)] internal static partial nint ggml_scale(nint ctx, nint a, float s);
    [LibraryImport(Base)] internal static partial nint ggml_tanh(nint ctx, nint a);
    [LibraryImport(Base)] internal static partial nint ggml_mul_mat(nint ctx, nint a, nint b);
    [LibraryImport(Base)] internal static partial void ggml_mul_mat_set_hint(nint a, int hint);
    [LibraryImport(Base)] internal static partial nint ggml_mul_mat_id(nint ctx, nint @as, nint b, nint ids);
    [LibraryImport(Base)] internal static partial nint ggml_div(nint ctx, nint a, nint b);
    [LibraryImport(Base)] internal static partial nint ggml_clamp(nint ctx, nint a, float min, float max);
    [LibraryImport(Base)] internal static partial nint ggml_sum_rows(nint ctx, nint a);
    [LibraryImport(Base)] internal static partial nint ggml_soft_max(nint ctx, nint a);
    [LibraryImport(Base)] internal static partial nint ggml_argsort_top_k(nint ctx, nint a, int k);
    [LibraryImport(Base)] internal static partial nint ggml_ssm_conv(nint ctx, nint sx, nint c);
    [LibraryImport(Base)] internal static partial nint ggml_concat(nint ctx, nint a, nint b, int dim);
    [LibraryImport(Base)] internal static partial nint ggml_cont(nint ctx, nint a);
    [LibraryImport(Base)] internal static partial nint ggml_cast(nint ctx, nint a, int type);
    [LibraryImport(Base)] internal static partial nint ggml_transpose(nint ctx, nint a);
    [LibraryImport(Base)] internal static partial nint ggml_norm(nint ctx, nint a, float eps);
    [LibraryImport(Base)] internal static partial nint ggml_rms_norm(nint ctx, nint a, float eps);
    [LibraryImport(Base)] internal static partial nint ggml_get_rows(nint ctx, nint a, nint b);
    [LibraryImport(Base)] internal static partial nint ggml_set_rows(nint ctx, nint a, nint b, nint c);
    [LibraryImport(Base)] internal static partial nint ggml_reshape_2d(nint ctx, nint a, long ne0, long ne1);
    [LibraryImport(Base)] internal static partial nint ggml_reshape_3d(nint ctx, nint a, long ne0, long ne1, long ne2);
    [LibraryImport(Base)] internal static partial nint ggml_view_2d(nint ctx, nint a, long ne0, long ne1, nuint nb1, nuint offset);
    [LibraryImport(Base)] internal static partial nint ggml_view_3d(nint ctx, nint a, long ne0, long ne1, long ne2, nuint nb1, nuint nb2, nuint offset);
    [LibraryImport(Base)] internal static partial nint ggml_permute(nint ctx, nint a, int axis0, int axis1, int axis2, int axis3);
    [LibraryImport(Base)] internal static partial nint ggml_gelu(nint ctx, nint a);
    [LibraryImport(Base)] internal static partial nint ggml_geglu_split(nint ctx, nint a, nint b);
    [LibraryImport(Base)] internal static partial nint ggml_swiglu(nint ctx, nint a);
    [LibraryImport(Base)] internal static partial nint ggml_swiglu_split(nint ctx, nint a, nint b);
    [LibraryImport(Base)] internal static partial nint ggml_flash_attn_ext(nint ctx, nint q, nint k, nint v, nint mask, float scale, float max_bias, float logit_softcap);
    [LibraryImport(Base)] internal static partial byte ggml_prec_set_acc(nint a, int prec);
    [LibraryImport(Base)] internal static partial nint ggml_rope_ext(nint ctx, nint a, nint b, nint c, int n_dims, int mode, int n_ctx_orig, float freq_base, float freq_scale, float ext_factor, float attn_factor, float beta_fast, float beta_slow);

    // ggml-alloc.h
    [LibraryImport(Base)] internal static partial nint ggml_gallocr_new(nint buft);
    [LibraryImport(Base)] internal static partial void ggml_gallocr_free(nint galloc);
    [LibraryImport(Base)] internal static partial byte ggml_gallocr_alloc_graph(nint galloc, nint graph);
    [LibraryImport(Base)] internal static partial nuint ggml_gallocr_get_buffer_size(nint galloc, int buffer_id);
    [LibraryImport(Base)] internal static partial nint ggml_backend_alloc_ctx_tensors_from_buft(nint ctx, nint buft);

    // ggml-backend.h
    [LibraryImport(Registry, StringMarshalling = StringMarshalling.Utf8)] internal static partial void ggml_backend_load_all_from_path(string dir_path);
    [LibraryImport(Registry, StringMarshalling = StringMarshalling.Utf8)] internal static partial nint ggml_backend_load(string path);
    [LibraryImport(Registry)] internal static partial nuint ggml_backend_dev_count();
    [LibraryImport(Registry)] internal static partial nint ggml_backend_dev_get(nuint index);
    [LibraryImport(Base)] internal static partial nint ggml_backend_dev_name(nint device);
    [LibraryImport(Base)] internal static partial nint ggml_backend_dev_description(nint device);
    [LibraryImport(Base)] internal static partial int ggml_backend_dev_type(nint device);
    [LibraryImport(Base)] internal static partial void ggml_backend_dev_memory(nint device, nuint* free, nuint* total);
    [LibraryImport(Base)] internal static partial nint ggml_backend_dev_backend_reg(nint device);
    [LibraryImport(Base)] internal static partial nint ggml_backend_dev_init(nint device, nint @params);
    [LibraryImport(Base)] internal static partial nint ggml_backend_dev_buffer_type(nint device);
    [LibraryImport(Base)] internal static partial nint ggml_backend_dev_buffer_from_host_ptr(nint device, void* ptr, nuint size, nuint max_tensor_size);
    [LibraryImport(Base)] internal static partial byte ggml_backend_dev_supports_op(nint device, nint op);
    [LibraryImport(Base)] internal static partial nint ggml_backend_reg_name(nint reg);
    [LibraryImport(Base, StringMarshalling = StringMarshalling.Utf8)] internal static partial nint ggml_backend_reg_get_proc_address(nint reg, string name);
    [LibraryImport(Base)] internal static partial void ggml_backend_free(nint backend);
    [LibraryImport(Base)] internal static partial int ggml_backend_graph_compute(nint backend, nint graph);
    [LibraryImport(Base)] internal static partial nint ggml_backend_buft_name(nint buft);
    [LibraryImport(Base)] internal static partial nint ggml_backend_buft_alloc_buffer(nint buft, nuint size);
    [LibraryImport(Base)] internal static partial byte ggml_backend_buft_is_host(nint buft);
    [LibraryImport(Base)] internal static partial void ggml_backend_buffer_free(nint buffer);
    [LibraryImport(Base)] internal static partial nuint ggml_backend_buffer_get_size(nint buffer);
    [LibraryImport(Base)] internal static partial void ggml_backend_buffer_clear(nint buffer, byte value);
    [LibraryImport(Base)] internal static partial void ggml_backend_buffer_set_usage(nint buffer, int usage);
    [LibraryImport(Base)] internal static partial int ggml_backend_tensor_alloc(nint buffer, nint tensor, void* addr);
    [LibraryImport(Base)] internal static partial void ggml_backend_tensor_set(nint tensor, void* data, nuint offset, nuint size);
    [LibraryImport(Base)] internal static partial void ggml_backend_tensor_memset(nint tensor, byte value, nuint offset, nuint size);
    [LibraryImport(Base)] internal static partial void ggml_backend_tensor_get(nint tensor, void* data, nuint offset, nuint size);
}
