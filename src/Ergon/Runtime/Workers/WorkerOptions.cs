namespace Ergon.Runtime.Workers;

/// <summary>How a worker process is started and watched.</summary>
public sealed record WorkerOptions
{
    /// <summary>The worker's command: an executable and its arguments, such as <c>ergon dev worker</c>.</summary>
    public required IReadOnlyList<string> Command { get; init; }

    /// <summary>
    /// A worker with work to do that says nothing for so long is ended and restarted. It must be longer than the
    /// longest pass, 512 prompt tokens, takes. Default a minute.
    /// </summary>
    public TimeSpan Deadline { get; init; } = TimeSpan.FromMinutes(1);

    /// <summary>How long starting and loading the model may take. Default ten minutes.</summary>
    public TimeSpan LoadDeadline { get; init; } = TimeSpan.FromMinutes(10);

    /// <summary>
    /// How often a generation may lose its worker without a token in between before it fails, and how often a start
    /// may fail before the host gives up. Default 3.
    /// </summary>
    public int MaxRestarts { get; init; } = 3;

    internal void Validate()
    {
        if (Command.Count == 0)
            throw new ErgonException("The worker's command is empty; name an executable.");
        if (Deadline <= TimeSpan.Zero || LoadDeadline <= TimeSpan.Zero)
            throw new ErgonException($"The worker's deadlines are {Deadline} and {LoadDeadline}, but must be above zero.");
        if (MaxRestarts < 0)
            throw new ErgonException($"The number of restarts is {MaxRestarts}, but must be 0 or more.");
    }
}
