using System.CommandLine;
using System.Globalization;
using Ergon.Inference;
using Ergon.Models;
using Ergon.Models.Gguf;
using Ergon.Models.Store;

namespace Ergon.Cli.Commands;

/// <summary><c>ergon inspect</c>: what a model file holds, and whether it runs here.</summary>
internal static class InspectCommand
{
    private const int ShownCharacters = 100;

    public static Verb Create(Terminal terminal)
    {
        var model = new Argument<string>("MODEL") { Description = "A path, a pulled or an embedded name" };
        var json = Settings.Json();
        return new Verb("inspect", "Show a model's metadata, tensors, sizes, and what is not supported and why",
            "ergon inspect words-l", "ergon inspect model.gguf --json")
        { model, json }.Does(parsed =>
        {
            var file = GgufFile.OpenContainer(ModelStore.OfUser().Resolve(parsed.GetValue(model)!));
            var report = Report(file);
            if (parsed.GetValue(json))
                CliJson.Write(terminal.Out, report);
            else
                Print(terminal.Out, report);
            return Exit.Ok;
        });
    }

    private static ModelReport Report(GgufFile file)
    {
        ModelDescription? description = null;
        ModelInfo? other = null;
        string? unsupported = null;
        try
        {
            description = ModelDescription.Read(file);
        }
        catch (ErgonException e)
        {
            unsupported = e.Message;
            // libllama has the last word when it loads the model.
            if (e is UnsupportedModelException && file.GetString("general.architecture") is var name && LibllamaNames.Architectures.Contains(name) && Architecture.Find(name) is not { Encoder: true })
                other = Whole(file);
        }
        return new ModelReport(
            file.Path, Text(file, "general.name"), Text(file, "general.architecture"), description is not null, unsupported,
            description is not null ? EngineSettings.NameOf(EngineChoice.Ergon) : other is not null ? EngineSettings.NameOf(EngineChoice.Libllama) : null,
            (description ?? other)?.TrainingContext, (description ?? other)?.LayerCount,
            file.Tensors.Sum(t => t.Elements), file.Tensors.Sum(t => t.Bytes),
            file.Tensors.GroupBy(t => t.Type.ToString()).OrderByDescending(g => g.Sum(t => t.Bytes)).ToDictionary(g => g.Key, g => g.Sum(t => t.Bytes)),
            file.Keys.ToDictionary(key => key, key => Value(file, key)),
            [.. file.Tensors.Select(t => new TensorReport(t.Name, t.Type.ToString(), Shape(t), t.Bytes))]);
    }

    private static WholeModel? Whole(GgufFile file)
    {
        try
        {
            return new WholeModel(file);
        }
        catch (GgufException)
        {
            return null;
        }
    }

    private static void Print(TextWriter output, ModelReport report)
    {
        Columns.Write(output,
            ["file", report.Path],
            ["name", report.Name ?? "(none)"],
            ["architecture", report.Architecture ?? "(none)"],
            ["supported", report.Supported ? "yes" : $"{(report.Engine is null ? "no" : "by libllama as a whole, not by Ergon's graph")}: {report.Unsupported}"],
            ["parameters", Amount.Scaled(report.Parameters).TrimEnd()],
            ["tensors", $"{report.Tensors.Count}, {Amount.Bytes(report.TensorBytes)} ({string.Join(", ", report.BytesPerType.Select(t => $"{t.Key} {Amount.Bytes(t.Value)}"))})"]);
        output.WriteLine();
        Columns.Write(output, [.. report.Metadata.Select(m => new[] { m.Key, m.Value })]);
        output.WriteLine();
        Columns.Write(output, [.. report.Tensors.Select(t => new[] { t.Name, t.Type, string.Join(" x ", t.Shape), Amount.Bytes(t.Bytes) })]);
    }

    private static string? Text(GgufFile file, string key) =>
        file.FindEntry(key)?.Type == GgufValueType.String ? file.FindString(key) : null;

    private static long[] Shape(GgufTensor tensor)
    {
        var used = 4;
        while (used > 1 && tensor.Ne[used - 1] == 1)
            used--;
        return [.. tensor.Ne.Take(used)];
    }

    private static string Value(GgufFile file, string key)
    {
        var entry = file.FindEntry(key)!.Value;
        return entry.Type switch
        {
            GgufValueType.String => Shortened(file.FindString(key)!),
            GgufValueType.Array => $"{entry.TypeName}, {Amount.Count(entry.Count, "element")}",
            GgufValueType.Bool => entry.Bits != 0 ? "true" : "false",
            GgufValueType.Float32 or GgufValueType.Float64 => file.FindFloat(key)!.Value.ToString(CultureInfo.InvariantCulture),
            GgufValueType.Int8 => ((sbyte)entry.Bits).ToString(CultureInfo.InvariantCulture),
            GgufValueType.Int16 => ((short)entry.Bits).ToString(CultureInfo.InvariantCulture),
            GgufValueType.Int32 => ((int)entry.Bits).ToString(CultureInfo.InvariantCulture),
            GgufValueType.Int64 => ((long)entry.Bits).ToString(CultureInfo.InvariantCulture),
            _ => entry.Bits.ToString(CultureInfo.InvariantCulture),
        };
    }

    // A file's text may hold anything: control characters would reach the terminal.
    private static string Shortened(string text)
    {
        var line = string.Concat(text.Take(ShownCharacters).Select(c => c == '\n' ? "\\n" : char.IsControl(c) ? "\uFFFD" : c.ToString()));
        return text.Length > ShownCharacters ? $"{line}... ({text.Length} characters)" : line;
    }
}
