using System.Globalization;

namespace Ergon.Units;

/// <summary>A duration in seconds: what a model of time computes with. Clocks give <see cref="TimeSpan"/>.</summary>
/// <param name="Value">How many.</param>
public readonly record struct Seconds(double Value) : IComparable<Seconds>
{
    /// <summary>None.</summary>
    public static Seconds Zero => default;

    /// <summary>The sum.</summary>
    public static Seconds operator +(Seconds a, Seconds b) => new(a.Value + b.Value);

    /// <summary>The difference.</summary>
    public static Seconds operator -(Seconds a, Seconds b) => new(a.Value - b.Value);

    /// <summary>A multiple.</summary>
    public static Seconds operator *(Seconds a, double factor) => new(a.Value * factor);

    /// <summary>A multiple.</summary>
    public static Seconds operator *(double factor, Seconds a) => new(a.Value * factor);

    /// <summary>A part.</summary>
    public static Seconds operator /(Seconds a, double divisor) => new(a.Value / divisor);

    /// <summary>The ratio.</summary>
    public static double operator /(Seconds a, Seconds b) => a.Value / b.Value;

    /// <summary>The same duration as a clock gives it.</summary>
    public static implicit operator Seconds(TimeSpan time) => new(time.TotalSeconds);

    /// <summary>The same duration as a clock takes it.</summary>
    public TimeSpan ToTimeSpan() => TimeSpan.FromSeconds(Value);

    /// <summary>The energy that a power gives in this time.</summary>
    public static Joules operator *(Seconds time, Watts power) => power * time;

    /// <summary>Whether <paramref name="a"/> is less.</summary>
    public static bool operator <(Seconds a, Seconds b) => a.Value < b.Value;

    /// <summary>Whether <paramref name="a"/> is more.</summary>
    public static bool operator >(Seconds a, Seconds b) => a.Value > b.Value;

    /// <summary>Whether <paramref name="a"/> is not more.</summary>
    public static bool operator <=(Seconds a, Seconds b) => a.Value <= b.Value;

    /// <summary>Whether <paramref name="a"/> is not less.</summary>
    public static bool operator >=(Seconds a, Seconds b) => a.Value >= b.Value;

    /// <inheritdoc/>
    public int CompareTo(Seconds other) => Value.CompareTo(other.Value);

    /// <summary>The number with its unit, in the invariant culture.</summary>
    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"{Value} s");
}
