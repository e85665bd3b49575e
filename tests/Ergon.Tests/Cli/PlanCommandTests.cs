using System.Text.Json;
using System.Xml.Linq;
using Ergon.Cli;
using Ergon.Native;
using Ergon.Tests.Inference;

namespace Ergon.Tests.Cli;

/// <summary><c>ergon plan</c> and <c>ergon run --plan</c>, as a user has them.</summary>
[Collection("clusters")] // one test looks at the threads of all
public sealed class PlanCommandTests : IDisposable
{
    private const string Hybrid = "catalog:Core Ultra 9 285HX CPU,NVIDIA RTX PRO 5000 Blackwell laptop";

    private readonly TemporaryFolder _folder = new();
    private readonly string _model;

    public PlanCommandTests() => _model = new RandomModel("llama", GgmlType.F32).Write(_folder.Path);

    public void Dispose() => _folder.Dispose();

    [Theory]
    [InlineData("plan MODEL --devices GPU9", "no device 'GPU9' here; there is CPU")]
    [InlineData("plan MODEL --devices catalog:Abacus", "no device 'Abacus' in the catalogue")]
    [InlineData("plan MODEL --devices CPU:99999", "names the cluster 'CPU:99999'")]
    [InlineData("plan absent.gguf", "no model file or pulled model 'absent.gguf'")]
    [InlineData("plan MODEL --type q4_0", "--type is 'q4_0', but")]
    [InlineData("plan llama-3.1-8b --type q9", "--type is 'q9', but must be one of")]
    [InlineData("plan MODEL --power-cap 0.001", "power cap:")]
    [InlineData("plan MODEL --max-latency 0.0000001", "latency:")]
    [InlineData("plan MODEL --max-temp 5", "temperature:")]
    [InlineData("plan MODEL --power-cap 0", "--power-cap is '0', but must be a number above 0")]
    [InlineData("plan MODEL --reserve-memory 1", "--reserve-memory is '1'")]
    [InlineData("plan MODEL --batch 0", "--batch is '0'")]
    [InlineData("plan MODEL --ctx 5", "raise the context, or lower the two")]
    [InlineData("plan MODEL --objective cheap", "must be one of energy, latency, edp, balanced")]
    [InlineData("plan MODEL --svg absent/plan.svg", "--svg is 'absent/plan.svg', which cannot be written")]
    [InlineData("plan llama-3.1-8b --run", "--run needs a model file")]
    [InlineData("plan MODEL --devices catalog:Intel_N150 --run", "devices of this machine")]
    [InlineData("run MODEL --raw hi --plan absent.json", "'absent.json' cannot be read")]
    [InlineData("run MODEL --raw hi --plan SIMULATED", "devices of the catalogue")]
    [InlineData("run MODEL --raw hi --plan GONE", "no device 'Vulkan9' here")]
    [InlineData("run MODEL --raw hi --plan OTHER", "is for 'other' of 2 layers")]
    [InlineData("run MODEL --raw hi --plan OTHER --devices CPU", "is another file")]
    [InlineData("run MODEL --raw hi --plan auto --device CPU", "use either")]
    [InlineData("run MODEL --raw hi --devices CPU", "add --plan auto")]
    [InlineData("run MODEL --raw hi --objective edp", "add --plan auto")]
    [InlineData("run MODEL --raw hi --plan auto --engine libllama", "leave --plan out")]
    public async Task Bad_input_is_one_sentence_and_exit_code_2(string line, string reason)
    {
        const string runs = """{"model":"other","fingerprint":"00","layers":2,"batch":1,"in_flight":1,"runs":[{"phase":"decode","from":"embedding","to":"head","device":"NAME"}]}""";
        _folder.File("SIMULATED", """{"simulated":true,"plan":null}"""u8.ToArray());
        _folder.File("OTHER", System.Text.Encoding.UTF8.GetBytes(runs.Replace("NAME", "CPU", StringComparison.Ordinal)));
        _folder.File("GONE", System.Text.Encoding.UTF8.GetBytes(runs.Replace("NAME", "Vulkan9", StringComparison.Ordinal)));
        var run = await RunAsync([.. line.Split(' ').Select(word => word switch
        {
            "MODEL" => _model,
            "SIMULATED" or "OTHER" or "GONE" => Path.Combine(_folder.Path, word),
            _ => word.Replace('_', ' ') is var spaced && word.StartsWith("catalog:", StringComparison.Ordinal) ? spaced : word,
        })]);

        Assert.Equal(Exit.BadInput, run.Code);
        var sentence = Assert.Single(run.Error.Split('\n'), text => text.StartsWith("ergon: ", StringComparison.Ordinal));
        Assert.Contains(reason, sentence, StringComparison.Ordinal);
        Assert.EndsWith(".", sentence, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_plan_from_the_catalogue_is_simulated_and_says_why_it_was_chosen()
    {
        var svg = Path.Combine(_folder.Path, "plan.svg");
        var run = await RunAsync("plan", "llama-3.2-1b", "--devices", Hybrid, "--objective", "balanced", "--svg", svg);
        Assert.Equal(Exit.Ok, run.Code);
        Assert.Contains("simulated from catalogue profiles", run.Out, StringComparison.Ordinal);
        Assert.Contains("chosen for balanced (*): ", run.Out, StringComparison.Ordinal);
        // It parses, and names what carries the model.
        var drawn = XDocument.Load(svg).Descendants().Where(e => e.Name.LocalName == "text").Select(e => e.Value).ToList();
        Assert.Contains(drawn, t => t.Contains("simulated", StringComparison.Ordinal));
        Assert.Contains(drawn, t => t.Contains("RTX PRO 5000", StringComparison.Ordinal));
    }

    [Fact]
    public async Task The_json_of_a_plan_for_the_catalogue_is_the_documented_one()
    {
        using var json = JsonDocument.Parse((await RunAsync("plan", "llama-3.2-1b", "--devices", Hybrid, "--json")).Out);
        var root = json.RootElement;
        Assert.Equal(["front", "chosen", "objective", "reason", "simulated", "predicted", "actual", "plan"], root.EnumerateObject().Select(p => p.Name));
        Assert.Equal(["joules_per_token", "seconds_per_token", "underutilisation", "assignment"], root.GetProperty("chosen").EnumerateObject().Select(p => p.Name));
        Assert.True(root.GetProperty("simulated").GetBoolean());
        Assert.Equal(JsonValueKind.Null, root.GetProperty("actual").ValueKind);
        // The energy plan has the fewest joules of its front.
        Assert.Equal(root.GetProperty("front").EnumerateArray().Min(p => p.GetProperty("joules_per_token").GetDouble()), root.GetProperty("chosen").GetProperty("joules_per_token").GetDouble());
    }

    [Fact]
    public async Task A_plan_for_devices_here_runs_and_its_file_runs_again_with_the_same_answer()
    {
        var planned = await RunAsync("plan", _model, "--devices", "CPU:0,CPU:1", "--batch", "2", "--in-flight", "2", "--prompt", "16", "--tokens", "24", "--run", "--json");
        Assert.Equal(Exit.Ok, planned.Code);
        using var json = JsonDocument.Parse(planned.Out);
        var actual = json.RootElement.GetProperty("actual");
        Assert.Equal(["joules_per_token", "seconds_per_token", "latency_per_token", "watts", "energy_source", "devices"], actual.EnumerateObject().Select(p => p.Name));
        Assert.True(actual.GetProperty("seconds_per_token").GetDouble() > 0);
        Assert.All(actual.GetProperty("devices").EnumerateArray(), d => Assert.InRange(d.GetProperty("busy").GetDouble(), 0.0001, 1.05));
        Assert.All(actual.GetProperty("devices").EnumerateArray(), d => Assert.NotEqual(1, d.GetProperty("residual_few").GetDouble()));

        var file = _folder.File("plan.json", System.Text.Encoding.UTF8.GetBytes(planned.Out));
        string[] run = ["run", _model, "--raw", "hello", "-n", "12"];
        var alone = await RunAsync([.. run, "--threads", "1"]);
        var again = await RunAsync([.. run, "--plan", file]);
        Assert.Equal(Exit.Ok, again.Code);
        Assert.Contains("plan: ", again.Error, StringComparison.Ordinal);
        Assert.Equal(alone.Out, again.Out);
        Assert.Equal(alone.Out, (await RunAsync([.. run, "--plan", "auto", "--devices", "CPU:1", "--objective", "latency"])).Out);
    }

    private static async Task<(int Code, string Out, string Error)> RunAsync(params string[] args)
    {
        using var output = new StringWriter();
        using var error = new StringWriter();
        using var terminal = new Terminal(TextReader.Null, output, error);
        return (await CommandLine.RunAsync(args, terminal), output.ToString(), error.ToString());
    }
}
