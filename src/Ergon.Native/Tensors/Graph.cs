using System.Runtime.InteropServices;
using Ergon.Native.Interop;

namespace Ergon.Native.Tensors;

/// <summary>How rotary positions pair up the values of a head.</summary>
internal enum RopeMode
{
    /// <summary>Neighbours (2i, 2i+1).</summary>
    Normal = 0,

    /// <summary>Halves (i, i + n/2).</summary>
    NeoX = 2,
}

/// <summary>The numbers of a rotary position embedding, named as in ggml.</summary>
internal readonly record struct RopeParameters(
    RopeMode Mode, int Dimensions, int OriginalContext, float FrequencyBase, float FrequencyScale,
    float ExtrapolationFactor, float AttentionFactor, float BetaFast, float BetaSlow);

/// <summary>
/// A compute graph under construction. Operations record themselves in the order their results are
/// <see cref="Expand">expanded</see>; <see cref="Reset"/> forgets them and keeps the memory. Not thread-safe.
/// </summary>
internal sealed class Graph : SafeHandle
{
    /// <param name="capacity">Tensors, operations and inputs together; more abort the process, so callers count.</param>
    public Graph(int capacity) : base(0, ownsHandle: true)
    {
        NativeLibraries.EnsureLoaded();
        Capacity = capacity;
        SetHandle(TensorArena.Create(((nuint)capacity * Ggml.ggml_tensor_overhead()) + Ggml.ggml_graph_overhead_custom((nuint)capacity, 0)));
        Reset();
    }

    /// <inheritdoc/>
    public override bool IsInvalid => handle == 0;

    internal nint Handle { get; private set; }

    /// <summary>Tensors that fit.</summary>
    public int Capacity { get; }

    /// <summary>Multiplications and additions of all matrix products that were made since the last <see cref="Reset"/>, each counted as one.</summary>
    public double MatrixFlops { get; private set; }

    /// <summary>Bytes of the weights that these products and <see cref="GetRows"/> read; of experts the number to be expected when rows choose at random.</summary>
    public double WeightBytes { get; private set; }

    /// <summary>Operations recorded so far.</summary>
    public int Nodes => Ggml.ggml_graph_n_nodes(Handle);

    /// <summary>Forgets all tensors and operations.</summary>
    public void Reset()
    {
        Ggml.ggml_reset(handle);
        MatrixFlops = WeightBytes = 0;
        Handle = Ggml.ggml_new_graph_custom(handle, (nuint)Capacity, 0);
    }

    /// <summary>The operation at <paramref name="index"/>, in order of execution.</summary>
    public Tensor Node(int index) => new(Ggml.ggml_graph_node(Handle, index));

    /// <summary>What the operation behind a node is called.</summary>
    public static string Describe(Tensor node) => Marshal.PtrToStringUTF8(Ggml.ggml_op_desc(node.Handle)) ?? "";

    public Tensor Input(GgmlType type, long ne0, long ne1 = 1)
    {
        var tensor = Ggml.ggml_new_tensor_2d(handle, (int)type, ne0, ne1);
        Ggml.ggml_set_input(tensor);
        return new(tensor);
    }

    /// <summary>Keeps the tensor's data until it was read, and records what it depends on.</summary>
    public Tensor Output(Tensor tensor)
    {
        Ggml.ggml_set_output(tensor.Handle);
        Expand(tensor);
        return tensor;
    }

    /// <summary>Records the tensor and everything it depends on, now: the order decides which results are bit-identical to libllama's.</summary>
    public void Expand(Tensor tensor) => Ggml.ggml_build_forward_expand(Handle, tensor.Handle);

    public Tensor Add(Tensor a, Tensor b) => new(Ggml.ggml_add(handle, a.Handle, b.Handle));

    public Tensor Mul(Tensor a, Tensor b) => new(Ggml.ggml_mul(handle, a.Handle, b.Handle));

    public Tensor Scale(Tensor a, float factor) => new(Ggml.ggml_scale(handle, a.Handle, factor));

    public Tensor Tanh(Tensor a) => new(Ggml.ggml_tanh(handle, a.Handle));

    /// <summary>Rows of <paramref name="activations"/> [n_in, rows] times <paramref name="weight"/> [n_in, n_out] gives [n_out, rows].</summary>
    public Tensor MatMul(Tensor weight, Tensor activations)
    {
        MatrixFlops += 2.0 * weight.Ne(0) * weight.Ne(1) * activations.Ne(1);
        WeightBytes += weight.Bytes;
        return new(Ggml.ggml_mul_mat(handle, weight.Handle, activations.Handle));
    }

    /// <summary>A product with a Hadamard matrix [n, n], which devices compute by a fast transform where they have one.</summary>
    public Tensor HadamardMatMul(Tensor matrix, Tensor activations)
    {
        var result = Ggml.ggml_mul_mat(handle, matrix.Handle, activations.Handle);
        Ggml.ggml_mul_mat_set_hint(result, Ggml.GGML_HINT_SRC0_IS_HADAMARD);
        return new(result);
    }

    /// <summary>
    /// A product with matrices chosen for each row: <paramref name="weights"/> [n_in, n_out, experts] and
    /// <paramref name="activations"/> [n_in, used or 1, rows] by <paramref name="chosen"/> I32 [used, rows] give [n_out, used, rows].
    /// </summary>
    public Tensor MatMul(Tensor weights, Tensor activations, Tensor chosen)
    {
        double experts = weights.Ne(2), used = chosen.Ne(0), rows = chosen.Ne(1);
        MatrixFlops += 2.0 * weights.Ne(0) * weights.Ne(1) * used * rows;
        WeightBytes += weights.Bytes * (1 - Math.Pow(1 - (used / experts), rows));
        return new(Ggml.ggml_mul_mat_id(handle, weights.Handle, activations.Handle, chosen.Handle));
    }

