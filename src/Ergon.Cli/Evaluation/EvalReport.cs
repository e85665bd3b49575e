using System.Net;
using Ergon.Reasoning.Evaluation;

namespace Ergon.Cli.Evaluation;

/// <summary>What a report shows.</summary>
/// <param name="Result">All figures.</param>
/// <param name="Model">The model's name.</param>
/// <param name="Settings">What the draws depend on.</param>
/// <param name="Live">Whether a policy ended the problems' draws itself.</param>
/// <param name="Data">The data set's file name; <see langword="null"/> where problems are generated.</param>
internal sealed record ReportData(EvalResult Result, string Model, EvaluationSettings Settings, bool Live, string? Data);

/// <summary>An evaluation as one page that needs nothing from outside: figures as JSON, the chart library, and the script that draws them (folder web).</summary>
internal static class EvalReport
{
    /// <summary>Finds out before hours of work whether the page can be written.</summary>
    /// <exception cref="ErgonException">It cannot.</exception>
    public static void RequireWritable(string path) => Guarded(path, () =>
    {
        var isNew = !File.Exists(path);
        File.Open(path, FileMode.OpenOrCreate, FileAccess.Write).Dispose();
        if (isNew)
            File.Delete(path);
    });

    /// <summary>Writes the page.</summary>
    /// <exception cref="ErgonException">It cannot be written.</exception>
    public static void Write(string path, ReportData data) => Guarded(path, () => File.WriteAllText(path, Page(data)));

    /// <summary>The page.</summary>
    public static string Page(ReportData data)
    {
        // In a script only the end tag of a script ends it.
        var json = CliJson.Text(data).Replace("<", "\\u003c", StringComparison.Ordinal);
        var library = string.Join('\n', Resource("chart.js").Split('\n').Where(line => !line.StartsWith("//# sourceMappingURL", StringComparison.Ordinal)));
        return Resource("report.html").Replace("{{title}}", WebUtility.HtmlEncode($"{data.Model} on {data.Result.Task}"), StringComparison.Ordinal)
            .Replace("{{chart.js}}", library, StringComparison.Ordinal).Replace("{{report.js}}", Resource("report.js"), StringComparison.Ordinal)
            .Replace("{{data}}", json, StringComparison.Ordinal);
    }

    private static string Resource(string name)
    {
        using var reader = new StreamReader(typeof(EvalReport).Assembly.GetManifestResourceStream(name)!);
        return reader.ReadToEnd();
    }

    private static void Guarded(string path, Action write)
    {
        try
        {
            write();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or ArgumentException)
        {
            throw new ErgonException($"--report is '{path}', which cannot be written ({e.Message.TrimEnd('.')}); name a file in a folder that exists.", e);
        }
    }
}
