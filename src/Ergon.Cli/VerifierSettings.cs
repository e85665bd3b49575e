using System.CommandLine;
using Ergon.Inference;
using Ergon.Reasoning.Stopping;
using Ergon.Reasoning.Verifiers;
using Ergon.Runtime;

namespace Ergon.Cli;

/// <summary>The options that name a verifier model, and how it is asked.</summary>
internal sealed class VerifierSettings
{
    private const float RemoteSeconds = 60;

    private readonly Option<string?> _model = Settings.Text("--verifier-model", "MODEL|URL",
        $"A model that scores answers where that is worth its joules: a path, a pulled name, or an OpenAI-compatible endpoint such as http://localhost:8080/v1 (a key: {RemoteJudge.KeyVariable}), which gets the question and the answers");

    private readonly Option<VerifyBy?> _by = Settings.Choice<VerifyBy>("--verify-by", "How the verifier model is asked: how likely it finds an answer's text, or, of a model that follows instructions, whether it calls it right [default: likelihood; judge for a URL]");

    private readonly Option<string?> _name = Settings.Text("--verifier-name", "NAME", "The model's name at the verifier's URL");

    public void AddTo(Command command)
    {
        command.Options.Add(_model);
        command.Options.Add(_by);
        command.Options.Add(_name);
    }

    /// <summary>Refuses what does not fit together, before anything is loaded or contacted.</summary>
    /// <param name="parsed">The command line.</param>
    /// <param name="hasVerifier">Whether there is a true verifier.</param>
    /// <param name="policy">As <c>--policy</c> names it.</param>
    /// <exception cref="ErgonException">Names the option.</exception>
    public void Require(ParseResult parsed, bool hasVerifier, string policy)
    {
        var (model, by, name) = (parsed.GetValue(_model), parsed.GetValue(_by), parsed.GetValue(_name));
        if (model is null)
        {
            Refuse(by is not null, $"--verify-by is '{by?.ToString().ToLowerInvariant()}', but there is no verifier model; name one with --verifier-model.");
            Refuse(name is not null, $"--verifier-name is '{name}', but there is no verifier model; give its address with --verifier-model.");
            return;
        }
        Refuse(hasVerifier, "--verifier-model is given, but so is --verifier, whose word is final; leave one of the two out.");
        Refuse(policy != StoppingPolicies.Names[0], $"--verifier-model is given, but --policy is '{policy}', which weighs no scores; use the cascade.");
        Refuse(IsAddress(model) && by == VerifyBy.Likelihood, "--verify-by is 'likelihood', but an endpoint does not tell how likely a given text is; use judge.");
        Refuse(IsAddress(model) && name is null, "--verifier-model is an address, but there is no --verifier-name; give the model's name there.");
        Refuse(!IsAddress(model) && name is not null, $"--verifier-name is '{name}', but --verifier-model is no address of http or https; leave the name out.");
    }

    /// <summary>Loads the model; an endpoint is contacted when there is something to ask.</summary>
    /// <param name="parsed">The command line.</param>
    /// <param name="terminal">Hears what runs where.</param>
    /// <param name="engine">How models are loaded.</param>
    /// <param name="receipts">Whether it is metered.</param>
    /// <param name="seconds">An endpoint's time for one answer; <see langword="null"/> for 60.</param>
    /// <param name="patience">As for <see cref="RemoteJudge"/>.</param>
    /// <param name="cancellation">Stops loading.</param>
    /// <returns><see langword="null"/> where none is named.</returns>
    public IVerifierModel? Open(ParseResult parsed, Terminal terminal, EngineSettings engine, Receipts receipts, float? seconds, int? patience, CancellationToken cancellation)
    {
        if (parsed.GetValue(_model) is not { } model)
            return null;
        if (IsAddress(model))
            return new RemoteJudge(model, parsed.GetValue(_name)!, Environment.GetEnvironmentVariable(RemoteJudge.KeyVariable) is { Length: > 0 } key ? key : null, TimeSpan.FromSeconds(seconds ?? RemoteSeconds), patience);
        return Load(parsed, terminal, engine, model, parsed.GetValue(_by) ?? VerifyBy.Likelihood, receipts.Monitor(parsed), null, cancellation);
    }

    /// <summary>A model of this machine.</summary>
    public static LocalVerifier Load(ParseResult parsed, Terminal terminal, EngineSettings engine, string model, VerifyBy by, EnergyMonitor? monitor, int? defaultContext, CancellationToken cancellation)
    {
        ErgonModel? loaded = null;
        try
        {
            loaded = engine.Load(parsed, terminal, model, LocalVerifier.Sessions, defaultContext, cancellation, monitor);
            return new LocalVerifier(loaded, by, monitor is null ? null : _ => monitor.OpenAll(), monitor is null ? [loaded] : [loaded, monitor]);
        }
        catch
        {
            loaded?.Dispose();
            monitor?.Dispose();
            throw;
        }
    }

    private static bool IsAddress(string model) => model.StartsWith("http://", StringComparison.OrdinalIgnoreCase) || model.StartsWith("https://", StringComparison.OrdinalIgnoreCase);

    private static void Refuse(bool condition, string problem)
    {
        if (condition)
            throw new ErgonException(problem);
    }
}