    public Tensor Div(Tensor a, Tensor b) => new(Ggml.ggml_div(handle, a.Handle, b.Handle));

    public Tensor Clamp(Tensor a, float min, float max) => new(Ggml.ggml_clamp(handle, a.Handle, min, max));

    public Tensor SumRows(Tensor a) => new(Ggml.ggml_sum_rows(handle, a.Handle));

    public Tensor SoftMax(Tensor a) => new(Ggml.ggml_soft_max(handle, a.Handle));

    /// <summary>Where in each row its <paramref name="count"/> largest values stand, the largest first.</summary>
    public Tensor Largest(Tensor a, int count) => new(Ggml.ggml_argsort_top_k(handle, a.Handle, count));

    /// <summary>Sum of products along dimension 0: windows [length, n, rows] with a kernel [length, n] give [n, 1, rows].</summary>
    public Tensor Convolve(Tensor windows, Tensor kernel) => new(Ggml.ggml_ssm_conv(handle, windows.Handle, kernel.Handle));

    public Tensor Contiguous(Tensor a) => new(Ggml.ggml_cont(handle, a.Handle));

    public Tensor Concat(Tensor a, Tensor b, int dimension) => new(Ggml.ggml_concat(handle, a.Handle, b.Handle, dimension));

    public Tensor Cast(Tensor a, GgmlType type) => new(Ggml.ggml_cast(handle, a.Handle, (int)type));

    public Tensor Transpose(Tensor a) => new(Ggml.ggml_transpose(handle, a.Handle));

    public Tensor Norm(Tensor a, float epsilon) => new(Ggml.ggml_norm(handle, a.Handle, epsilon));

    public Tensor RmsNorm(Tensor a, float epsilon) => new(Ggml.ggml_rms_norm(handle, a.Handle, epsilon));

    public Tensor GetRows(Tensor a, Tensor indices)
    {
        WeightBytes += (double)a.Nb(1) * indices.Ne(0);
        return new(Ggml.ggml_get_rows(handle, a.Handle, indices.Handle));
    }

    public Tensor SetRows(Tensor destination, Tensor rows, Tensor indices) => new(Ggml.ggml_set_rows(handle, destination.Handle, rows.Handle, indices.Handle));

    public Tensor Reshape(Tensor a, long ne0, long ne1) => new(Ggml.ggml_reshape_2d(handle, a.Handle, ne0, ne1));

    public Tensor Reshape(Tensor a, long ne0, long ne1, long ne2) => new(Ggml.ggml_reshape_3d(handle, a.Handle, ne0, ne1, ne2));

    public Tensor View(Tensor a, long ne0, long ne1, long nb1, long offset = 0) => new(Ggml.ggml_view_2d(handle, a.Handle, ne0, ne1, (nuint)nb1, (nuint)offset));

    public Tensor View(Tensor a, long ne0, long ne1, long ne2, long nb1, long nb2, long offset = 0) => new(Ggml.ggml_view_3d(handle, a.Handle, ne0, ne1, ne2, (nuint)nb1, (nuint)nb2, (nuint)offset));

    public Tensor Permute(Tensor a, int axis0, int axis1, int axis2, int axis3) => new(Ggml.ggml_permute(handle, a.Handle, axis0, axis1, axis2, axis3));

    public Tensor Gelu(Tensor a) => new(Ggml.ggml_gelu(handle, a.Handle));

    /// <summary>silu(gate) * up.</summary>
    public Tensor SwiGlu(Tensor gate, Tensor up) => new(Ggml.ggml_swiglu_split(handle, gate.Handle, up.Handle));

    /// <summary>silu(first half of a row) * second half.</summary>
    public Tensor SwiGlu(Tensor gateAndUp) => new(Ggml.ggml_swiglu(handle, gateAndUp.Handle));

    /// <summary>gelu(gate) * up.</summary>
    public Tensor GeGlu(Tensor gate, Tensor up) => new(Ggml.ggml_geglu_split(handle, gate.Handle, up.Handle));

    public Tensor Rope(Tensor a, Tensor positions, Tensor factors, in RopeParameters p) => new(Ggml.ggml_rope_ext(handle, a.Handle, positions.Handle, factors.Handle,
        p.Dimensions, (int)p.Mode, p.OriginalContext, p.FrequencyBase, p.FrequencyScale, p.ExtrapolationFactor, p.AttentionFactor, p.BetaFast, p.BetaSlow));

    /// <summary>
    /// softmax(cap(q k^T scale) + mask) v, where cap is c tanh(x / c) or nothing for 0, with accumulation in F32: q [head_dim, rows, heads], k and v [head_dim, n_kv, kv_heads],
    /// mask F16 [n_kv, rows]; the result is [head_dim, heads, rows].
    /// </summary>
    public Tensor FlashAttention(Tensor q, Tensor k, Tensor v, Tensor mask, float scale, float cap)
    {
        var result = Ggml.ggml_flash_attn_ext(handle, q.Handle, k.Handle, v.Handle, mask.Handle, scale, 0, cap);
        _ = Ggml.ggml_prec_set_acc(result, Ggml.GGML_PREC_F32);
        return new(result);
    }

    /// <inheritdoc/>
    protected override bool ReleaseHandle()
    {
        Ggml.ggml_free(handle);
        return true;
    }
}
