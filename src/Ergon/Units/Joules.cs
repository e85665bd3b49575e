using System.Globalization;

namespace Ergon.Units;

/// <summary>Energy in joules.</summary>
/// <param name="Value">How many.</param>
public readonly record struct Joules(double Value) : IComparable<Joules>
{
    /// <summary>None.</summary>
    public static Joules Zero => default;

    /// <summary>The sum.</summary>
    public static Joules operator +(Joules a, Joules b) => new(a.Value + b.Value);

    /// <summary>The difference.</summary>
    public static Joules operator -(Joules a, Joules b) => new(a.Value - b.Value);

    /// <summary>A multiple.</summary>
    public static Joules operator *(Joules a, double factor) => new(a.Value * factor);

    /// <summary>A multiple.</summary>
    public static Joules operator *(double factor, Joules a) => new(a.Value * factor);

    /// <summary>A part.</summary>
    public static Joules operator /(Joules a, double divisor) => new(a.Value / divisor);

    /// <summary>The ratio.</summary>
    public static double operator /(Joules a, Joules b) => a.Value / b.Value;

    /// <summary>The power that gives this energy in that time.</summary>
    public static Watts operator /(Joules energy, Seconds time) => new(energy.Value / time.Value);

    /// <summary>The time in which this energy is used at that power.</summary>
    public static Seconds operator /(Joules energy, Watts power) => new(energy.Value / power.Value);

    /// <summary>Whether <paramref name="a"/> is less.</summary>
    public static bool operator <(Joules a, Joules b) => a.Value < b.Value;

    /// <summary>Whether <paramref name="a"/> is more.</summary>
    public static bool operator >(Joules a, Joules b) => a.Value > b.Value;

    /// <summary>Whether <paramref name="a"/> is not more.</summary>
    public static bool operator <=(Joules a, Joules b) => a.Value <= b.Value;

    /// <summary>Whether <paramref name="a"/> is not less.</summary>
    public static bool operator >=(Joules a, Joules b) => a.Value >= b.Value;

    /// <inheritdoc/>
    public int CompareTo(Joules other) => Value.CompareTo(other.Value);

    /// <summary>The number with its unit, in the invariant culture.</summary>
    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"{Value} J");
}
