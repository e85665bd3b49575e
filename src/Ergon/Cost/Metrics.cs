using Ergon.Units;

namespace Ergon.Cost;

/// <summary>Figures of efficiency, as docs/energy.md defines them. Division by nothing gives <see langword="null"/>, never 0 or infinity.</summary>
internal static class Metrics
{
    /// <summary>Intelligence per watt, accuracy / mean power, 1/W (Hazy Research's definition). It rewards slow devices of low power: print <see cref="Ipj"/> beside it.</summary>
    public static double? Ipw(double accuracy, Watts meanPower) => Ratio(accuracy, meanPower.Value);

    /// <summary>Intelligence per joule, accuracy / mean energy of a query, 1/J (Hazy Research's definition).</summary>
    public static double? Ipj(double accuracy, Joules perQuery) => Ratio(accuracy, perQuery.Value);

    /// <summary>Energy-coverage efficiency, pass@k / energy of the samples, 1/J. Ergon's own definition; not a calibration error.</summary>
    public static double? Ece(double coverage, Joules energy) => Ratio(coverage, energy.Value);

    /// <summary>Price-power-performance, tokens/s / (dollars x watts). Ergon's own definition.</summary>
    public static double? Ppp(double tokensPerSecond, double price, Watts power) => Ratio(tokensPerSecond, price * power.Value);

    /// <summary>Energy-delay product of a request, J s.</summary>
    public static double Edp(Joules energy, Seconds delay) => energy.Value * delay.Value;

    /// <summary>Energy of a token.</summary>
    public static Joules? PerToken(Joules energy, long tokens) => tokens > 0 ? energy / tokens : null;

    /// <summary>Tokens a joule.</summary>
    public static double? TokensPerJoule(long tokens, Joules energy) => Ratio(tokens, energy.Value);

    private static double? Ratio(double a, double b) => b > 0 ? a / b : null;
}
