using System.CommandLine;
using System.CommandLine.Parsing;
using System.Globalization;

namespace Ergon.Cli;

/// <summary>Options whose values are checked while the line is read, before a model is loaded.</summary>
internal static class Settings
{
    /// <summary>A whole number in a range.</summary>
    public static Option<int?> Whole(string name, string? alias, string description, int min, int max = int.MaxValue) =>
        Of(name, alias, description, "N", text =>
            int.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out var value) && value >= min && value <= max ? value : (int?)null,
            max == int.MaxValue ? $"a whole number, {min} or more" : $"a whole number, {min} to {max}");

    /// <summary>A number for which <paramref name="fits"/> holds.</summary>
    public static Option<float?> Number(string name, string description, string range, Func<float, bool> fits) =>
        Of(name, null, description, "X", text =>
            float.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out var value) && float.IsFinite(value) && fits(value) ? value : (float?)null,
            range);

    /// <summary>A value of an enumeration, in any case.</summary>
    public static Option<T?> Choice<T>(string name, string description) where T : struct, Enum =>
        Of(name, null, description, string.Join('|', Enum.GetNames<T>()).ToLowerInvariant(), text =>
            Enum.GetNames<T>().Contains(text, StringComparer.OrdinalIgnoreCase) ? Enum.Parse<T>(text, ignoreCase: true) : (T?)null,
            $"one of {string.Join(", ", Enum.GetNames<T>()).ToLowerInvariant()}");

    /// <summary>Text, as typed.</summary>
    public static Option<string?> Text(string name, string placeholder, string description) =>
        new(name) { Description = description, HelpName = placeholder };

    /// <summary>Word problems whose steps nobody checks.</summary>
    public static Option<bool> Unchecked() => new("--unchecked") { Description = "Leave worked steps unchecked, as they are in most tasks" };

    /// <summary>The results as one JSON object.</summary>
    public static Option<bool> Json() => new("--json") { Description = "Print the result as one JSON object" };

    private static Option<T?> Of<T>(string name, string? alias, string description, string placeholder, Func<string, T?> parse, string range) where T : struct
    {
        T? Parse(ArgumentResult argument)
        {
            var text = argument.Tokens.Count > 0 ? argument.Tokens[^1].Value : "";
            if (parse(text) is { } value)
                return value;
            argument.AddError($"{name} is '{text}', but must be {range}.");
            return null;
        }
        return new Option<T?>(name, alias is null ? [] : [alias]) { Description = description, HelpName = placeholder, CustomParser = Parse };
    }
}
