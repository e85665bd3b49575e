using System.Text;
using System.Text.Json;
using Ergon.Reasoning.Evaluation;

namespace Ergon.Tests.Reasoning;

public sealed class EvaluationJournalTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    private string File => _folder.File("journal.jsonl");

    public void Dispose() => _folder.Dispose();

    internal static EvaluationSettings Settings() => new()
    {
        Task = "words", Model = "m", ModelFingerprint = "sha256:1", Items = 3, Samples = 2, Temperature = 0.8f, Seed = 7, Context = 64, KvType = "f16", Engine = "ergon", OnBadLine = "fail",
    };

    internal static EvaluatedDraw Draw(int item, int sample, string? answer = "4", bool right = true, int tokens = 5, double? joules = 2, double at = 1, double? evidence = null) => new()
    {
        Item = item, Sample = sample, Id = $"words/{item}", Text = "2+2=4\n#### 4 \"…\"", Answer = answer, Right = right, Tokens = tokens, PromptTokens = 3, At = at, Evidence = evidence,
        Energy = joules is null ? null : new DrawEnergy(joules, joules / 4, joules / 2, joules / 4, null, "measured:rapl", Ergon.Energy.EnergyQuality.Counter, null),
    };

    private void Write(params EvaluatedDraw[] draws)
    {
        using var journal = EvaluationJournal.Open(File, Settings());
        foreach (var draw in draws)
            journal.Add(draw);
    }

    [Fact]
    public void Draws_come_back_as_they_were_written_with_the_time_that_was_worked()
    {
        EvaluatedDraw[] draws = [Draw(1, 0, at: 2.5), Draw(0, 1, answer: null, right: false, joules: null), Draw(0, 0) with { Verified = false, Evidence = 0.5, LogProbability = -1.25, FalseAt = 3, Share = 0.5 }];
        Write(draws);
        using var journal = EvaluationJournal.Open(File, Settings());
        Assert.Equal([draws[2], draws[1], draws[0]], journal.Draws());
        journal.Dispose();
        Assert.Equal([draws[2], draws[1], draws[0]], EvaluationJournal.Load(File).Draws);
        Assert.Equal((3, 2.5), (journal.Found, journal.Seconds));
        Assert.Equal(draws[0], journal.Find(1, 0));
        Assert.Null(journal.Find(1, 1));
    }

    [Theory]
    [InlineData(1)]
    [InlineData(20)]
    public void A_line_that_was_cut_is_dropped_and_its_draw_can_be_written_again(int cut)
    {
        Write(Draw(0, 0), Draw(0, 1));
        using (var file = new FileStream(File, FileMode.Open))
            file.SetLength(file.Length - cut);
        // Who only reads changes nothing.
        var length = new FileInfo(File).Length;
        var (settings, draws) = EvaluationJournal.Load(File);
        Assert.Equal((Settings(), Draw(0, 0), length), (settings, Assert.Single(draws), new FileInfo(File).Length));
        using (var journal = EvaluationJournal.Open(File, Settings()))
        {
            Assert.Equal(1, journal.Found);
            journal.Add(Draw(0, 1));
        }
        using var again = EvaluationJournal.Open(File, Settings());
        Assert.Equal([Draw(0, 0), Draw(0, 1)], again.Draws());
    }

    [Fact]
    public void A_journal_whose_settings_were_cut_begins_anew()
    {
        Write();
        using (var file = new FileStream(File, FileMode.Open))
            file.SetLength(9);
        Write(Draw(0, 0));
        using var journal = EvaluationJournal.Open(File, Settings());
        Assert.Equal(1, journal.Found);
    }

    [Fact]
    public void Other_settings_are_refused_with_their_difference()
    {
        Write(Draw(0, 0));
        var before = System.IO.File.ReadAllBytes(File);
        Check(s => s with { Temperature = 1 }, "temperature 0.8, but this evaluation has 1");
        Check(s => s with { Seed = 8 }, "seed 7, but this evaluation has 8");
        Check(s => s with { Samples = 4 }, "samples 2");
        Check(s => s with { ModelFingerprint = "sha256:2" }, "model fingerprint \"sha256:1\"");
        Check(s => s with { Data = "sha256:3" }, "data null, but this evaluation has \"sha256:3\"");
        Check(s => s with { Policy = "esc" }, "policy null");
        Check(s => s with { MaxTokens = 9 }, "max tokens null");
        Assert.Equal(before, System.IO.File.ReadAllBytes(File));

        void Check(Func<EvaluationSettings, EvaluationSettings> change, string difference)
        {
            var refusal = Assert.Throws<ErgonException>(() => EvaluationJournal.Open(File, change(Settings())));
            Assert.Contains(difference, refusal.Message, StringComparison.Ordinal);
        }
    }

    [Theory]
    [InlineData("somebody's file without a line")]
    [InlineData("somebody's\nfile\n")]
    [InlineData("[]\n")]
    [InlineData("{}\n")]
    public void A_file_that_is_no_journal_is_refused_and_kept(string text)
    {
        System.IO.File.WriteAllText(File, text);
        Assert.Contains("no journal", Assert.Throws<ErgonException>(() => EvaluationJournal.Open(File, Settings())).Message, StringComparison.Ordinal);
        Assert.Equal(text, System.IO.File.ReadAllText(File));
    }

    [Theory]
    [InlineData("{\"item\":0}", "line 3")]
    [InlineData("null", "line 3")]
    [InlineData("{\"item\":", "line 3")]
    public void A_line_that_is_no_draw_is_refused_with_its_number(string line, string named)
    {
        Write(Draw(0, 0));
        System.IO.File.AppendAllText(File, line + "\n");
        Assert.Contains(named, Assert.Throws<ErgonException>(() => EvaluationJournal.Open(File, Settings())).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_draw_that_is_there_twice_is_refused_and_two_evaluations_do_not_share_a_file()
    {
        Write(Draw(0, 0));
        System.IO.File.AppendAllText(File, Encoding.UTF8.GetString(JsonSerializer.SerializeToUtf8Bytes(Draw(0, 0), EvaluationJson.Default.EvaluatedDraw)) + "\n");
        Assert.Contains("twice", Assert.Throws<ErgonException>(() => EvaluationJournal.Open(File, Settings())).Message, StringComparison.Ordinal);

        var other = _folder.File("other.jsonl");
        using var first = EvaluationJournal.Open(other, Settings());
        Assert.Contains("no other evaluation", Assert.Throws<ErgonException>(() => EvaluationJournal.Open(other, Settings())).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_fingerprint_sees_length_and_blocks_over_the_whole_file()
    {
        // 20 MiB: more than the blocks that are read.
        var bytes = new byte[20 << 20];
        var path = _folder.File("weights", bytes);
        var whole = Fingerprint.Of(path);
        Assert.Equal(whole, Fingerprint.Of(path));
        Assert.NotEqual(whole, Changed(0));
        Assert.NotEqual(whole, Changed(bytes.Length - 1));
        Assert.NotEqual(whole, Changed(bytes.Length / 15 * 7));
        Assert.NotEqual(whole, Fingerprint.Of(_folder.File("shorter", bytes[..^1])));
        Assert.NotEqual(Fingerprint.Of(_folder.File("a", [1, 2])), Fingerprint.Of(_folder.File("b", [1, 3])));

        string Changed(int at)
        {
            var copy = (byte[])bytes.Clone();
            copy[at] = 1;
            return Fingerprint.Of(_folder.File("changed", copy));
        }
    }
}
