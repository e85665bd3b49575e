using System.Globalization;

namespace Ergon.Cli;

/// <summary>Quantities as people read them.</summary>
internal static class Amount
{
    private static readonly string[] Prefixes = ["", "k", "M", "G", "T"];

    /// <summary>Bytes in decimal units, as disks and networks are sold: <c>1.3 GB</c>.</summary>
    public static string Bytes(long bytes) => Scaled(bytes) + "B";

    /// <summary>A count in thousands, millions: <c>4.0 M</c>.</summary>
    public static string Scaled(double value)
    {
        var step = 0;
        for (; value >= 999.95 && step < Prefixes.Length - 1; step++)
            value /= 1000;
        return string.Create(CultureInfo.InvariantCulture, $"{(step == 0 ? $"{value:F0}" : $"{value:F1}")} {Prefixes[step]}");
    }

    /// <summary>A count and its noun: <c>1 token</c>, <c>2 tokens</c>.</summary>
    public static string Count(long count, string noun) => $"{count} {noun}{(count == 1 ? "" : "s")}";
}
