using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using Ergon.Cli;
using Ergon.Energy;
using Ergon.Native;
using Ergon.Tests.Inference;
using Ergon.Units;

namespace Ergon.Tests.Cli;

[Collection("clusters")] // these set the process's environment, where plans of another look for the folder of their status
public sealed class CommandLineTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();
    private readonly string _model;

    public CommandLineTests()
    {
        Environment.SetEnvironmentVariable("ERGON_MODELS", Path.Combine(_folder.Path, "models"));
        Environment.SetEnvironmentVariable("XDG_RUNTIME_DIR", _folder.Path);
        _model = new RandomModel("llama", GgmlType.F32).Write(_folder.Path);
    }

    public void Dispose() => _folder.Dispose();

    public static TheoryData<string> Verbs()
    {
        using var terminal = new Terminal(TextReader.Null, TextWriter.Null, TextWriter.Null);
        return [.. Paths(CommandLine.Root(terminal), "")];
    }

    private static IEnumerable<string> Paths(Command command, string path) =>
        command.Subcommands.Where(sub => !sub.Hidden).SelectMany(sub => Paths(sub, $"{path} {sub.Name}".Trim())).Prepend(path);

    [Theory]
    [MemberData(nameof(Verbs))]
    public async Task Every_verb_has_help_with_examples(string verb)
    {
        var run = await RunAsync([.. verb.Split(' ', StringSplitOptions.RemoveEmptyEntries), "--help"]);

        Assert.Equal(Exit.Ok, run.Code);
        Assert.Contains("Usage:\n  ergon", run.Out, StringComparison.Ordinal);
        Assert.Contains("ergon", run.Out[run.Out.IndexOf("Examples:", StringComparison.Ordinal)..], StringComparison.Ordinal);
        Assert.Empty(run.Error);
    }

    [Fact]
    public async Task No_verb_shows_the_help_page() =>
        Assert.Contains("ergon run", (await RunAsync()).Out, StringComparison.Ordinal);

    [Theory]
    [InlineData("fly", "there is no command 'fly'")]
    [InlineData("--fly", "there is no option '--fly'")]
    [InlineData("run --fly hi", "there is no option '--fly'")]
    [InlineData("run a b c", "'c' is not expected here")]
    [InlineData("run", "there is no prompt")]
    [InlineData("run MODEL", "there is no prompt")]
    [InlineData("run absent.gguf hi", "no model file or pulled model 'absent.gguf'")]
    [InlineData("run FOLDER hi", "is a folder")]
    [InlineData("run MODEL hi --file x", "leave one out")]
    [InlineData("run --file absent.txt MODEL", "does not exist")]
    [InlineData("run MODEL hi --raw --system x", "--system needs the chat template")]
    [InlineData("run MODEL hi --system x", "--system needs a chat template")]
    [InlineData("run MODEL hi -n 0", "--max-tokens is '0', but must be a whole number, 1 or more")]
    [InlineData("run MODEL hi -n -3", "--max-tokens is '-3'")]
    [InlineData("run MODEL hi -n 1.5", "--max-tokens is '1.5'")]
    [InlineData("run MODEL hi --threads 0", "--threads is '0'")]
    [InlineData("run MODEL hi --threads", "--threads")]
    [InlineData("run MODEL hi --ctx -1", "--ctx is '-1'")]
    [InlineData("run MODEL hi --temp nan", "--temp is 'nan'")]
    [InlineData("run MODEL hi --temp -0.1", "--temp is '-0.1'")]
    [InlineData("run MODEL hi --top-p 1.1", "--top-p is '1.1'")]
    [InlineData("run MODEL hi --min-p x", "--min-p is 'x'")]
    [InlineData("run MODEL hi --seed -1", "--seed is '-1'")]
    [InlineData("run MODEL hi --kv-type q5", "must be one of f16, q8_0, q4_0")]
    [InlineData("run MODEL hi --logit-bias 5", "must be ID=BIAS")]
    [InlineData("run MODEL hi --logit-bias 5=nan", "must be ID=BIAS")]
    [InlineData("run MODEL hi --logit-bias 999999=1", "logit-bias is 999999")]
    [InlineData("run MODEL hi --grammar @absent", "'absent', which does not exist")]
    [InlineData("run MODEL hi --grammar a --json-schema b", "leave one out")]
    [InlineData("run MODEL hi --json-schema {", "not JSON")]
    [InlineData("run MODEL hi --device Abacus0", "'Abacus0' here; there is CPU")]
    [InlineData("run MODEL longer_than_four_tokens --ctx 4", "but the context holds 4")]
    [InlineData("run MODEL hi --engine fast", "--engine is 'fast', but must be one of auto, ergon, libllama")]
    [InlineData("run UNDESCRIBED hi --engine ergon", "'stablelm' is not one that Ergon's graph describes")]
    [InlineData("bench UNDESCRIBED --engine ergon", "'stablelm' is not one that Ergon's graph describes")]
    [InlineData("run KILLER hi", "GGML_ASSERT(n_embd_head == n_rot) failed")]
    [InlineData("run UNKNOWN hi", "abacus")]
    [InlineData("run ENCODER hi --engine libllama", "use 'ergon embed'")]
    [InlineData("run T5 hi", "reads a whole text with an encoder first")]
    [InlineData("run BOTHWAYS hi", "reads text in both directions")]
    [InlineData("chat MODEL", "no chat template")]
    [InlineData("embed MODEL", "there is no text")]
    [InlineData("embed MODEL hi", "use 'ergon run'")]
    [InlineData("embed MODEL hi --pooling max", "must be one of mean, cls, last")]
    [InlineData("embed MODEL hi --file x", "leave one out")]
    [InlineData("embed MODEL longer_than_four --pooling last --ctx 4", "but the context holds 4")]
    [InlineData("embed ENCODER hi --ctx 2000", "1024 learned positions")]
    [InlineData("run ENCODER hi", "use 'ergon embed'")]
    [InlineData("pull", "SOURCE")]
    [InlineData("pull words", "not a source of models")]
    [InlineData("rm absent", "no pulled model 'absent'")]
    [InlineData("inspect TEXT", "magic")]
    [InlineData("inspect EMPTY", "EMPTY")]
    [InlineData("tokenize MODEL", "there is no text")]
    [InlineData("perplexity MODEL TEXT", "two chunks")]
    [InlineData("perplexity MODEL absent.txt", "does not exist")]
    [InlineData("bench MODEL -p 0 -n 0", "nothing to measure")]
    [InlineData("bench MODEL --batch 1,x", "--batch is '1,x'")]
    [InlineData("bench MODEL --batch 0", "--batch is '0'")]
    [InlineData("dev random-model x.gguf --like gpt5", "--like is 'gpt5', but must be one of gpt2")]
    [InlineData("dev random-model x.gguf --like gpt2 --type q3", "--type is 'q3'")]
    [InlineData("dev random-model absent/x.gguf --like gpt2", "'absent/x.gguf' cannot be written")]
    [InlineData("natives add abacus", "known: cuda, vulkan")]
    [InlineData("solve", "there is no prompt")]
    [InlineData("solve MODEL hi", "no chat template")]
    [InlineData("solve words-s hi --samples 0", "--samples is '0', but must be a whole number, 1 to 10000")]
    [InlineData("solve words-s hi --delta 0", "--delta is '0', but must be above 0 and below 1")]
    [InlineData("solve words-s hi --delta 1", "--delta is '1', but must be above 0 and below 1")]
    [InlineData("solve words-s hi --budget-joules 0", "--budget-joules is '0'")]
    [InlineData("solve words-s hi --budget-joules 1 --no-receipt", "nothing is metered; leave out --no-receipt")]
    [InlineData("solve words-s hi --task chess", "--task is 'chess', but must be one of words, math, choice, own")]
    [InlineData("solve words-s hi --policy guess", "policy is 'guess', but must be one of cascade, majority, first-verified")]
    [InlineData("solve words-s hi --policy likelihood", "use --task choice")]
    [InlineData("solve words-s hi --policy first-verified", "give one with --verifier")]
    [InlineData("solve words-s hi --verifier true", "use --task own")]
    [InlineData("solve words-s hi --task own --verifier absent-program", "'absent-program' cannot be started")]
    [InlineData("solve words-s hi --task own --verifier TEXT --temp 0", "all would be the same")]
    [InlineData("solve words-s hi --task own --regex (", "regex is '(', but its pattern is invalid")]
    [InlineData("solve words-s hi --regex x", "use --task own")]
    [InlineData("solve words-s hi --task choice", "The number of options is 0")]
    [InlineData("solve words-s hi --task choice --choice a --choice a", "stands twice")]
    [InlineData("solve words-s hi --choice a", "use --task choice")]
    [InlineData("solve words-s hi --state TEXT", "not JSON")]
    [InlineData("solve words-s hi --escalate absent.gguf", "no model file or pulled model 'absent.gguf'")]
    [InlineData("solve words-s hi --task words -n 2 --samples 2", "no draw of 2 has an answer that --task words can read")]
    [InlineData("eval MODEL", "--task")]
    [InlineData("eval MODEL --task chess", "must be one of words")]
    [InlineData("eval MODEL --task words --items 0", "--items is '0'")]
    [InlineData("eval MODEL --task words --samples 2 --temp 0", "all would be the same")]
    public async Task Bad_input_is_one_sentence_and_exit_code_2(string line, string reason)
    {
        await File.WriteAllTextAsync(Path.Combine(_folder.Path, "TEXT"), "short");
        await File.WriteAllTextAsync(Path.Combine(_folder.Path, "EMPTY"), "");
        var run = await RunAsync([.. line.Split(' ').Select(word => word switch
        {
            "MODEL" => _model,
            "ENCODER" => new RandomModel("bert", GgmlType.F32).Write(_folder.Path),
            "UNDESCRIBED" => new UndescribedModel("stablelm").Write(_folder.Path),
            "KILLER" => new UndescribedModel("starcoder2") { Keys = new() { ["rope.dimension_count"] = 16u } }.Write(_folder.Path),
            "T5" => new UndescribedModel("t5").Write(_folder.Path),
            "BOTHWAYS" => new UndescribedModel("stablelm") { Keys = new() { ["attention.causal"] = false } }.Write(_folder.Path),
            "UNKNOWN" => new UndescribedModel("abacus").Write(_folder.Path),
            "FOLDER" => _folder.Path,
            "TEXT" or "EMPTY" => Path.Combine(_folder.Path, word),
            _ => word,
        })]);

        Assert.Equal(Exit.BadInput, run.Code);
        Assert.Empty(run.Out);
        var sentence = Assert.Single(run.Error.Split('\n'), text => text.StartsWith("ergon: ", StringComparison.Ordinal));
        Assert.Contains(reason, sentence, StringComparison.Ordinal);
        Assert.EndsWith(".", sentence, StringComparison.Ordinal);
        Assert.DoesNotContain("   at ", run.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task An_unreachable_host_is_a_failure_not_bad_input() =>
        Assert.Equal(Exit.Failure, (await RunAsync("pull", "http://127.0.0.1:9/m.gguf")).Code);

    [Fact]
    public async Task Run_streams_the_answer_to_stdout_and_the_rest_to_stderr()
    {
        var run = await RunAsync("run", _model, "--raw", "hello", "-n", "5", "--seed", "1");

        Assert.Equal(Exit.Ok, run.Code);
        Assert.EndsWith("\n", run.Out, StringComparison.Ordinal);
        Assert.Contains("context 1024", run.Error, StringComparison.Ordinal);
        Assert.Contains("5 tokens", run.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Run_reads_its_prompt_from_stdin_and_prints_the_documented_json()
    {
        var run = await RunWithInputAsync("hello", "run", _model, "-", "--raw", "--json", "-n", "5", "--json-schema", """{"type":"boolean"}""");

        using var json = JsonDocument.Parse(run.Out);
        Assert.Equal(["text", "finish_reason", "usage", "timings", "devices", "engine", "energy"], json.RootElement.EnumerateObject().Select(p => p.Name));
        Assert.Equal(["prompt_tokens", "completion_tokens"], json.RootElement.GetProperty("usage").EnumerateObject().Select(p => p.Name));
        Assert.Equal(["load_ms", "prompt_tokens_per_second", "tokens_per_second", "time_to_first_token_ms"], json.RootElement.GetProperty("timings").EnumerateObject().Select(p => p.Name));
        Assert.Contains(json.RootElement.GetProperty("finish_reason").GetString(), (string[])["stop", "length"]);
        Assert.Equal("CPU", json.RootElement.GetProperty("devices")[0].GetString());
        var energy = json.RootElement.GetProperty("energy");
        Assert.Equal(["joules", "watts", "joules_per_token", "prefill_joules", "decode_joules", "idle_joules", "source", "quality", "reason"], energy.EnumerateObject().Select(p => p.Name));
        // Unknown is null with a reason, never 0; what is modelled says why it was not measured.
        var isKnown = energy.GetProperty("joules").ValueKind == JsonValueKind.Number;
        Assert.True(!isKnown || energy.GetProperty("joules").GetDouble() > 0);
        Assert.Equal(!isKnown || energy.GetProperty("quality").GetString() == "modelled", energy.GetProperty("reason").ValueKind == JsonValueKind.String);
    }

    [Fact]
    public async Task Run_ends_with_a_receipt_unless_told_not_to()
    {
        var with = await RunAsync("run", _model, "--raw", "hello", "-n", "5");
        Assert.Matches(@"
5 tokens · (energy unknown: .+|[0-9.]+ J · .+)
$", with.Error);
        var without = await RunAsync("run", _model, "--raw", "hello", "-n", "5", "--no-receipt", "--json");
        Assert.DoesNotContain(" · ", without.Error, StringComparison.Ordinal);
        using var json = JsonDocument.Parse(without.Out);
        Assert.Equal(JsonValueKind.Null, json.RootElement.GetProperty("energy").ValueKind);
    }

    [Fact]
    public void A_receipt_in_one_line_has_three_figures_that_count_and_its_source()
    {
        var receipt = new Receipt(new Joules(12.44), new Joules(2.1), new Joules(9.84), new Joules(0.5), TimeSpan.FromSeconds(1.4), 42, "measured:rapl", EnergyQuality.Counter, null);
        Assert.Equal("42 tokens · 12.4 J · 0.296 J/token · 8.89 W mean · prefill 2.10 J, decode 9.84 J, idle 0.5 J · measured:rapl (counter)", Receipts.Line(receipt));
        // Of a small model's tokens thousandths of a joule say nothing.
        Assert.Equal("0.000359", Receipts.Figure(0.00035926));
    }

    [Fact]
    public async Task What_libllama_runs_as_a_whole_is_said_once_unless_it_was_asked_for()
    {
        const string notice = "ergon: architecture 'stablelm' is run by libllama as a whole: metered, not cuttable (--engine ergon refuses instead).";
        var model = new UndescribedModel("stablelm").Write(_folder.Path);
        var run = await RunAsync("run", model, "hello", "--json", "-n", "5", "--ctx", "64", "--threads", "1");
        Assert.Equal(Exit.Ok, run.Code);
        Assert.Equal(notice, Assert.Single(run.Error.Split('\n'), line => line.Contains("libllama", StringComparison.Ordinal)));
        using var json = JsonDocument.Parse(run.Out);
        Assert.Equal("libllama", json.RootElement.GetProperty("engine").GetString());
        Assert.Equal(5, json.RootElement.GetProperty("usage").GetProperty("completion_tokens").GetInt32());

        var asked = await RunAsync("run", model, "hello", "--json", "-n", "5", "--ctx", "64", "--threads", "1", "--engine", "libllama");
        Assert.DoesNotContain("libllama", asked.Error, StringComparison.Ordinal);
        Assert.Equal(json.RootElement.GetProperty("text").GetString(), JsonDocument.Parse(asked.Out).RootElement.GetProperty("text").GetString());

        var ours = await RunAsync("run", _model, "hello", "--json", "-n", "5");
        Assert.DoesNotContain("libllama", ours.Error, StringComparison.Ordinal);
        Assert.Equal("ergon", JsonDocument.Parse(ours.Out).RootElement.GetProperty("engine").GetString());
    }

    [Fact]
    public async Task Every_verb_that_loads_a_model_takes_an_engine()
    {
        var model = new UndescribedModel("mamba").Write(_folder.Path);
        var text = Path.Combine(_folder.Path, "text");
        await File.WriteAllTextAsync(text, new string('x', 300));
        using var bench = JsonDocument.Parse((await RunAsync("bench", model, "-p", "20", "-n", "4", "--batch", "2", "--pairs", "1", "--threads", "1", "--device", "CPU", "--baseline", "--json", "--engine", "libllama")).Out);
        Assert.Equal("libllama", bench.RootElement.GetProperty("engine").GetString());
        Assert.Equal(["pp20", "tg4x2", "ttft_ms", "rss_mib"], bench.RootElement.GetProperty("results").EnumerateArray().Select(r => r.GetProperty("test").GetString()));
        var figures = new List<double>();
        foreach (var engine in (string[])["ergon", "libllama"])
        {
            using var perplexity = JsonDocument.Parse((await RunAsync("perplexity", _model, text, "--ctx", "64", "--json", "--engine", engine)).Out);
            figures.Add(perplexity.RootElement.GetProperty("perplexity").GetDouble());
            using var eval = JsonDocument.Parse((await RunAsync("eval", "words-s", "--task", "words", "--items", "3", "--json", "--engine", engine)).Out);
            Assert.Equal(engine, eval.RootElement.GetProperty("engine").GetString());
            figures.Add(eval.RootElement.GetProperty("accuracy").GetDouble());
        }
        Assert.Equal(figures[..2], figures[2..]);
        Assert.Contains("no chat template", (await RunAsync("chat", model, "--engine", "libllama")).Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Inspect_says_which_engine_runs_a_model()
    {
        Assert.Equal("ergon", await EngineOf(_model));
        Assert.Equal("libllama", await EngineOf(new UndescribedModel("mamba").Write(_folder.Path)));
        Assert.Null(await EngineOf(new UndescribedModel("abacus").Write(_folder.Path)));
        Assert.Contains("by libllama as a whole, not by Ergon's graph: ", (await RunAsync("inspect", new UndescribedModel("mamba").Write(_folder.Path))).Out, StringComparison.Ordinal);

        async Task<string?> EngineOf(string path)
        {
            using var report = JsonDocument.Parse((await RunAsync("inspect", path, "--json")).Out);
            return report.RootElement.GetProperty("engine").GetString();
        }
    }

    [Fact]
    public async Task An_interrupt_ends_an_answer_in_order_with_its_statistics_and_exit_code_130()
    {
        if (OperatingSystem.IsWindows())
            return;
        var start = new ProcessStartInfo("dotnet") { RedirectStandardOutput = true, RedirectStandardError = true };
        foreach (var word in (string[])[typeof(CommandLine).Assembly.Location, "run", _model, "--raw", "hello", "--ctx", "16384", "--logit-bias", "258=-inf"])
            start.ArgumentList.Add(word);
        using var ergon = Process.Start(start)!;
        await ergon.StandardOutput.ReadAsync(new char[1]);
        // SIGTERM goes the way of Ctrl-C, which a runner in the background ignores.
        using (var kill = Process.Start("kill", ["-TERM", ergon.Id.ToString(CultureInfo.InvariantCulture)]))
            await kill.WaitForExitAsync();

        Assert.Contains("interrupted", await ergon.StandardError.ReadToEndAsync(), StringComparison.Ordinal);
        Assert.True(ergon.WaitForExit(TimeSpan.FromSeconds(10)));
        Assert.Equal(Exit.Interrupted, ergon.ExitCode);
    }

    [Fact]
    public async Task Tokenize_and_inspect_describe_a_model()
    {
        using var tokens = JsonDocument.Parse((await RunAsync("tokenize", _model, "hello", "--json")).Out);
        Assert.Equal(["tokens"], tokens.RootElement.EnumerateObject().Select(p => p.Name));

        using var report = JsonDocument.Parse((await RunAsync("inspect", _model, "--json")).Out);
        Assert.True(report.RootElement.GetProperty("supported").GetBoolean());
        Assert.Equal("llama", report.RootElement.GetProperty("metadata").GetProperty("general.architecture").GetString());
        Assert.Equal([256L, 320L], report.RootElement.GetProperty("tensors")[0].GetProperty("shape").EnumerateArray().Select(n => n.GetInt64()));
    }

    [Fact]
    public async Task Bench_measures_both_engines_and_fresh_processes_and_prints_the_documented_json()
    {
        var run = await RunAsync("bench", _model, "-p", "20", "-n", "4", "--batch", "1,3", "--pairs", "2", "--threads", "1", "--device", "CPU", "--baseline", "--json");

        using var json = JsonDocument.Parse(run.Out);
        var results = json.RootElement.GetProperty("results").EnumerateArray().ToList();
        Assert.Equal(["pp20", "tg4", "tg4x3", "ttft_ms", "rss_mib"], results.Select(r => r.GetProperty("test").GetString()));
        Assert.All(results, r =>
        {
            Assert.Equal(["test", "value", "unit", "baseline", "ratio", "ratio_low", "ratio_high", "pairs", "joules_per_token"], r.EnumerateObject().Select(p => p.Name));
            Assert.True(r.GetProperty("ratio").GetDouble() > 0);
            Assert.Equal(2, r.GetProperty("pairs").GetInt32());
            var isRate = r.GetProperty("unit").GetString() == "t/s";
            Assert.Equal(isRate, r.GetProperty("joules_per_token").ValueKind == JsonValueKind.Number);
        });
    }

    [Theory]
    [InlineData("--csv", "model,test,value", 3)]
    [InlineData("--md", "| model | size |", 4)]
    [InlineData("--threads", "model", 3)]
    public async Task Bench_prints_a_line_for_each_test(string form, string header, int lines)
    {
        var run = await RunAsync(["bench", _model, "-p", "20", "-n", "4", "--batch", "1", "--pairs", "1", form, .. form == "--threads" ? ["1"] : Array.Empty<string>()]);

        Assert.StartsWith(header, run.Out, StringComparison.Ordinal);
        Assert.Equal(lines, run.Out.Split('\n', StringSplitOptions.RemoveEmptyEntries).Length);
    }

    [Fact]
    public async Task Embed_prints_a_vector_a_line_or_the_documented_json()
    {
        var encoder = new RandomModel("nomic-bert", GgmlType.F32).Write(_folder.Path);
        var lines = (await RunAsync("embed", encoder, "the sky", "is blue")).Out.Split('\n', StringSplitOptions.RemoveEmptyEntries);
        float[][] vectors = [.. lines.Select(line => line.Split(' ').Select(v => float.Parse(v, CultureInfo.InvariantCulture)).ToArray())];
        Assert.Equal([256, 256], vectors.Select(v => v.Length));
        Assert.All(vectors, v => Assert.Equal(1, v.Sum(x => x * x), 1e-5f));

        using var json = JsonDocument.Parse((await RunWithInputAsync("the sky\n\nis blue\n", "embed", encoder, "-", "--json")).Out);
        Assert.Equal(["embeddings", "dimensions", "prompt_tokens", "energy"], json.RootElement.EnumerateObject().Select(p => p.Name));
        Assert.Equal(vectors, json.RootElement.GetProperty("embeddings").EnumerateArray().Select(e => e.EnumerateArray().Select(v => v.GetSingle()).ToArray()));
        Assert.Equal(256, json.RootElement.GetProperty("dimensions").GetInt32());
        Assert.True(json.RootElement.GetProperty("prompt_tokens").GetInt32() > 4);
    }

    [Fact]
    public async Task Embed_and_eval_end_with_a_receipt_unless_told_not_to()
    {
        var encoder = new RandomModel("nomic-bert", GgmlType.F32).Write(_folder.Path);
        var embed = await RunAsync("embed", encoder, "the sky", "is blue");
        Assert.Matches(@"\n2 texts · (energy unknown: .+|[0-9.]+ J · [0-9.]+ J/text · .+)\n$", embed.Error);
        var eval = await RunAsync("eval", "words-s", "--task", "words", "--items", "4", "--json");
        Assert.Matches(@"\n[0-9]+ tokens · (energy unknown: .+|[0-9.]+ J · .+)\n$", eval.Error);
        var figures = JsonDocument.Parse(eval.Out).RootElement;
        if (figures.GetProperty("energy").GetProperty("joules") is { ValueKind: JsonValueKind.Number } joules)
        {
            // Four queries; and accuracy over power is accuracy over energy times the time.
            var accuracy = figures.GetProperty("accuracy").GetDouble();
            Assert.Equal(accuracy * 4 / joules.GetDouble(), figures.GetProperty("ipj").GetDouble(), 1e-4 * Math.Max(1, figures.GetProperty("ipj").GetDouble()));
            Assert.Equal(accuracy / figures.GetProperty("energy").GetProperty("watts").GetDouble(), figures.GetProperty("ipw").GetDouble(), 1e-4);
        }
        foreach (var line in (string[][])[["embed", encoder, "the sky"], ["eval", "words-s", "--task", "words", "--items", "2"]])
        {
            var without = await RunAsync([.. line, "--no-receipt", "--json"]);
            Assert.DoesNotContain(" · ", without.Error, StringComparison.Ordinal);
            Assert.Equal(JsonValueKind.Null, JsonDocument.Parse(without.Out).RootElement.GetProperty("energy").ValueKind);
        }
    }

    [Fact]
    public async Task Top_shows_a_process_while_it_answers_and_the_machine_when_none_does()
    {
        if (OperatingSystem.IsWindows())
            return;
        var start = new ProcessStartInfo("dotnet") { RedirectStandardOutput = true, RedirectStandardError = true };
        foreach (var word in (string[])[typeof(CommandLine).Assembly.Location, "run", _model, "--raw", "hello", "--ctx", "65536", "--threads", "1", "--logit-bias", "258=-inf"])
            start.ArgumentList.Add(word);
        using var ergon = Process.Start(start)!;
        var reading = ergon.StandardOutput.ReadToEndAsync();
        JsonElement process = default;
        for (var waited = 0; waited < 100 && process.ValueKind == JsonValueKind.Undefined; waited++)
        {
            using var report = JsonDocument.Parse((await RunAsync("top", "--once", "--json")).Out);
            Assert.Equal(["processes", "machine"], report.RootElement.EnumerateObject().Select(p => p.Name));
            process = report.RootElement.GetProperty("processes").EnumerateArray().Where(p => p.GetProperty("totals").GetProperty("tokens").GetInt64() > 0).Select(p => p.Clone()).FirstOrDefault();
            await Task.Delay(100);
        }
        Assert.Equal(ergon.Id, process.GetProperty("pid").GetInt32());
        Assert.Equal(1, process.GetProperty("open_requests").GetInt32());
        Assert.True(process.GetProperty("devices")[0].GetProperty("tokens_per_second").GetDouble() > 0);
        var table = (await RunAsync("top", "--once")).Out.Split('\n', StringSplitOptions.RemoveEmptyEntries);
        Assert.StartsWith("PID", table[0], StringComparison.Ordinal);
        Assert.StartsWith(ergon.Id.ToString(CultureInfo.InvariantCulture), Assert.Single(table[1..]), StringComparison.Ordinal);

        using (var kill = Process.Start("kill", ["-TERM", ergon.Id.ToString(CultureInfo.InvariantCulture)]))
            await kill.WaitForExitAsync();
        await ergon.StandardError.ReadToEndAsync();
        await reading;
        Assert.True(ergon.WaitForExit(TimeSpan.FromSeconds(10)));
        Assert.Empty(Directory.GetFiles(Path.Combine(_folder.Path, "ergon")));
        using var idle = JsonDocument.Parse((await RunAsync("top", "--once", "--json")).Out);
        Assert.NotEqual(0, idle.RootElement.GetProperty("machine").GetArrayLength());
    }

    [Fact]
    public async Task A_folder_that_is_open_to_others_costs_the_place_in_top_and_not_the_answer()
    {
        if (OperatingSystem.IsWindows())
            return;
        var folder = Directory.CreateDirectory(Path.Combine(_folder.Path, "ergon")).FullName;
        File.SetUnixFileMode(folder, (UnixFileMode)0b111_101_101);
        var run = await RunAsync("run", _model, "--raw", "hello", "-n", "5");
        Assert.Equal(Exit.Ok, run.Code);
        Assert.Contains("5 tokens", run.Error, StringComparison.Ordinal);
        Assert.Contains("chmod 700", Assert.Single(run.Error.Split('\n'), line => line.StartsWith("ergon: ", StringComparison.Ordinal)), StringComparison.Ordinal);
        var top = await RunAsync("top", "--once");
        Assert.Equal(Exit.Ok, top.Code);
        Assert.Contains("chmod 700", top.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Devices_and_natives_name_what_is_here()
    {
        using var devices = JsonDocument.Parse((await RunAsync("devices", "--json")).Out);
        var cpu = devices.RootElement.GetProperty("devices").EnumerateArray().First(d => d.GetProperty("kind").GetString() == "cpu");
        Assert.True(cpu.GetProperty("flops_many_rows").GetDouble() > 1e9);
        var table = (await RunAsync("devices")).Out.Split('\n');
        Assert.Equal(["NAME", "KIND", "MEMORY", "FREE", "READS", "Q4_0", "x", "1", "Q4_0", "x", "512", "TEMP", "POWER", "METER", "KNOBS", "DESCRIPTION"], table[0].Split(' ', StringSplitOptions.RemoveEmptyEntries));
        var explained = (await RunAsync("devices", "--explain", "cpu")).Out;
        Assert.Contains("idlePower", explained, StringComparison.Ordinal);
        Assert.Equal(2, (await RunAsync("devices", "--explain", "Abacus")).Code);

        using var natives = JsonDocument.Parse((await RunAsync("natives", "--json")).Out);
        Assert.Equal(NativeVersion.LlamaCpp, natives.RootElement.GetProperty("llama_cpp").GetString());
    }

    [Fact]
    public async Task Bench_compares_predictions_with_passes_and_metering_with_none()
    {
        using var predicted = JsonDocument.Parse((await RunAsync("bench", _model, "--predict", "--threads", "1", "--device", "CPU", "--json")).Out);
        var passes = predicted.RootElement.GetProperty("passes").EnumerateArray().ToList();
        Assert.Contains(passes, p => p.GetProperty("pass").GetString() == "decode 8 at 64");
        Assert.All(passes, p => Assert.True(p.GetProperty("predicted_ms").GetDouble() > 0 && p.GetProperty("actual_ms").GetDouble() > 0 && p.GetProperty("runs").GetInt32() >= 5));
        Assert.All(passes, p => Assert.Equal((p.GetProperty("predicted_ms").GetDouble() / p.GetProperty("actual_ms").GetDouble()) - 1, p.GetProperty("error").GetDouble(), 1e-3));

        using var overhead = JsonDocument.Parse((await RunAsync("bench", _model, "--overhead", "-n", "8", "--pairs", "2", "--threads", "1", "--device", "CPU", "--json")).Out);
        Assert.True(overhead.RootElement.GetProperty("ratio").GetDouble() > 0);
        Assert.NotEmpty(overhead.RootElement.GetProperty("sources").EnumerateArray());
    }

    [Fact]
    public async Task The_probe_of_the_fuzz_benchmark_outlives_bad_files()
    {
        var run = await RunWithInputAsync($"{_model}\n/dev/null\nabsent\n", "dev", "probe");
        Assert.Equal(["ok", "refused", "refused"], run.Out.Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(line => line.Split(':')[0]));
    }

    private static Task<(int Code, string Out, string Error)> RunAsync(params string[] args) => RunWithInputAsync("", args);

    private static async Task<(int Code, string Out, string Error)> RunWithInputAsync(string input, params string[] args)
    {
        using var output = new StringWriter();
        using var error = new StringWriter();
        using var terminal = new Terminal(new StringReader(input), output, error);
        return (await CommandLine.RunAsync(args, terminal), output.ToString(), error.ToString());
    }
}
