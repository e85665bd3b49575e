using System.Globalization;

namespace Ergon.Units;

/// <summary>Power in watts.</summary>
/// <param name="Value">How many.</param>
public readonly record struct Watts(double Value) : IComparable<Watts>
{
    /// <summary>None.</summary>
    public static Watts Zero => default;

    /// <summary>The sum.</summary>
    public static Watts operator +(Watts a, Watts b) => new(a.Value + b.Value);

    /// <summary>The difference.</summary>
    public static Watts operator -(Watts a, Watts b) => new(a.Value - b.Value);

    /// <summary>A multiple.</summary>
    public static Watts operator *(Watts a, double factor) => new(a.Value * factor);

    /// <summary>A multiple.</summary>
    public static Watts operator *(double factor, Watts a) => new(a.Value * factor);

    /// <summary>A part.</summary>
    public static Watts operator /(Watts a, double divisor) => new(a.Value / divisor);

    /// <summary>The ratio.</summary>
    public static double operator /(Watts a, Watts b) => a.Value / b.Value;

    /// <summary>The energy that this power gives in that time.</summary>
    public static Joules operator *(Watts power, Seconds time) => new(power.Value * time.Value);

    /// <summary>Whether <paramref name="a"/> is less.</summary>
    public static bool operator <(Watts a, Watts b) => a.Value < b.Value;

    /// <summary>Whether <paramref name="a"/> is more.</summary>
    public static bool operator >(Watts a, Watts b) => a.Value > b.Value;

    /// <summary>Whether <paramref name="a"/> is not more.</summary>
    public static bool operator <=(Watts a, Watts b) => a.Value <= b.Value;

    /// <summary>Whether <paramref name="a"/> is not less.</summary>
    public static bool operator >=(Watts a, Watts b) => a.Value >= b.Value;

    /// <inheritdoc/>
    public int CompareTo(Watts other) => Value.CompareTo(other.Value);

    /// <summary>The number with its unit, in the invariant culture.</summary>
    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"{Value} W");
}
