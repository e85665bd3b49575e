using System.Globalization;

namespace Ergon.Units;

/// <summary>A clock in hertz.</summary>
/// <param name="Value">How many.</param>
public readonly record struct Hertz(double Value) : IComparable<Hertz>
{
    /// <summary>None.</summary>
    public static Hertz Zero => default;

    /// <summary>The sum.</summary>
    public static Hertz operator +(Hertz a, Hertz b) => new(a.Value + b.Value);

    /// <summary>The difference.</summary>
    public static Hertz operator -(Hertz a, Hertz b) => new(a.Value - b.Value);

    /// <summary>A multiple.</summary>
    public static Hertz operator *(Hertz a, double factor) => new(a.Value * factor);

    /// <summary>A multiple.</summary>
    public static Hertz operator *(double factor, Hertz a) => new(a.Value * factor);

    /// <summary>A part.</summary>
    public static Hertz operator /(Hertz a, double divisor) => new(a.Value / divisor);

    /// <summary>The ratio.</summary>
    public static double operator /(Hertz a, Hertz b) => a.Value / b.Value;

    /// <summary>Whether <paramref name="a"/> is less.</summary>
    public static bool operator <(Hertz a, Hertz b) => a.Value < b.Value;

    /// <summary>Whether <paramref name="a"/> is more.</summary>
    public static bool operator >(Hertz a, Hertz b) => a.Value > b.Value;

    /// <summary>Whether <paramref name="a"/> is not more.</summary>
    public static bool operator <=(Hertz a, Hertz b) => a.Value <= b.Value;

    /// <summary>Whether <paramref name="a"/> is not less.</summary>
    public static bool operator >=(Hertz a, Hertz b) => a.Value >= b.Value;

    /// <inheritdoc/>
    public int CompareTo(Hertz other) => Value.CompareTo(other.Value);

    /// <summary>The number with its unit, in the invariant culture.</summary>
    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"{Value} Hz");
}
