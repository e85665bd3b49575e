using Ergon.Units;

namespace Ergon.Energy.Sensors;

/// <summary>What a sensor said: a count, a power, or why neither.</summary>
internal readonly record struct SensorSample
{
    public bool IsCount { get; private init; }

    /// <summary>Of an energy counter, in its own unit.</summary>
    public long Count { get; private init; }

    public Watts Power { get; private init; }

    /// <summary>The file or function at fault.</summary>
    public string? FaultPath { get; private init; }

    public string? Fault { get; private init; }

    public static SensorSample OfCount(long count) => new() { IsCount = true, Count = count };

    public static SensorSample OfPower(Watts power) => new() { Power = power };

    public static SensorSample Failed(string path, string fault) => new() { FaultPath = path, Fault = fault };
}

/// <summary>A place where the machine tells energy or power; <see cref="EnergyMeter"/> makes a meter of it.</summary>
internal abstract class EnergySensor
{
    /// <summary>The meter's name in <c>measured:name</c>.</summary>
    public required string Name { get; init; }

    public required string Device { get; init; }

    public required EnergyDomain Domain { get; init; }

    /// <summary>The file or function that is read, for messages.</summary>
    public required string Path { get; init; }

    /// <summary>More than this is a wrong reading, not a draw.</summary>
    public required Watts Limit { get; init; }

    /// <summary>How often it is worth reading.</summary>
    public TimeSpan Interval { get; init; } = TimeSpan.FromMilliseconds(100);

    /// <summary>It is never read more often than this.</summary>
    public TimeSpan Floor { get; init; }

    /// <summary>A value that stays the same to the last digit for so long is a sensor that stands still.</summary>
    public TimeSpan FrozenAfter { get; init; } = TimeSpan.FromMinutes(1);

    /// <summary>Whether nothing at all can be true: a GPU that sleeps draws nothing, a board that answers does.</summary>
    public bool MayBeZero { get; init; }

    /// <summary>Whether the figure holds the processor's energy too.</summary>
    public bool IncludesCpu { get; init; }

    /// <summary>A counter's joules for each count.</summary>
    public double JoulesPerCount { get; init; }

    /// <summary>A counter restarts after this many counts; 0 when it never does.</summary>
    public long Range { get; init; }

    public abstract SensorSample Read();
}

/// <summary>A sensor that is a function.</summary>
internal sealed class DelegateSensor(Func<SensorSample> read) : EnergySensor
{
    public override SensorSample Read() => read();
}
