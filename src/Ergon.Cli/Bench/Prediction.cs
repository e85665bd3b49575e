using System.Globalization;
using Ergon.Cost;
using Ergon.Devices.Profiles;
using Ergon.Energy;
using Ergon.Inference;
using Ergon.Models;
using Ergon.Native;
using Ergon.Units;

namespace Ergon.Cli.Bench;

/// <summary>One kind of pass: what the cost model says of it, and what it took.</summary>
/// <param name="Pass">Its name, such as <c>prefill 512</c>, <c>decode 8 at 256</c>, <c>verify 5 at 256</c>.</param>
/// <param name="Runs">How often it was measured.</param>
/// <param name="PredictedMs">By the profile.</param>
/// <param name="ActualMs">Median.</param>
/// <param name="Error">Predicted / actual - 1.</param>
/// <param name="PredictedJoules">Idle power included, by the profile.</param>
/// <param name="ActualJoules">Mean of the runs, by the meters; <see langword="null"/> where no meter covered them.</param>
/// <param name="EnergyError">Likewise; <see langword="null"/> without <paramref name="ActualJoules"/>.</param>
internal sealed record PredictedPass(string Pass, int Runs, double PredictedMs, double ActualMs, double Error, double PredictedJoules, double? ActualJoules, double? EnergyError);

/// <summary>How well the cost model knows a model on a device.</summary>
/// <param name="Model">The model.</param>
/// <param name="Device">The device.</param>
/// <param name="Profile">The profile that predicted.</param>
/// <param name="Calibrated">Whether it was measured here.</param>
/// <param name="Threads">CPU threads.</param>
/// <param name="EnergySource">The meters; <see langword="null"/> without one.</param>
/// <param name="Passes">Each kind of pass.</param>
/// <param name="MedianError">Median of the errors of time, without their signs.</param>
/// <param name="MedianEnergyError">Likewise of energy; <see langword="null"/> without a meter.</param>
internal sealed record PredictionReport(
    string Model, string Device, string Profile, bool Calibrated, int Threads, string? EnergySource, IReadOnlyList<PredictedPass> Passes, double MedianError, double? MedianEnergyError)
{
    public void Write(TextWriter output)
    {
        string F(double? value, string format) => value?.ToString(format, CultureInfo.InvariantCulture) ?? "";
        Columns.Write(output, [["PASS", "RUNS", "PREDICTED ms", "ACTUAL ms", "ERROR", "PREDICTED J", "ACTUAL J", "ERROR"], .. Passes.Select(p => new[]
        {
            p.Pass, F(p.Runs, "0"), F(p.PredictedMs, "F3"), F(p.ActualMs, "F3"), F(100 * p.Error, "+0.0;-0.0") + " %", F(p.PredictedJoules, "G3"), F(p.ActualJoules, "G3"), p.EnergyError is { } e ? F(100 * e, "+0.0;-0.0") + " %" : "",
        })]);
        output.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{Model} on {Device}, {Amount.Count(Threads, "thread")}, by '{Profile}'{(Calibrated ? "" : " (not calibrated: 'ergon devices --calibrate')")}: median error of time {100 * MedianError:F1} %{(MedianEnergyError is { } e ? $", of energy {100 * e:F1} % ({EnergySource})" : "; no meter, so energy is predicted alone")}"));
    }
}

/// <summary>Runs every kind of pass and predicts it.</summary>
/// <param name="engine">Called on its own thread.</param>
/// <param name="model">Its model.</param>
/// <param name="profile">Of its one device, for the threads that it uses.</param>
/// <param name="meters">Measure energy; none leaves it out.</param>
internal sealed class Prediction(Engine engine, ModelDescription model, DeviceProfile profile, MeterSet meters)
{
    private static readonly TimeSpan MeterStep = TimeSpan.FromMilliseconds(100);

    private readonly ModelOutline _outline = ModelOutline.Of(model);
    private readonly PassRow[] _rows = new PassRow[Engine.MaxRows];

    // What a kind of pass appends to each of so many sequences, and after how much.
    private sealed record Kind(string Name, int Sequences, int Rows, int Context, int Outputs);

