using System.Globalization;
using Ergon.Cost;
using Ergon.Devices.Profiles;
using Ergon.Models;
using Ergon.Native;
using Ergon.Units;

namespace Ergon.Cli.Commands;

/// <summary><c>ergon dev catalogue</c>: what the cost model and the catalogue say of public measurements, row by row. A prediction, so modelled throughout.</summary>
internal static class CatalogueCheck
{
    private const int Context = 256, Prompt = 512;
    private const double SpeedBar = 0.25, EnergyBar = 0.35, Ambient = 25;

    /// <summary>What a row of a file says.</summary>
    private sealed record Row(string File, string Device, string Model, string Quantity, double Measured, string Power = "", int Threads = 0);

    /// <summary>What a row's names mean here: the profile, how many of its cores there are, the model and its types.</summary>
    private sealed record Meaning(string Device, int Cores, PublishedModel Model, string Mix);

    public static Verb Create(Terminal terminal)
    {
        var folder = new System.CommandLine.Argument<string>("FOLDER") { Description = "The folder of the measurement files" };
        return new Verb("catalogue", "Predict public measurements from the catalogue", "ergon dev catalogue measurements") { folder }.Does(parsed =>
        {
            var rows = Read(parsed.GetValue(folder)!).Select(Judge).ToList();
            Columns.Write(terminal.Out, [["FILE", "DEVICE", "MODEL", "QUANTITY", "MEASURED", "PREDICTED", "ERROR", "ROLE", "VERDICT", "WHY"], .. rows]);
            terminal.Out.WriteLine(string.Create(CultureInfo.InvariantCulture,
                $"judged: {rows.Count(r => r[7] == "judged" && r[8] == "met")} met, {rows.Count(r => r[7] == "judged" && r[8] == "missed")} missed; fitted: {rows.Count(r => r[7] == "fitted")}; without a prediction: {rows.Count(r => r[7] == "none")}"));
            return Exit.Ok;
        });
    }

    private static IEnumerable<Row> Read(string folder)
    {
        foreach (var r in Csv(folder, "edge_summary.csv"))
        {
            var threads = r["setting"].EndsWith("thread", StringComparison.Ordinal) || r["setting"].EndsWith("threads", StringComparison.Ordinal) ? int.Parse(r["setting"].Split(' ')[0], CultureInfo.InvariantCulture) : 0;
            var power = r["power_kind"].StartsWith("wall", StringComparison.Ordinal) ? "wall" : r["J_per_decode_token"].Length > 0 ? "board" : "";
            foreach (var (column, quantity) in ((string, string)[])[("prefill_tps", "prefill t/s"), ("decode_tps", "decode t/s"), ("J_per_decode_token", "J/token")])
            {
                if (r[column].Length > 0)
                    yield return new Row("edge", r["device"] + (r["runtime"].Contains("MTP", StringComparison.Ordinal) ? " with MTP" : ""), r["model"], quantity, Number(r[column]), power, threads);
            }
        }
        foreach (var r in Csv(folder, "jetson_orin_nano_super_mlc_int4.csv"))
        {
            yield return new Row("mlc", "Jetson Orin Nano (68 GB/s)", r["model"], "decode t/s", Number(r["orin_nano_original_tps"]));
            yield return new Row("mlc", "Jetson Orin Nano Super", r["model"], "decode t/s", Number(r["orin_nano_super_tps"]));
        }
        foreach (var r in Csv(folder, "orin_nx_power_modes_ark.csv"))
            yield return new Row("orin_nx", r["module"], r["mode_name"], "sustained W", Number(r["sustained_w"]), "board");
        yield return new Row("tegrastats", "Jetson AGX Orin 64GB", "not stated", "board W", TegrastatsWatts(Path.Combine(folder, "tegrastats_sample.log")), "board");
        foreach (var r in Csv(folder, "tokens_watts.csv"))
        {
            yield return new Row("watts", r["system"], r["model"], "decode t/s", Number(r["decode_tps"]), "wall");
            if (r["J_per_token_upper_bound"].Length > 0)
                yield return new Row("watts", r["system"], r["model"], "J/token", Number(r["J_per_token_upper_bound"]), "wall");
        }
    }

