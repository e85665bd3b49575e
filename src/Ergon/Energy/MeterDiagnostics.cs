using Microsoft.Extensions.Logging;

namespace Ergon.Energy;

/// <summary>Something a meter met that a person should know.</summary>
/// <param name="Path">The file or function at fault.</param>
/// <param name="Problem">What is wrong with it.</param>
public sealed record MeterProblem(string Path, string Problem);

/// <summary>Problems of meters, each said once. Thread-safe.</summary>
/// <param name="logger">Receives each as a warning; <see langword="null"/> only collects them.</param>
internal sealed partial class MeterDiagnostics(ILogger? logger = null)
{
    private readonly Lock _gate = new();
    private readonly HashSet<(string Path, string Kind)> _said = [];
    private readonly List<MeterProblem> _problems = [];

    public IReadOnlyList<MeterProblem> Problems
    {
        get
        {
            lock (_gate)
                return [.. _problems];
        }
    }

    /// <summary>Says a problem unless the file has shown this kind before.</summary>
    /// <param name="path">The file or function at fault.</param>
    /// <param name="kind">What the problem is called, without the figures that differ from time to time.</param>
    /// <param name="problem">The whole of it.</param>
    public void Say(string path, string kind, string problem)
    {
        lock (_gate)
        {
            if (!_said.Add((path, kind)))
                return;
            _problems.Add(new MeterProblem(path, problem));
        }
        if (logger is not null)
            Problem(logger, path, problem);
    }

    [LoggerMessage(LogLevel.Warning, "{Path}: {Problem}")]
    private static partial void Problem(ILogger logger, string path, string problem);
}
