using System.Text.Json;
using System.Text.Json.Serialization;
using Ergon.Reasoning.Selection;
using Ergon.Reasoning.Stopping;
using Ergon.Reasoning.Verifiers;

namespace Ergon.Reasoning.Cascades;

/// <summary>What a cascade has learned: how likely answers are right (ARDE), and what its stages gain.</summary>
/// <param name="Origin">On what the selector was fitted, for people.</param>
/// <param name="Selector">Ranks the answers; learned further as outcomes become known.</param>
/// <param name="Gains">Of the stages; likewise.</param>
internal sealed record CascadeState(string Origin, Arde Selector, StageGains Gains)
{
    private const int Iterations = 3;

    /// <summary>The state that comes with Ergon: fitted on draws of the demonstration models (bench/policies.sh --save), so that its confidence is calibrated for those and an indication for others.</summary>
    public static CascadeState OfWords()
    {
        using var stream = typeof(CascadeState).Assembly.GetManifestResourceStream("Ergon.Reasoning.Cascades.words.json")!;
        return Read(new StreamReader(stream).ReadToEnd());
    }

    /// <summary>Fits a state on problems that were drawn to their whole budget.</summary>
    /// <param name="origin">What they are.</param>
    /// <param name="log">Draws to their ends. The selector is fitted on them and on what they are where they end with their first false step, as a cascade draws; gains on the latter.</param>
    /// <param name="scoredBy">Whose scores some draws have; <see langword="null"/> where none has any. Gains are those without scores.</param>
    /// <exception cref="ErgonException">No draw has an answer.</exception>
    public static CascadeState Fit(string origin, IReadOnlyList<LoggedProblem> log, string? scoredBy = null)
    {
        LoggedProblem[] abandoned = [.. log.Select(p => p.Abandoned.Unscored)];
        // Confidence is asked for after any number of draws, and before a score is there as well as after.
        var states = log.Concat(log.Select(p => p.Abandoned));
        if (scoredBy is not null)
            states = states.SelectMany(p => new[] { p, p.Unscored });
        var selector = Arde.Fit(states.SelectMany(p => Lengths(p.Draws.Count).Select(n => (p.After(n), p.Gold))), scoredBy: scoredBy).Selector;
        var state = new CascadeState(origin, selector, new StageGains());
        // What a stage gains depends on when the stages after it stop: first by the prior, then by what that taught.
        for (var i = 0; i < Iterations; i++)
        {
            var (policy, next) = (new Cascade(state), new StageGains());
            foreach (var problem in abandoned)
                policy.Learn(next, problem.Draws, answer => answer == problem.Gold);
            state = state with { Gains = next };
        }
        return state;
    }

    /// <summary>After how many of so many draws a selector learns from a problem: 1, 2, 4, ... and all.</summary>
    internal static IEnumerable<int> Lengths(int draws) => Enumerable.Range(0, 20).Select(i => 1 << i).TakeWhile(n => n < draws).Append(draws);

    /// <summary>The state for the scores of some verifier model, as <see cref="Arde.For"/>; what is learned of its gains is this state's too.</summary>
    public CascadeState For(IVerifierModel verifier) => this with { Selector = Selector.For(verifier) };

    /// <summary>Reads a file that <see cref="Write"/> wrote.</summary>
    /// <exception cref="ErgonException">It cannot be read, or is none.</exception>
    public static CascadeState Load(string path)
    {
        try
        {
            return Read(File.ReadAllText(path));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new ErgonException($"The cascade's state '{path}' cannot be read ({e.Message.TrimEnd('.')}); name a file that --save wrote, or leave it out.", e);
        }
    }

    /// <summary>Writes what was learned, whole or not at all.</summary>
    /// <exception cref="ErgonException">The file cannot be written.</exception>
    public void Save(string path)
    {
        try
        {
            var fresh = path + ".new";
            File.WriteAllText(fresh, Write());
            File.Move(fresh, path, overwrite: true);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new ErgonException($"The cascade's state '{path}' cannot be written ({e.Message.TrimEnd('.')}); name another file.", e);
        }
    }

    internal string Write() => JsonSerializer.Serialize(new CascadeFile(Origin, Selector.Model, Selector.TypicalLogProbability, Gains.Cells, Selector.Learned, Selector.TypicalScore, Selector.ScoredBy), CascadeJson.Default.CascadeFile);

    internal static CascadeState Read(string json)
    {
        try
        {
            if (JsonSerializer.Deserialize(json, CascadeJson.Default.CascadeFile) is { Selector: not null, Stages: { } cells } file
                && cells.All(c => c is { Count: >= 0 } && double.IsFinite(c.Gain) && double.IsFinite(c.Cost) && Enum.IsDefined(c.Stage)))
                return new CascadeState(file.Origin ?? "unknown", new Arde(file.Selector, file.TypicalLogProbability, file.Learned, file.TypicalScore, file.ScoredBy), new StageGains(cells));
        }
        catch (JsonException e)
        {
            throw new ErgonException($"The cascade's state is not JSON of Ergon's ({e.Message.TrimEnd('.')}); fit it again.", e);
        }
        throw new ErgonException("The cascade's state lacks its selector or its stages; fit it again.");
    }
}

/// <summary>The state as a file; <paramref name="Learned"/> is what the selector learned since it was fitted, which older files lack; the last two where it weighs a verifier model's scores.</summary>
internal sealed record CascadeFile(string? Origin, LogisticModel Selector, double TypicalLogProbability, IReadOnlyList<StageCell> Stages, LearnedOutcomes? Learned = null, double? TypicalScore = null, string? ScoredBy = null);

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase, WriteIndented = true, UseStringEnumConverter = true)]
[JsonSerializable(typeof(CascadeFile))]
internal sealed partial class CascadeJson : JsonSerializerContext;