    private static string[] Judge(Row row)
    {
        string[] Cells(string predicted, string error, string role, string verdict, string why) =>
            [row.File, row.Device + (row.Threads > 0 ? $", {row.Threads} thr" : ""), row.Model, row.Quantity, Text(row.Measured), predicted, error, role, verdict, why];

        if (row.File == "orin_nx" && row.Model is "40W" or "MAXN_SUPER" or "MAXN_SUPER 45 min soak")
        {
            // Arithmetic alone is saturated: matrices that stay in caches.
            var orin = ProfileCatalogue.Named("Jetson Orin NX 16GB");
            return Verdict(orin.StaticPower + orin.ComputePower.Value, orin);
        }
        if (MeaningOf(row) is not { } meaning)
            return Cells("", "", "none", "", Missing(row));
        var device = ProfileCatalogue.Named(meaning.Device);
        if (row.Threads > 0)
            device = device.WithCores(row.Threads, meaning.Cores);
        if (row.Device.Contains("68 GB/s", StringComparison.Ordinal))
            device = device with { Bandwidth = device.Bandwidth with { Value = 68.3e9 } };
        var outline = meaning.Model.Outline(QuantizationMix.All.First(m => m.Name == meaning.Mix));
        var prefill = row.Quantity.StartsWith("prefill", StringComparison.Ordinal);
        var draws = PassCost.Of(outline, [prefill ? SequencePass.Prefill(Prompt) : SequencePass.Decode(Context)]).Select(c => EnergyModel.Draw(device, c)).ToArray();
        var time = new Seconds(draws.Sum(d => d.Time.Value));
        if (row.Quantity != "J/token")
            return Compare((prefill ? Prompt : 1) / time.Value, SpeedBar);
        var dynamic = draws.Aggregate(Joules.Zero, (e, d) => e + (d.DynamicPower * d.Time)) / time;
        var steady = EnergyModel.Steady(device, dynamic + new Watts(device.StaticPower), new Celsius(Ambient));
        var energy = EnergyModel.Energy(device, draws, steady.Temperature ?? new Celsius(device.LimitTemperature.Value), time).Value;
        return Compare(energy, EnergyBar);

        string[] Verdict(double watts, DeviceProfile d)
        {
            var state = EnergyModel.Steady(d, new Watts(watts), new Celsius(Ambient));
            return Compare(watts + state.Leakage.Value, EnergyBar);
        }

        string[] Compare(double predicted, double bar)
        {
            var error = (predicted - row.Measured) / row.Measured;
            var bound = row is { Power: "wall", Quantity: "J/token" };
            var fitted = IsFitted(row);
            var met = bound ? predicted <= row.Measured : Math.Abs(error) <= bar;
            return Cells(Text(predicted), string.Create(CultureInfo.InvariantCulture, $"{100 * error:+0;-0} %"), fitted ? "fitted" : "judged", met ? "met" : "missed", met ? bound ? "bound" : "" : Explanation(row));
        }
    }

    // The rows that a coefficient of the catalogue was taken from; its sources say so.
    private static bool IsFitted(Row row) =>
        row.Device.Contains("68 GB/s", StringComparison.Ordinal) || row is { Model: "gemma-2-2b-it", Threads: 1, Quantity: not "J/token" };

    private static Meaning? MeaningOf(Row row)
    {
        PublishedModel? model = row.Model switch
        {
            "gemma-2-2b-it" or "Gemma 2 2B" => PublishedModel.Named("gemma-2-2b"),
            "Gemma 2 9B" => PublishedModel.Named("gemma-2-9b"),
            "llama-3.2-3B" or "llama3.2:3b" or "Llama 3.2:3b" or "Llama 3.2 3B" => PublishedModel.Named("llama-3.2-3b"),
            "llama2:13b" => PublishedModel.Named("llama-2-13b"),
            "DeepSeek R1 14b" => PublishedModel.Named("qwen2.5-14b"),
            "Llama 3.1 8B" => PublishedModel.Named("llama-3.1-8b"),
            "Qwen2.5 7B" => PublishedModel.Named("qwen2.5-7b"),
            "Phi 3.5 3B" => PublishedModel.Named("phi-3-mini"),
            "SmolLM2" => PublishedModel.Named("smollm2-1.7b"),
            "SmolLM2-135M" => PublishedModel.Named("smollm2-135m"),
            "qwen2.5-coder-1.5b" => PublishedModel.Named("qwen2.5-1.5b"),
            "gpt-oss 20b" => GptOss,
            _ => null,
        };
        var (device, cores) = row.Device switch
        {
            _ when row.Device.Contains("4090", StringComparison.Ordinal) => ("NVIDIA RTX 4090", 0),
            _ when row.Device.Contains('(', StringComparison.Ordinal) && (row.Device.Contains("Nvidia", StringComparison.Ordinal) || row.Device.Contains("AMD", StringComparison.Ordinal) || row.Device.Contains("Arc", StringComparison.Ordinal)) => ("", 0),
            _ when row.Device.StartsWith("Raspberry Pi 400", StringComparison.Ordinal) => ("Raspberry Pi 4B", 4),
            _ when row.Device.StartsWith("Raspberry Pi 5", StringComparison.Ordinal) || row.Device.StartsWith("Pi 5 -", StringComparison.Ordinal) => ("Raspberry Pi 5", 4),
            _ when row.Device.Contains("N150", StringComparison.Ordinal) => ("Intel N150", 4),
            _ when row.Device.StartsWith("M4 Mac mini", StringComparison.Ordinal) => ("Apple M4", 0),
            _ when row.Device.StartsWith("Jetson Orin Nano", StringComparison.Ordinal) => ("Jetson Orin Nano Super", 0),
            "Framework Mainboard (128GB)" => ("Ryzen AI Max+ 395 CPU", 16),
            _ => ("", 0),
        };
        if (model is null || device.Length == 0)
            return null;
        var mix = row.Model == "llama2:13b" || row.File == "mlc" ? "q4_0" : "q4_k_m";
        // MLC stores every matrix in 4 bits with a scale for 32, the outer ones too: 4.5 bits, as Q4_0.
        return new Meaning(device, cores, row.File == "mlc" ? model with { OuterType = GgmlType.Q4_0 } : model, mix);
    }