    /// <param name="context">Positions of a sequence.</param>
    /// <param name="least">How long each kind is run at least.</param>
    /// <param name="cacheType">How keys and values are stored.</param>
    /// <param name="progress">Told each kind.</param>
    /// <param name="cancellation">Stops between two passes.</param>
    public List<PredictedPass> Measure(int context, TimeSpan least, GgmlType cacheType, Action<string> progress, CancellationToken cancellation)
    {
        Kind[] kinds =
        [
            new("prefill 512", 1, 512, 0, 1), new("prefill 128", 1, 128, 0, 1), new("prefill 32", 1, 32, 0, 1), new("prefill 128 at 256", 1, 128, 256, 1),
            new("decode 1 at 0", 1, 1, 0, 1), new("decode 1 at 128", 1, 1, 128, 1), new("decode 1 at 448", 1, 1, 448, 1), new("decode 4 at 64", 4, 1, 64, 1), new("decode 8 at 64", 8, 1, 64, 1), new("verify 5 at 128", 1, 5, 128, 5),
        ];
        var results = new List<PredictedPass>();
        foreach (var kind in kinds.Where(k => k.Context + k.Rows <= context && k.Sequences <= engine.Cells.MaxSequences))
        {
            progress(kind.Name);
            var costs = PassCost.Of(_outline, [.. Enumerable.Repeat(new SequencePass(kind.Rows, kind.Context, kind.Outputs), kind.Sequences)], cacheType);
            var draws = costs.Select(c => EnergyModel.Draw(profile, c)).ToArray();
            var time = EnergyModel.PassTime(profile, draws);
            var joules = EnergyModel.Energy(profile, draws, new Celsius(profile.ReferenceTemperature.Value), time).Value;
            var (actual, energy, runs) = Run(kind, least, cancellation);
            results.Add(new PredictedPass(kind.Name, runs, Rounded(time.Value * 1000), Rounded(actual * 1000), Rounded((time.Value / actual) - 1), Rounded(joules), energy is { } e ? Rounded(e) : null, energy is { } j ? Rounded((joules / j) - 1) : null));
        }
        return results;
    }

    /// <summary>The median of errors without their signs.</summary>
    public static double MedianOf(IEnumerable<double> errors) => Rounded(Median.Of(errors.Select(Math.Abs)).Value);

    // The context is computed once; each measured pass is taken back, so that the next one is the same.
    private (double Seconds, double? Joules, int Runs) Run(Kind kind, TimeSpan least, CancellationToken cancellation)
    {
        int[] sequences = [.. Enumerable.Range(0, kind.Sequences).Select(_ => engine.Cells.Open()!.Value)];
        try
        {
            foreach (var sequence in sequences)
            {
                for (int done = 0, count; done < kind.Context; done += count)
                    Pass([sequence], count = Math.Min(Engine.MaxRows, kind.Context - done), 0);
            }
            Measured();
            var seconds = new List<double>();
            OpenWindow? window = meters.Meters.Count > 0 ? meters.Begin() : null;
            var (began, read) = (TimeProvider.System.GetTimestamp(), TimeProvider.System.GetTimestamp());
            while (seconds.Count < 5 || TimeProvider.System.GetElapsedTime(began) < least)
            {
                cancellation.ThrowIfCancellationRequested();
                seconds.Add(Measured());
                if (window is null || TimeProvider.System.GetElapsedTime(read) < MeterStep)
                    continue;
                meters.ReadAll();
                read = TimeProvider.System.GetTimestamp();
            }
            var energy = window is null ? null : meters.End(window).Energy?.Value / seconds.Count;
            return (Median.Of(seconds).Value, energy, seconds.Count);
        }
        finally
        {
            foreach (var sequence in sequences)
                engine.Cells.Close(sequence);
        }

        double Measured()
        {
            var at = TimeProvider.System.GetTimestamp();
            Pass(sequences, kind.Rows, kind.Outputs);
            var elapsed = TimeProvider.System.GetElapsedTime(at).TotalSeconds;
            foreach (var sequence in sequences)
                engine.Cells.Truncate(sequence, kind.Context);
            return elapsed;
        }
    }

    private void Pass(int[] sequences, int rows, int outputs)
    {
        var count = 0;
        foreach (var sequence in sequences)
        {
            for (var i = 0; i < rows; i++)
                _rows[count++] = new PassRow(sequence, (count * 7919) % model.VocabularySize, WantsLogits: i >= rows - outputs);
        }
        if (!engine.TryRun(_rows.AsSpan(0, count), out _))
            throw new InvalidOperationException("The benchmark's cache is too small for its passes.");
    }

    private static double Rounded(double value) => double.Parse(value.ToString("G6", CultureInfo.InvariantCulture), CultureInfo.InvariantCulture);
}
