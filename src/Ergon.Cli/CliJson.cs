using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Serialization;
using System.Text.Json.Serialization.Metadata;
using Ergon.Cli.Bench;
using Ergon.Cli.Evaluation;
using Ergon.Runtime;
using Ergon.Runtime.Plans;

namespace Ergon.Cli;

/// <summary>The JSON that <c>--json</c> prints: snake_case, one object on one line; docs/cli.md shows each.</summary>
[JsonSerializable(typeof(RunResult))]
[JsonSerializable(typeof(ModelList))]
[JsonSerializable(typeof(PullResult))]
[JsonSerializable(typeof(ModelReport))]
[JsonSerializable(typeof(TokenList))]
[JsonSerializable(typeof(EmbeddingList))]
[JsonSerializable(typeof(DeviceList))]
[JsonSerializable(typeof(NativeList))]
[JsonSerializable(typeof(DoctorReport))]
[JsonSerializable(typeof(PerplexityFigure))]
[JsonSerializable(typeof(EvalResult))]
[JsonSerializable(typeof(SolveReport))]
[JsonSerializable(typeof(ReportData))]
[JsonSerializable(typeof(BenchReport))]
[JsonSerializable(typeof(PredictionReport))]
[JsonSerializable(typeof(MeterOverhead))]
[JsonSerializable(typeof(PlanReport))]
[JsonSerializable(typeof(TopReport))]
[JsonSerializable(typeof(LawPoint))]
internal sealed partial class CliJson : JsonSerializerContext
{
    // Answers are mostly not ASCII in most of the world, and a terminal is no web page.
    private static readonly CliJson Readable = new(new JsonSerializerOptions
    {
        PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower,
        Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
    });

    public static void Write<T>(TextWriter output, T value) => output.WriteLine(Text(value));

    /// <summary>The same as text.</summary>
    public static string Text<T>(T value) => JsonSerializer.Serialize(value, (JsonTypeInfo<T>)Readable.GetTypeInfo(typeof(T))!);

    /// <summary>The object in a text that <see cref="Text"/> gave.</summary>
    /// <exception cref="JsonException">It is none.</exception>
    public static T Read<T>(string text) => JsonSerializer.Deserialize(text, (JsonTypeInfo<T>)Readable.GetTypeInfo(typeof(T))!) ?? throw new JsonException("It is null.");
}

internal sealed record RunResult(string Text, string FinishReason, Usage Usage, Timings Timings, IReadOnlyList<string> Devices, string Engine, EnergyFigures? Energy);

internal sealed record EnergyFigures(double? Joules, double? Watts, double? JoulesPerToken, double? PrefillJoules, double? DecodeJoules, double? IdleJoules, string? Source, string? Quality, string? Reason);

internal sealed record Usage(int PromptTokens, int CompletionTokens);

internal sealed record Timings(double LoadMs, double PromptTokensPerSecond, double TokensPerSecond, double? TimeToFirstTokenMs);

internal sealed record ModelList(IReadOnlyList<ListedModel> Models);

internal sealed record ListedModel(string Name, string FullName, string Path, long SizeBytes, bool Complete, bool Embedded, string? Source, string? Sha256);

internal sealed record PullResult(string Name, string Path, long SizeBytes, string? Sha256, bool AlreadyPresent);

internal sealed record ModelReport(
    string Path, string? Name, string? Architecture, bool Supported, string? Unsupported, string? Engine, int? TrainingContext, int? Layers,
    long Parameters, long TensorBytes, IReadOnlyDictionary<string, long> BytesPerType,
    IReadOnlyDictionary<string, string> Metadata, IReadOnlyList<TensorReport> Tensors);

internal sealed record TensorReport(string Name, string Type, IReadOnlyList<long> Shape, long Bytes);

internal sealed record TokenList(IReadOnlyList<int> Tokens);

internal sealed record EmbeddingList(IReadOnlyList<float[]> Embeddings, int Dimensions, int PromptTokens, EnergyFigures? Energy);

internal sealed record DeviceList(IReadOnlyList<ListedDevice> Devices);

internal sealed record ListedDevice(
    string Name, string Kind, string Description, string Backend, long? FreeBytes, long? TotalBytes, string Profile, bool Calibrated, double BytesPerSecond, double FlopsOneRow, double FlopsManyRows,
    double? Celsius, double? Watts, string? Meter, IReadOnlyList<string> Knobs);

internal sealed record NativeList(string LlamaCpp, string Package, string Platform, string Folder, IReadOnlyList<ListedFlavour> Flavours);

internal sealed record ListedFlavour(string Name, bool Added, string? Folder);

internal sealed record DoctorReport(IReadOnlyList<string> Meters, IReadOnlyList<DoctorFinding> Findings);

internal sealed record DoctorFinding(string Subject, bool Ok, string Text, string? Grant);

internal sealed record PerplexityFigure(double Perplexity, double StandardError, int Tokens, int Chunks);

internal sealed record PlanReport(
    IReadOnlyList<PlannedPoint> Front, PlannedPoint Chosen, string Objective, string Reason, bool Simulated, PlanPrediction Predicted, PlanActual? Actual, ExecutionPlan? Plan);

internal sealed record PlannedPoint(double JoulesPerToken, double SecondsPerToken, double Underutilisation, IReadOnlyList<PlannedRun> Assignment);

internal sealed record PlanPrediction(double JoulesPerToken, double SecondsPerToken, double LatencyPerToken, double Watts, IReadOnlyList<PlannedDevice> Devices);

internal sealed record PlannedDevice(string Device, double Busy, double DynamicJoulesPerToken, long ResidentBytes, double Cpq, double? Temperature, double? Clock);

internal sealed record TopReport(IReadOnlyList<EnergyStatus> Processes, IReadOnlyList<DeviceStatus>? Machine);
