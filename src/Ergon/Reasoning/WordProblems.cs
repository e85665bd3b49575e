namespace Ergon.Reasoning;

/// <summary>Generates the word problems that the demonstration models are trained on and measured
/// with, bit-identical to <c>train/words.py</c>. Pure: a problem depends on its seed and index alone.</summary>
/// <remarks>A question whose SHA-256 (of its UTF-8 bytes) starts with a byte below 16 is held out:
/// training skips those, evaluation uses only those, whatever the seed.</remarks>
public static class WordProblems
{
    /// <summary>The seed of the recipe's evaluation: figures in <c>models/README.md</c> use its
    /// first held-out problems.</summary>
    public const ulong EvaluationSeed = 99;

    private const int EasyPercent = 25;
    private const int HardPercent = 35; // the remaining 40 % are harder

    private static readonly string[] s_names =
    [
        "Ada", "Ben", "Cleo", "Dan", "Eva", "Finn", "Gus", "Hana", "Ivo", "Jo", "Kai", "Lena", "Max",
        "Nia", "Otto", "Pia", "Quin", "Rosa", "Sam", "Tess", "Uma", "Vic", "Wes", "Xia", "Yan", "Zoe",
    ];

    private static readonly string[] s_items =
    [
        "apples", "books", "coins", "cards", "eggs", "pens", "shells", "stamps", "marbles", "cups",
        "nuts", "keys", "bolts", "lamps", "cells", "cables",
    ];

    private static readonly string[] s_places =
        ["shop", "farm", "school", "lab", "market", "garden", "office", "station"];

    /// <summary>Problem <paramref name="index"/> of <paramref name="seed"/>, from either split.</summary>
    public static WordProblem Generate(ulong seed, ulong index)
    {
        var random = new SplitMix64(seed, index);
        var level = LevelOf(random.Below(100));
        var (one, other) = random.Two<string>(s_names);
        var items = random.Choice<string>(s_items);
        var place = random.Choice<string>(s_places);
        var scene = new WordProblemTemplates.Scene(one, other, items, place);
        var working = new WordProblemTemplates.Working();
        var template = random.Choice(WordProblemTemplates.Of(level));
        var question = template(random, scene, working);
        return new WordProblem(question, working.ToString(), working.Result, level);
    }

    /// <summary>The endless sequence of held-out problems of <paramref name="seed"/>, in order.</summary>
    public static IEnumerable<WordProblem> HeldOut(ulong seed = EvaluationSeed) =>
        All(seed).Where(problem => problem.IsHeldOut);

    /// <summary>The endless sequence of problems that training with <paramref name="seed"/> sees.</summary>
    public static IEnumerable<WordProblem> ForTraining(ulong seed) =>
        All(seed).Where(problem => !problem.IsHeldOut);

    private static IEnumerable<WordProblem> All(ulong seed)
    {
        for (ulong index = 0; ; index++)
            yield return Generate(seed, index);
    }

    private static WordProblemLevel LevelOf(int percent) => percent switch
    {
        < EasyPercent => WordProblemLevel.Easy,
        < EasyPercent + HardPercent => WordProblemLevel.Hard,
        _ => WordProblemLevel.Harder,
    };
}
