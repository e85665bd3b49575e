using System.Text.RegularExpressions;

namespace Ergon.Models.Store;

/// <summary>What a model's file name says: its quantization, and its place in a split model.</summary>
internal static partial class Quantization
{
    // Small enough for an edge device and close to the original first; then what loses less.
    private static readonly string[] Preferred = ["Q4_K_M", "Q8_0", "Q4_K_S", "Q5_K_M", "Q6_K", "Q4_0", "F16", "BF16"];

    /// <summary>The quantization at the end of a file name, as in <c>Q4_K_M</c>; null when it names none.</summary>
    public static string? Of(string path) =>
        Suffix().Match(NameOf(path)) is { Success: true } match ? match.Groups["quant"].Value.ToUpperInvariant() : null;

    /// <summary>A model's name: its file name without extension and without the number of a split.</summary>
    public static string NameOf(string path)
    {
        var name = Path.GetFileNameWithoutExtension(path);
        return Split().Match(name) is { Success: true } split ? name[..split.Index] : name;
    }

    /// <summary>All files of the model that <paramref name="path"/> belongs to, in order.</summary>
    public static IReadOnlyList<string> SplitsOf(string path)
    {
        var stem = Path.ChangeExtension(path, null);
        if (Split().Match(stem) is not { Success: true } split)
            return [path];
        var count = int.Parse(split.Groups["count"].ValueSpan);
        return [.. Enumerable.Range(1, count).Select(n => $"{stem[..split.Index]}-{n:D5}-of-{count:D5}{Path.GetExtension(path)}")];
    }

    /// <summary>Chooses one model of a repository.</summary>
    /// <param name="paths">Its GGUF files.</param>
    /// <param name="wanted">A quantization, in any case; null for the best known one.</param>
    /// <param name="repository">Named in errors.</param>
    /// <returns>The first file of the model.</returns>
    /// <exception cref="ErgonException">Nothing fits, or several do.</exception>
    public static string Choose(IEnumerable<string> paths, string? wanted, string repository)
    {
        // Projectors and importance matrices lie beside the models they belong to.
        var models = paths
            .Where(path => !Companion().IsMatch(Path.GetFileName(path)))
            .Where(path => SplitsOf(path)[0] == path)
            .ToList();
        if (models.Count == 0)
            throw new ErgonException($"The repository {repository} holds no GGUF model.");

        var fitting = wanted is null
            ? Preferred.Select(q => models.FindAll(path => Of(path) == q)).FirstOrDefault(found => found.Count > 0) ?? models
            : models.FindAll(path => string.Equals(Of(path), wanted, StringComparison.OrdinalIgnoreCase));
        return fitting.Count == 1
            ? fitting[0]
            : throw new ErgonException(fitting.Count == 0
                ? $"The repository {repository} has no {wanted}; it has {Listed(models)}."
                : $"The repository {repository} has several models that fit ({string.Join(", ", fitting)}); pull one by its address.");
    }

    private static string Listed(List<string> models) =>
        string.Join(", ", models.Select(path => Of(path) ?? Path.GetFileName(path)).Distinct().Order(StringComparer.Ordinal));

    [GeneratedRegex(@"(^|[-._])(?<quant>(UD-)?(I?Q\d\w*|TQ\d_\d|B?F16|F32|FP16|MXFP4\w*))$", RegexOptions.IgnoreCase)]
    private static partial Regex Suffix();

    [GeneratedRegex(@"-\d{5}-of-(?<count>\d{5})$")]
    private static partial Regex Split();

    [GeneratedRegex("^mmproj|imatrix", RegexOptions.IgnoreCase)]
    private static partial Regex Companion();
}
