using System.Globalization;
using System.Text;

namespace Ergon.Models.Templates;

/// <summary>C's strftime in the C locale, for the directives that dates in prompts use.</summary>
internal static class Strftime
{
    public static string Format(DateTimeOffset now, string format)
    {
        var text = new StringBuilder();
        for (var i = 0; i < format.Length; i++)
        {
            if (format[i] != '%' || i + 1 == format.Length)
            {
                text.Append(format[i]);
                continue;
            }
            // glibc: "%-d" drops the padding.
            var bare = format[i + 1] == '-' && i + 2 < format.Length;
            i += bare ? 2 : 1;
            var field = Field(now, format[i]);
            text.Append(bare && field.TrimStart('0', ' ') is { Length: > 0 } trimmed ? trimmed : field);
        }
        return text.ToString();
    }

    private static string Field(DateTimeOffset now, char directive)
    {
        string As(string net) => now.ToString(net, CultureInfo.InvariantCulture);
        return directive switch
        {
            'Y' => As("yyyy"),
            'y' => As("yy"),
            'm' => As("MM"),
            'd' => As("dd"),
            'e' => now.Day.ToString(CultureInfo.InvariantCulture).PadLeft(2),
            'H' => As("HH"),
            'I' => As("hh"),
            'M' => As("mm"),
            'S' => As("ss"),
            'p' => As("tt"),
            'A' => As("dddd"),
            'a' => As("ddd"),
            'B' => As("MMMM"),
            'b' or 'h' => As("MMM"),
            'j' => now.DayOfYear.ToString("000", CultureInfo.InvariantCulture),
            'F' => As("yyyy-MM-dd"),
            'T' => As("HH:mm:ss"),
            'D' => As("MM/dd/yy"),
            'R' => As("HH:mm"),
            // transformers' clock is datetime.now(), which has no zone.
            'z' or 'Z' => "",
            '%' => "%",
            'n' => "\n",
            _ => throw new TemplateFault($"the date directive '%{directive}' is not supported. Use one of %Y %m %d %B %b %A %a %H %M %S."),
        };
    }
}
