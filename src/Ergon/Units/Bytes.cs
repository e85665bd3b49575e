using System.Globalization;

namespace Ergon.Units;

/// <summary>An amount of memory, or of memory traffic, in bytes.</summary>
/// <param name="Value">How many.</param>
public readonly record struct Bytes(long Value) : IComparable<Bytes>
{
    /// <summary>None.</summary>
    public static Bytes Zero => default;

    /// <summary>The sum.</summary>
    public static Bytes operator +(Bytes a, Bytes b) => new(checked(a.Value + b.Value));

    /// <summary>The difference.</summary>
    public static Bytes operator -(Bytes a, Bytes b) => new(a.Value - b.Value);

    /// <summary>The ratio.</summary>
    public static double operator /(Bytes a, Bytes b) => (double)a.Value / b.Value;

    /// <summary>Whether <paramref name="a"/> is less.</summary>
    public static bool operator <(Bytes a, Bytes b) => a.Value < b.Value;

    /// <summary>Whether <paramref name="a"/> is more.</summary>
    public static bool operator >(Bytes a, Bytes b) => a.Value > b.Value;

    /// <summary>Whether <paramref name="a"/> is not more.</summary>
    public static bool operator <=(Bytes a, Bytes b) => a.Value <= b.Value;

    /// <summary>Whether <paramref name="a"/> is not less.</summary>
    public static bool operator >=(Bytes a, Bytes b) => a.Value >= b.Value;

    /// <inheritdoc/>
    public int CompareTo(Bytes other) => Value.CompareTo(other.Value);

    /// <summary>The number with its unit, in the invariant culture.</summary>
    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"{Value} B");
}
