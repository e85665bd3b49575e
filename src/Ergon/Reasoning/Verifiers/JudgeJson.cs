using System.Text.Json.Serialization;

namespace Ergon.Reasoning.Verifiers;

/// <summary>A chat completion is asked for, as OpenAI's API has it; what is null is left out.</summary>
internal sealed record JudgeRequest(string Model, IReadOnlyList<JudgeMessage> Messages, double Temperature, int MaxTokens, bool? Logprobs, int? TopLogprobs);

internal sealed record JudgeMessage(string? Role, string? Content);

/// <summary>What comes back; servers may leave out anything.</summary>
internal sealed record JudgeResponse(IReadOnlyList<JudgeChoice>? Choices);

internal sealed record JudgeChoice(JudgeMessage? Message, JudgeProbabilities? Logprobs);

/// <summary>One entry for each token of the answer.</summary>
internal sealed record JudgeProbabilities(IReadOnlyList<JudgeToken>? Content);

/// <summary>The likeliest tokens in its place.</summary>
internal sealed record JudgeToken(IReadOnlyList<JudgeAlternative?>? TopLogprobs);

internal sealed record JudgeAlternative(string? Token, double Logprob);

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower, DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull)]
[JsonSerializable(typeof(JudgeRequest))]
[JsonSerializable(typeof(JudgeResponse))]
internal sealed partial class JudgeJson : JsonSerializerContext;
