using Ergon.Inference;
using Ergon.Reasoning;

namespace Ergon.Tests.Reasoning;

public sealed class WordsEvaluationTests
{
    [Theory]
    [InlineData("17+25=42 #### 42", 42, true)]
    [InlineData("17+25=42 #### 42\n", 42, true)]
    [InlineData("#### 41 #### 42", 42, true)]
    [InlineData("17+25=42", 42, false)]
    [InlineData("#### 42 apples", 42, false)]
    [InlineData("####", 42, false)]
    [InlineData("#### -42", 42, false)]
    public void An_answer_is_the_number_after_the_last_mark(string text, int answer, bool right) => Assert.Equal(right, WordsEvaluation.IsRight(text, answer));

    [SharedFact]
    public async Task Figures_repeat_by_seed_and_cover_every_sample()
    {
        var options = new WordsEvaluationOptions { Items = 6, Samples = 4, Temperature = 0.8f };
        var result = await Run(1);
        Assert.Equal(result.PassAtK[1], result.Accuracy, 12);
        Assert.Equal([1, 2, 4], result.PassAtK.Keys.Order());
        Assert.True(result.PassAtK[4] >= result.PassAtK[1]);
        Assert.Equal(result with { Time = default, PassAtK = Same }, await Run(1) with { Time = default, PassAtK = Same });
        // Beside others a row may round differently, so only the counts are the same.
        var together = await Run(6);
        Assert.Equal((6, 4, result.PromptTokens), (together.Items, together.Samples, together.PromptTokens));

        async Task<EvaluationResult> Run(int sequences)
        {
            using var model = ErgonModel.Load(Shared.Path("data/models/ergon-words-s-f16.gguf"), new ModelOptions { MaxSequences = sequences, Threads = 1 });
            return await WordsEvaluation.RunAsync(model, options);
        }
    }

    private static readonly Dictionary<int, double> Same = [];
}