    // Attention and outer matrices in Q8_0, experts in MXFP4, which is 4.25 bits; Q4_0 has 4.5.
    private static PublishedModel GptOss { get; } = new(new ModelShape("gpt-oss-20b", "qwen3moe", 24, 2880, 2880, 64, 8, 64, 201088, 131072, 1.5e5f) { TiedOutput = false })
    { Experts = 32, ExpertsUsed = 4, Window = 128, WindowPeriod = 2, OuterType = GgmlType.Q8_0, AttentionType = GgmlType.Q8_0 };

    private static string Missing(Row row) => row switch
    {
        { File: "orin_nx", Model: "idle" } => "the row that idlePower is from",
        { File: "orin_nx" } => "no voltage is known for the GPU at 408 MHz",
        { File: "tegrastats" } => "what ran is not stated",
        { Model: "Qwen3.8-27B" } => "no public shape that Ergon's graph describes",
        { Model: "stories260K" } => "no profile of a microcontroller",
        _ => "no profile of this device, or no shape of this model",
    };

    private static string Explanation(Row row) => row switch
    {
        { File: "mlc", Model: "Gemma 2 2B" or "Gemma 2 9B" } => "47 to 50 % of the memory's bandwidth where MLC's other models reach 60 to 91 %: kernels of this family, not the device",
        { Model: "qwen2.5-coder-1.5b" } => "36 of 102 GB/s by llama.cpp where MLC reaches 62 to 93 on the same module: software, not the device",
        { Model: "SmolLM2-135M" } => "the file's type is not stated (Q4_K_M assumed); with 8 bits the prediction falls within the bar",
        { Device: "Raspberry Pi 400 4GB" } => "reaches 3.2 of 12.8 GB/s, below the 4.5 that efficiency estimates; no other row to fit it on",
        { Device: "Intel 13900K (Nvidia 4090)" } => "an older run than the 236 tokens/s that the same card reaches on a slower host; that row is met",
        { Quantity: "J/token" } when row.Device.StartsWith("M4", StringComparison.Ordinal) => "maxPower (65 W) is the whole Mac mini with processor and ports busy, so half of it overstates what the GPU's memory adds",
        _ => "not explained",
    };

    private static double TegrastatsWatts(string path) => File.ReadLines(path).Select(line => line.Split(' ').Where(w => w.Contains("mW/", StringComparison.Ordinal)).Sum(w => Number(w.Split("mW")[0])) / 1000).Average();

    private static IEnumerable<Dictionary<string, string>> Csv(string folder, string file)
    {
        var path = Path.Combine(folder, file);
        if (!File.Exists(path))
            throw new ErgonException($"There is no '{path}'; give the folder of the measurement files.");
        var lines = File.ReadAllLines(path);
        var names = lines[0].Split(',');
        return lines.Skip(1).Where(l => l.Length > 0).Select(l => names.Zip(l.Split(',')).ToDictionary(p => p.First, p => p.Second.Trim()));
    }

    private static double Number(string text) => double.Parse(text, CultureInfo.InvariantCulture);

    private static string Text(double value) => value.ToString("G3", CultureInfo.InvariantCulture);
}
