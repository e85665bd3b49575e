using Ergon.Native.Tensors;

namespace Ergon.Models;

/// <summary>What differs between the layers of a model: which look back over a window, which have positions, which convolve.</summary>
internal sealed class LayerPattern
{
    private const int MaxConvolution = 16;

    private readonly RopeParameters? _rope, _windowRope;
    private readonly int _noRopePeriod;
    private readonly bool[] _windowed, _convolved;

    /// <param name="keys">The model's hyperparameters.</param>
    /// <param name="architecture">Its family.</param>
    /// <param name="layers">Its layers.</param>
    /// <param name="rope">Rotary positions of a layer without a window.</param>
    public LayerPattern(Hyperparameters keys, Architecture architecture, int layers, RopeParameters? rope)
    {
        _rope = rope;
        _noRopePeriod = architecture.RopeOptional && !keys.Flag("rope.scaling.finetuned", true) ? 1 : architecture.NoRopePeriod;
        _windowed = _convolved = new bool[layers];
        if (architecture.Window is { } window)
        {
            Window = keys.Count("attention.sliding_window", 0, int.MaxValue, fallback: window.Length ?? 0);
            _windowRope = RopeScaling.OfWindow(keys, window, rope!.Value);
            // A period of 0 means that all layers have a window, as in llama.cpp.
            if (keys.List("attention.sliding_window_pattern", layers) is { } pattern)
                _windowed = [.. pattern.Select(p => p != 0)];
            else if (keys.Count("attention.sliding_window_pattern", 0, int.MaxValue, fallback: window.Period) is var period)
                _windowed = [.. Enumerable.Range(0, layers).Select(i => period == 0 || i % period < period - 1)];
        }
        if (architecture.Convolutions && keys.List("attention.head_count_kv", layers) is { } heads)
        {
            _convolved = [.. heads.Select(h => h == 0)];
            ConvolutionLength = keys.Count("shortconv.l_cache", 2, MaxConvolution);
        }
    }

    /// <summary>Positions that the layers with a window look back over, their own included; 0 where no layer has one.</summary>
    public int Window { get; }

    /// <summary>Positions that a short convolution reads, its own included; 0 where no layer has one.</summary>
    public int ConvolutionLength { get; }

    /// <summary>Layers with a short convolution in attention's place.</summary>
    public int Convolutions => _convolved.Count(c => c);

    /// <summary>Whether a layer looks back over <see cref="Window"/> positions only.</summary>
    public bool HasWindow(int layer) => Window > 0 && _windowed[layer];

    /// <summary>Whether a layer has a short convolution in attention's place.</summary>
    public bool HasConvolution(int layer) => _convolved[layer];

    /// <summary>A layer's rotary positions; <see langword="null"/> where it has none.</summary>
    public RopeParameters? RopeOf(int layer) =>
        _noRopePeriod > 0 && (layer + 1) % _noRopePeriod == 0 ? null : HasWindow(layer) ? _windowRope : _rope;
}
