using System.Globalization;
using System.Runtime.CompilerServices;
using System.Text.Json;
using Ergon.Reasoning;

namespace Ergon.Tests.Reasoning;

public class WordProblemTests
{
    // words-golden.jsonl: `python3 train/words.py 7 300`.
    private sealed record Golden(ulong Seed, ulong Index, WordProblem Problem, bool HeldOut);

    private static readonly Golden[] s_golden = ReadGolden();

    [Fact]
    public void Generator_matches_the_recipe_on_every_golden_problem()
    {
        Assert.Equal(300, s_golden.Length);
        Assert.All(s_golden, golden =>
            Assert.Equal(golden.Problem, WordProblems.Generate(golden.Seed, golden.Index)));
    }

    [Fact]
    public void Held_out_rule_matches_the_recipe_on_every_golden_problem()
    {
        Assert.Contains(s_golden, golden => golden.HeldOut);
        Assert.All(s_golden, golden => Assert.Equal(golden.HeldOut, golden.Problem.IsHeldOut));
    }

    [Fact]
    public void Held_out_problems_never_enter_training()
    {
        var heldOut = WordProblems.HeldOut().Take(500).Select(problem => problem.Question).ToHashSet();
        Assert.DoesNotContain(
            WordProblems.ForTraining(seed: 2026).Take(20_000),
            problem => heldOut.Contains(problem.Question));
    }

    [Fact]
    public void About_one_problem_in_sixteen_is_held_out() =>
        Assert.InRange(Problems(16_000).Count(problem => problem.IsHeldOut), 850, 1150);

    [Fact]
    public void Every_answer_is_positive_and_ends_the_worked_answer() =>
        Assert.All(Problems(5_000), problem =>
        {
            Assert.True(problem.Answer > 0, problem.Question);
            Assert.EndsWith(
                string.Create(CultureInfo.InvariantCulture, $" #### {problem.Answer}"),
                problem.WorkedAnswer,
                StringComparison.Ordinal);
        });

    [Fact]
    public void Levels_come_in_the_documented_mix()
    {
        var levels = Problems(20_000).CountBy(problem => problem.Level).ToDictionary();
        Assert.InRange(levels[WordProblemLevel.Easy], 4_750, 5_250);
        Assert.InRange(levels[WordProblemLevel.Hard], 6_700, 7_300);
        Assert.InRange(levels[WordProblemLevel.Harder], 7_700, 8_300);
    }

    private static IEnumerable<WordProblem> Problems(int count) =>
        Enumerable.Range(0, count).Select(index => WordProblems.Generate(seed: 3, (ulong)index));

    private static Golden[] ReadGolden([CallerFilePath] string thisFile = "") =>
    [
        .. from line in File.ReadLines(
               Path.Combine(Path.GetDirectoryName(thisFile)!, "words-golden.jsonl"))
           select JsonDocument.Parse(line).RootElement into row
           let problem = new WordProblem(
               row.GetProperty("question").GetString()!,
               row.GetProperty("worked_answer").GetString()!,
               row.GetProperty("answer").GetInt32(),
               Enum.Parse<WordProblemLevel>(row.GetProperty("level").GetString()!, ignoreCase: true))
           select new Golden(
               row.GetProperty("seed").GetUInt64(),
               row.GetProperty("index").GetUInt64(),
               problem,
               row.GetProperty("held_out").GetBoolean()),
    ];
}
