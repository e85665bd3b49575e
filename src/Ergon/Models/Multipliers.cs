namespace Ergon.Models;

/// <summary>The numbers that a graph multiplies by or bounds with. 1 multiplies nothing, a cap of 0 bounds nothing.</summary>
/// <param name="Embedding">Of the token embedding.</param>
/// <param name="Residual">Of what a block adds to the residual stream.</param>
/// <param name="Queries">Of the queries, before attention.</param>
/// <param name="Attention">Of the products of queries and keys.</param>
/// <param name="Logits">Of the logits.</param>
/// <param name="AttentionCap">cap * tanh(score / cap) of attention's scores.</param>
/// <param name="LogitCap">The same of the logits.</param>
internal readonly record struct Multipliers(
    float Embedding, float Residual, float Queries, float Attention, float Logits, float AttentionCap, float LogitCap)
{
    public static Multipliers Read(Hyperparameters keys, Architecture architecture, int layers, int width, int heads, int headLength)
    {
        var attention = 1 / MathF.Sqrt(layers == architecture.ScaledByWidthAt ? width / heads : headLength);
        float embedding = architecture.EmbeddingTimesRoot ? MathF.Sqrt(width) : 1, residual = 1, logits = 1;
        if (architecture.Multipliers)
        {
            // A factor of 0 means none, as in llama.cpp; the logits are divided.
            attention = OrElse(keys.Number("attention.scale", 0), attention);
            embedding = OrElse(keys.Number("embedding_scale", 0), embedding);
            residual = OrElse(keys.Number("residual_scale", 0), residual);
            logits = 1 / keys.Positive("logit_scale");
        }
        return new Multipliers(embedding, residual, architecture.ScalesQueries ? attention : 1, architecture.ScalesQueries ? 1 : attention, logits,
            Cap("attn_logit_softcapping", architecture.AttentionCap), Cap("final_logit_softcapping", architecture.LogitCap));

        float Cap(string key, float? fallback) => fallback is { } cap ? keys.Number(key, cap) : 0;

        static float OrElse(float value, float fallback) => value == 0 ? fallback : value;
    }
}
