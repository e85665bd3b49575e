using System.Text.Json.Serialization;

namespace Ergon.Runtime;

/// <summary>What a process does and draws at present; "recent" is the last five seconds. docs/cli.md shows it as JSON.</summary>
/// <param name="Pid">The process.</param>
/// <param name="Model">The model's name; <see langword="null"/> before it is loaded.</param>
/// <param name="Devices">The processor, and the devices that the model runs on.</param>
/// <param name="OpenRequests">Requests that are metered and have not ended.</param>
/// <param name="Totals">Since the process began to meter; <see langword="null"/> of one that does not answer.</param>
internal sealed record EnergyStatus(int Pid, string? Model, IReadOnlyList<DeviceStatus> Devices, int OpenRequests, StatusTotals? Totals);

/// <summary>A device of a process, or of a machine where nothing runs.</summary>
/// <param name="Name">As <c>ergon devices</c> has it; of a machine, the meter's own name.</param>
/// <param name="Watts">Recent mean power by the meters that show the device, idle draw and other programs' included; <see langword="null"/> when unknown.</param>
/// <param name="Celsius">The hottest of its sensors; <see langword="null"/> when unknown.</param>
/// <param name="TokensPerSecond">Tokens decoded, of all requests, over recent time, waiting included.</param>
/// <param name="PromptRowsPerSecond">Likewise tokens of prompts and of texts that were embedded.</param>
/// <param name="JoulesPerToken">The ratio of the two; <see langword="null"/> where nothing was decoded or power is unknown.</param>
/// <param name="Source">The meters, joined by <c>+</c>; <see langword="null"/> where there is none.</param>
/// <param name="Reason">Why power is unknown, or modelled.</param>
internal sealed record DeviceStatus(string Name, double? Watts, double? Celsius, double TokensPerSecond, double PromptRowsPerSecond, double? JoulesPerToken, string? Source, string? Reason);

/// <summary>What the ledger has divided, some seconds behind the meters, and the tokens decoded.</summary>
/// <param name="Joules">All that was drawn: the sum of the next three.</param>
/// <param name="RequestJoules">For requests.</param>
/// <param name="LoadingJoules">For loading the model.</param>
/// <param name="UnattributedJoules">For nobody.</param>
/// <param name="Tokens">Rows decoded; the first token of an answer comes out of its prompt's pass and is not counted.</param>
internal sealed record StatusTotals(double Joules, double RequestJoules, double LoadingJoules, double UnattributedJoules, long Tokens);

/// <summary>The lines of a status socket.</summary>
[JsonSerializable(typeof(EnergyStatus))]
[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower)]
internal sealed partial class StatusJson : JsonSerializerContext;
