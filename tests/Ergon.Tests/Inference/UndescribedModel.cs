using Ergon.Models.Gguf;
using Ergon.Native;
using Ergon.Native.Tensors;

namespace Ergon.Tests.Inference;

/// <summary>A small model with random weights of an architecture that libllama runs and Ergon's graph does not describe.</summary>
/// <param name="Architecture">stablelm, starcoder2 (attention), mamba (a state and nothing else), or t5 (an encoder before the decoder).</param>
internal sealed record UndescribedModel(string Architecture)
{
    private const int Embedding = 128, FeedForward = 256, Heads = 4, HeadsKv = 2, HeadLength = Embedding / Heads, Layers = 2, Context = 1024;
    private const int StateLength = 16, Kernel = 4, Inner = 2 * Embedding, Rank = 8;

    /// <summary>Hyperparameters instead of the usual ones, without the architecture; null leaves one out.</summary>
    public Dictionary<string, object?> Keys { get; init; } = [];

    /// <summary>Tensors that are left out.</summary>
    public string[] Without { get; init; } = [];

    public string Write(string folder)
    {
        var path = Path.Combine(folder, $"{Architecture}-{Guid.NewGuid():n}.gguf");
        var random = new Random(1);
        var w = new GgufWriter();
        w.Add("general.architecture", Architecture);
        w.Add("general.name", "random weights");
        var keys = new Dictionary<string, object?>
        {
            ["context_length"] = (uint)Context,
            ["embedding_length"] = (uint)Embedding,
            ["block_count"] = (uint)Layers,
        };
        if (Architecture == "mamba")
        {
            (keys["attention.layer_norm_rms_epsilon"], keys["ssm.conv_kernel"], keys["ssm.inner_size"]) = (1e-5f, (uint)Kernel, (uint)Inner);
            (keys["ssm.state_size"], keys["ssm.time_step_rank"]) = ((uint)StateLength, (uint)Rank);
        }
        else
        {
            (keys["attention.layer_norm_epsilon"], keys["feed_forward_length"]) = (1e-5f, (uint)FeedForward);
            (keys["attention.head_count"], keys["attention.head_count_kv"]) = ((uint)Heads, (uint)HeadsKv);
        }
        if (Architecture == "t5")
            (keys["attention.layer_norm_rms_epsilon"], keys["attention.relative_buckets_count"], keys["attention.head_count_kv"]) = (1e-5f, 32u, (uint)Heads);
        foreach (var (key, value) in Keys)
            keys[key] = value;
        foreach (var (key, value) in keys)
        {
            switch (value)
            {
                case uint count: w.Add($"{Architecture}.{key}", count); break;
                case float number: w.Add($"{Architecture}.{key}", number); break;
                case bool flag: w.Add($"{Architecture}.{key}", flag); break;
                case string text: w.Add($"{Architecture}.{key}", text); break;
                case int[] list: w.AddArray<int>($"{Architecture}.{key}", list); break;
            }
        }
        RandomModel.AddVocabulary(w);

        Matrix("token_embd.weight", Embedding, RandomModel.Vocabulary);
        Matrix("output.weight", Embedding, RandomModel.Vocabulary);
        if (Architecture == "t5")
            EncoderAndDecoder();
        else
            Norm("output_norm");
        for (var i = 0; i < Layers && Architecture != "t5"; i++)
        {
            var block = $"blk.{i}.";
            Norm(block + "attn_norm");
            if (Architecture == "mamba")
                Mamba(block);
            else
                Attention(block);
        }
        w.Write(path);
        return path;

        void Attention(string block)
        {
            Matrix(block + "attn_q.weight", Embedding, Embedding);
            Matrix(block + "attn_k.weight", Embedding, HeadsKv * HeadLength);
            Matrix(block + "attn_v.weight", Embedding, HeadsKv * HeadLength);
            Matrix(block + "attn_output.weight", Embedding, Embedding);
            Norm(block + "ffn_norm");
            if (Architecture == "stablelm")
                Matrix(block + "ffn_gate.weight", Embedding, FeedForward);
            Matrix(block + "ffn_up.weight", Embedding, FeedForward);
            Matrix(block + "ffn_down.weight", FeedForward, Embedding);
            if (Architecture == "starcoder2")
            {
                Vector(block + "attn_output.bias", Embedding, 0, 0.1f);
                Vector(block + "ffn_up.bias", FeedForward, 0, 0.1f);
                Vector(block + "ffn_down.bias", Embedding, 0, 0.1f);
            }
        }
        void EncoderAndDecoder()
        {
            foreach (var half in (string[])["enc.", "dec."])
            {
                Norm(half + "output_norm");
                for (var i = 0; i < Layers; i++)
                {
                    var block = $"{half}blk.{i}.";
                    foreach (var attention in half == "enc." ? ["attn_"] : (string[])["attn_", "cross_attn_"])
                    {
                        Norm(block + attention + "norm");
                        foreach (var matrix in "qkvo")
                            Matrix($"{block}{attention}{matrix}.weight", Embedding, Embedding);
                    }
                    Norm(block + "ffn_norm");
                    Matrix(block + "ffn_up.weight", Embedding, FeedForward);
                    Matrix(block + "ffn_down.weight", FeedForward, Embedding);
                }
            }
        }
        void Mamba(string block)
        {
            Matrix(block + "ssm_in.weight", Embedding, 2 * Inner);
            Matrix(block + "ssm_conv1d.weight", Kernel, Inner);
            Vector(block + "ssm_conv1d.bias", Inner, 0, 0.1f);
            Matrix(block + "ssm_x.weight", Inner, Rank + (2 * StateLength));
            Matrix(block + "ssm_dt.weight", Rank, Inner);
            Vector(block + "ssm_dt.bias", Inner, 0, 0.1f);
            // The state decays: its logarithm's rates are negative.
            Tensor(block + "ssm_a", [StateLength, Inner], Values(StateLength * Inner, -1, 0.5f));
            Vector(block + "ssm_d", Inner, 1, 0.1f);
            Matrix(block + "ssm_out.weight", Inner, Embedding);
        }
        void Norm(string name)
        {
            Vector(name + ".weight", Embedding, 1, 0.1f);
            if (Architecture is not ("mamba" or "t5"))
                Vector(name + ".bias", Embedding, 0, 0.1f);
        }
        void Matrix(string name, int from, int to) => Tensor(name, [from, to], Values(from * to, 0, 1.5f / MathF.Sqrt(from)));
        void Vector(string name, int n, float mean, float spread) => Tensor(name, [n], Values(n, mean, spread));
        void Tensor(string name, long[] ne, float[] values)
        {
            if (!Without.Contains(name))
                w.AddTensor(name, GgmlType.F32, ne, Quantizer.Quantize(GgmlType.F32, values, (int)ne[0]));
        }
        float[] Values(int count, float mean, float spread) => [.. Enumerable.Range(0, count).Select(_ => mean + (spread * ((2 * random.NextSingle()) - 1)))];
    }
}
