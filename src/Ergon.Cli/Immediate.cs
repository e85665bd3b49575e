namespace Ergon.Cli;

/// <summary>Progress that is handled where it is reported: <see cref="Progress{T}"/> would print it later and out of order.</summary>
internal sealed class Immediate<T>(Action<T> handle) : IProgress<T>
{
    public void Report(T value) => handle(value);
}
