using System.Globalization;
using System.Text.RegularExpressions;

namespace Ergon.Reasoning.Tasks;

/// <summary>Numbers as answers: <c>$1,200.50</c> and <c>1200.5</c> are one.</summary>
internal static partial class NumericAnswers
{
    /// <summary>The number after the last <c>####</c>; in a text without that mark the one that "the answer is" announces last, otherwise its last number. <see langword="null"/> where there is none.</summary>
    public static string? Extract(string text)
    {
        var mark = text.LastIndexOf("####", StringComparison.Ordinal);
        if (mark >= 0)
            return Number().Match(text, mark + 4) is { Success: true } marked && text.AsSpan((mark + 4)..marked.Index).Trim().Length == 0 ? Canonical(marked.Value) : null;
        if (Announced().Matches(text) is { Count: > 0 } announced)
            return Canonical(announced[^1].Groups["number"].Value);
        return Number().Matches(text) is { Count: > 0 } numbers ? Canonical(numbers[^1].Value) : null;
    }

    /// <summary>A number's canonical form, or <see langword="null"/> where it is none that 28 digits hold: no commas, currency, percent or superfluous zeros.</summary>
    public static string? Canonical(string text)
    {
        var plain = text.Replace(",", "", StringComparison.Ordinal).Replace("$", "", StringComparison.Ordinal).Trim().TrimEnd('%', '.').Trim();
        return decimal.TryParse(plain, NumberStyles.AllowLeadingSign | NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out var value)
            ? Canonical(value) : null;
    }

    /// <inheritdoc cref="Canonical(string)"/>
    public static string Canonical(decimal value) => (value == 0 ? 0 : value).ToString("0.############################", CultureInfo.InvariantCulture);

    // A minus that follows a digit is an operator: 16-3 ends in 3.
    private const string Pattern = @"(?:(?<![\d)])-)?\$?(?:(?<=\$)-)?(?:(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|\.\d+)";

    [GeneratedRegex(Pattern, RegexOptions.CultureInvariant)]
    private static partial Regex Number();

    [GeneratedRegex(@"answer(?:\s+is|\s*[:=])[^\d$.-]{0,20}(?<number>" + Pattern + ")", RegexOptions.IgnoreCase | RegexOptions.CultureInvariant)]
    private static partial Regex Announced();
}
