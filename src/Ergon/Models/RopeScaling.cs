using Ergon.Native.Tensors;

namespace Ergon.Models;

/// <summary>Turns the <c>rope.*</c> keys of a file into ggml's numbers, by llama.cpp's rules.</summary>
internal static class RopeScaling
{
    public static RopeParameters Read(Hyperparameters keys, RopeMode mode, bool partial, int headLength, int trainingContext)
    {
        var dimensions = keys.Count("rope.dimension_count", 1, headLength, fallback: headLength);
        if (dimensions % 2 != 0 || (dimensions != headLength && !partial))
            throw keys.Unsupported("rope.dimension_count", $"is {dimensions}, not an even head of {headLength} values");

        var kind = keys.ArchitectureText("rope.scaling.type") ?? "linear";
        // The old key has another name; a factor of 0 means none.
        var factor = keys.Number("rope.scaling.factor", keys.Number("rope.scale_linear", 0));
        var scale = kind == "none" || factor == 0 ? 1 : 1 / factor;
        if (kind is not ("none" or "linear" or "yarn" or "longrope"))
            throw keys.Unsupported("rope.scaling.type", $"is '{kind}'");

        var yarn = kind == "yarn";
        var attention = keys.Number("rope.scaling.attn_factor", 1);
        if (yarn)
        {
            // YaRN scales attention by 0.1 ln(factor) + 1 (arXiv 2309.00071, section 3.4). ggml multiplies that
            // in itself when it extrapolates, so what it is handed is the scale divided by that same term.
            var term = 1 + (0.1f * MathF.Log(1 / scale));
            attention *= (scale >= 1 ? 1 : term) * (1 / term);
        }
        return new RopeParameters(mode, dimensions, keys.Count("rope.scaling.original_context_length", 1, int.MaxValue, fallback: trainingContext),
            keys.Positive("rope.freq_base", 10000), scale, yarn ? 1 : 0, attention, BetaFast: 32, BetaSlow: 1);
    }
    /// <summary>What the layers with a window have instead.</summary>
    public static RopeParameters OfWindow(Hyperparameters keys, SlidingWindow window, in RopeParameters others)
    {
        var rope = others with { FrequencyBase = keys.Positive("rope.freq_base_swa", window.FrequencyBase ?? others.FrequencyBase) };
        return window.Stretched ? rope : rope with { FrequencyScale = 1, ExtrapolationFactor = 0, AttentionFactor = 1 };
    }
}
