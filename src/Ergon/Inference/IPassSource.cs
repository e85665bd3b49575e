using Ergon.Models;

namespace Ergon.Inference;

/// <summary>A loaded model that tells of its passes: one that generates, or one that embeds.</summary>
internal interface IPassSource
{
    /// <summary>The model.</summary>
    ModelInfo Description { get; }

    /// <summary>The names of the devices it runs on, as <see cref="SegmentReport.Device"/> gives them.</summary>
    IReadOnlyList<string> Devices { get; }

    /// <summary>Told of each pass, on the engine's thread, before what it gave is.</summary>
    event Action<PassReport>? PassCompleted;

    /// <summary>Runs <paramref name="action"/> on the engine's thread, where no pass is unreported.</summary>
    /// <exception cref="ObjectDisposedException">The engine is gone.</exception>
    Task<T> BetweenPassesAsync<T>(Func<T> action);
}
