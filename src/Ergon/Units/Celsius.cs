using System.Globalization;

namespace Ergon.Units;

/// <summary>A temperature in degrees Celsius. Differences of temperatures are plain numbers of kelvin.</summary>
/// <param name="Value">Degrees.</param>
public readonly record struct Celsius(double Value) : IComparable<Celsius>
{
    /// <summary>How many kelvin <paramref name="a"/> is warmer.</summary>
    public static double operator -(Celsius a, Celsius b) => a.Value - b.Value;

    /// <summary>The temperature so many kelvin above.</summary>
    public static Celsius operator +(Celsius a, double kelvin) => new(a.Value + kelvin);

    /// <summary>Whether <paramref name="a"/> is colder.</summary>
    public static bool operator <(Celsius a, Celsius b) => a.Value < b.Value;

    /// <summary>Whether <paramref name="a"/> is warmer.</summary>
    public static bool operator >(Celsius a, Celsius b) => a.Value > b.Value;

    /// <summary>Whether <paramref name="a"/> is not warmer.</summary>
    public static bool operator <=(Celsius a, Celsius b) => a.Value <= b.Value;

    /// <summary>Whether <paramref name="a"/> is not colder.</summary>
    public static bool operator >=(Celsius a, Celsius b) => a.Value >= b.Value;

    /// <inheritdoc/>
    public int CompareTo(Celsius other) => Value.CompareTo(other.Value);

    /// <summary>The number with its unit, in the invariant culture.</summary>
    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"{Value} °C");
}
