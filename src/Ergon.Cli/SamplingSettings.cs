using System.CommandLine;
using System.Globalization;
using System.Text.Json;
using Ergon.Inference;
using Ergon.Models.Grammars;

namespace Ergon.Cli;

/// <summary>The options that say how tokens are chosen and when to stop.</summary>
/// <param name="temperature">The verb's default.</param>
internal sealed class SamplingSettings(float temperature)
{
    private readonly Option<int?> _count = Settings.Whole("--max-tokens", "-n", "Tokens to generate at most [default: as many as the context holds]", 1);
    private readonly Option<string[]> _stop = new("--stop") { Description = "Text that ends the answer; may be given several times", HelpName = "TEXT" };
    private readonly Option<float?> _temperature = Settings.Number("--temp", $"Temperature; 0 always takes the likeliest token [default: {temperature.ToString(CultureInfo.InvariantCulture)}]", "a number, 0 to 100", x => x is >= 0 and <= 100);
    private readonly Option<int?> _topK = Settings.Whole("--top-k", null, "Draw among so many likeliest tokens; 0: all [default: 40]", 0);
    private readonly Option<float?> _topP = Settings.Number("--top-p", "Draw among the likeliest tokens that together reach this probability; 1: all [default: 0.95]", "a number above 0, up to 1", x => x is > 0 and <= 1);
    private readonly Option<float?> _minP = Settings.Number("--min-p", "Leave out tokens below this share of the likeliest; 0: none [default: 0.05]", "a number, 0 to 1", x => x is >= 0 and <= 1);
    private readonly Option<float?> _repeat = Settings.Number("--repeat-penalty", "Divide the logits of the last 64 tokens by this; 1: off [default: 1]", "a number above 0, up to 100", x => x is > 0 and <= 100);
    private readonly Option<float?> _dry = Settings.Number("--dry-multiplier", "DRY: strength of the penalty on repeated sequences; 0: off [default: 0]", "a number, 0 to 100", x => x is >= 0 and <= 100);
    private readonly Option<float?> _dryBase = Settings.Number("--dry-base", "DRY: growth per repeated token [default: 1.75]", "a number, 1 to 100", x => x is >= 1 and <= 100);
    private readonly Option<int?> _dryLength = Settings.Whole("--dry-allowed-length", null, "DRY: repetitions up to so many tokens are free [default: 2]", 0);
    private readonly Option<int?> _dryLast = Settings.Whole("--dry-penalty-last-n", null, "DRY: tokens to look back; -1: the whole context [default: -1]", -1);
    private readonly Option<float?> _xtc = Settings.Number("--xtc-probability", "XTC: how often to leave out the likeliest tokens; 0: never [default: 0]", "a number, 0 to 1", x => x is >= 0 and <= 1);
    private readonly Option<float?> _xtcThreshold = Settings.Number("--xtc-threshold", "XTC: tokens at least this likely may be left out [default: 0.1]", "a number, 0 to 1", x => x is >= 0 and <= 1);
    private readonly Option<string[]> _bias = new("--logit-bias") { Description = "Add to a token's logit, as in 42=-1.5 or 42=-inf (never); may be given several times", HelpName = "ID=BIAS" };
    private readonly Option<int?> _seed = Settings.Whole("--seed", "-s", "Make draws repeatable [default: a new one each time]", 0);
    private readonly Option<string?> _grammar = Settings.Text("--grammar", "GBNF|@FILE", "Grammar that the answer must follow");
    private readonly Option<string?> _schema = Settings.Text("--json-schema", "JSON|@FILE", "JSON schema that the answer must follow");

    public void AddTo(Command command)
    {
        foreach (var option in (Option[])[_count, _stop, _temperature, _topK, _topP, _minP, _repeat, _dry, _dryBase, _dryLength, _dryLast, _xtc, _xtcThreshold, _bias, _seed, _grammar, _schema])
            command.Options.Add(option);
        command.Validators.Add(result =>
        {
            if (result.GetValue(_grammar) is not null && result.GetValue(_schema) is not null)
                result.AddError("--grammar and --json-schema exclude each other, but both were given; leave one out.");
        });
    }

    /// <summary>What the line asks for.</summary>
    /// <exception cref="ErgonException">A bias, a grammar file or a schema is wrong.</exception>
    public GenerationOptions Read(ParseResult parsed) => new()
    {
        MaxTokens = parsed.GetValue(_count),
        StopSequences = parsed.GetValue(_stop) ?? [],
        Sampling = new SamplingOptions
        {
            Temperature = parsed.GetValue(_temperature) ?? temperature,
            TopK = parsed.GetValue(_topK) ?? 40,
            TopP = parsed.GetValue(_topP) ?? 0.95f,
            MinP = parsed.GetValue(_minP) ?? 0.05f,
            RepeatPenalty = parsed.GetValue(_repeat) ?? 1,
            Dry = parsed.GetValue(_dry) is { } dry and > 0
                ? new DryOptions(dry, parsed.GetValue(_dryBase) ?? 1.75f, parsed.GetValue(_dryLength) ?? 2, parsed.GetValue(_dryLast) ?? -1)
                : null,
            Xtc = parsed.GetValue(_xtc) is { } xtc and > 0 ? new XtcOptions(xtc, parsed.GetValue(_xtcThreshold) ?? 0.1f) : null,
            LogitBias = Biases(parsed.GetValue(_bias) ?? []),
            Seed = (uint?)parsed.GetValue(_seed),
            Grammar = parsed.GetValue(_schema) is { } schema
                ? Grammar(TextOrFile("--json-schema", schema))
                : parsed.GetValue(_grammar) is { } grammar ? TextOrFile("--grammar", grammar) : null,
        },
    };

    private static Dictionary<int, float>? Biases(string[] texts)
    {
        if (texts.Length == 0)
            return null;
        var biases = new Dictionary<int, float>();
        foreach (var text in texts)
        {
            var parts = text.Split('=');
            var isMinusInfinity = parts is [_, "-inf"];
            var bias = float.NegativeInfinity;
            if (parts.Length != 2
                || !int.TryParse(parts[0], NumberStyles.None, CultureInfo.InvariantCulture, out var token)
                || !(isMinusInfinity || (float.TryParse(parts[1], NumberStyles.Float, CultureInfo.InvariantCulture, out bias) && float.IsFinite(bias))))
            {
                throw new ErgonException($"--logit-bias is '{text}', but must be ID=BIAS, such as 42=-1.5 or 42=-inf; 'ergon tokenize' shows the ids.");
            }
            biases[token] = bias;
        }
        return biases;
    }

    private static string Grammar(string schema)
    {
        try
        {
            using var document = JsonDocument.Parse(schema);
            return JsonSchemaGrammar.FromSchema(document.RootElement);
        }
        catch (JsonException e)
        {
            throw new ErgonException($"--json-schema is not JSON (line {e.LineNumber + 1}, byte {e.BytePositionInLine + 1}); give a JSON schema, or @FILE with one.", e);
        }
    }

    private static string TextOrFile(string option, string value) =>
        value.StartsWith('@') ? TextInput.ReadFile(value[1..], option) : value;
}
