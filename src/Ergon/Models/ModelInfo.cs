using Ergon.Models.Gguf;
using Ergon.Native;

namespace Ergon.Models;

/// <summary>What is known of a model whichever engine runs it.</summary>
public abstract class ModelInfo
{
    // A position or a row index is an I32 in ggml, and logits are counted [n_vocab, rows] in one array of
    // at most 512 rows: these bounds keep all products in range.
    private protected const int MaxLayers = 1024, MaxWidth = 1 << 20, MaxContext = 1 << 24, MaxVocabulary = (1 << 22) - 1, MaxExperts = 1024;

    private protected const string EmbeddingName = "token_embd.weight";

    private protected ModelInfo(GgufFile file)
    {
        File = file;
        ArchitectureName = file.GetString("general.architecture");
        var keys = new Hyperparameters(file, ArchitectureName);
        Name = keys.Text("general.name") ?? System.IO.Path.GetFileNameWithoutExtension(file.Path);
        LayerCount = keys.Count("block_count", 1, MaxLayers);
        EmbeddingLength = keys.Count("embedding_length", 1, MaxWidth);
        TrainingContext = keys.Count("context_length", 1, MaxContext);
        var rows = (file.FindTensor(EmbeddingName) ?? throw Lacks(EmbeddingName)).Ne[1];
        VocabularySize = rows <= MaxVocabulary ? (int)rows
            : throw new GgufException(file.Path, $"has an embedding for {rows} tokens, more than the {MaxVocabulary} that Ergon takes");
    }

    /// <summary>The validated file, or the first of its parts.</summary>
    internal GgufFile File { get; }

    /// <summary>The file's <c>general.name</c>, or its file name.</summary>
    public string Name { get; }

    /// <summary>The value of <c>general.architecture</c>.</summary>
    public string ArchitectureName { get; }

    /// <summary>Layers.</summary>
    public int LayerCount { get; }

    /// <summary>Width of the residual stream, <c>n_embd</c>.</summary>
    public int EmbeddingLength { get; }

    /// <summary>Positions that the model was trained on.</summary>
    public int TrainingContext { get; }

    /// <summary>Tokens that the model has an embedding for and, unless it is an encoder, gives logits for.</summary>
    public int VocabularySize { get; }

    /// <summary>Sum of the elements of all weights.</summary>
    public long ParameterCount => Used.Sum(t => t.Elements);

    /// <summary>Sum of the bytes of all weights in the file.</summary>
    public long WeightBytes => Used.Sum(t => t.Bytes);

    /// <summary>The type that most bytes of the weights have.</summary>
    internal GgmlType MainType => Used.GroupBy(t => t.Type).MaxBy(g => g.Sum(t => t.Bytes))!.Key;

    /// <summary>The tensors that are weights.</summary>
    private protected abstract IEnumerable<GgufTensor> Used { get; }

    /// <summary>Positions that have a learned vector each and cannot be exceeded; <see langword="null"/> where positions are computed.</summary>
    internal abstract int? LearnedPositions { get; }

    /// <summary>Values of a head's key and value in the cache; 0 where there is no attention.</summary>
    internal abstract (int Key, int Value) HeadLengths { get; }

    /// <summary>Values of the widest intermediate results of a row: its logits, the feed-forward block, and the residual stream a few times over.</summary>
    internal abstract long RowValues { get; }

    private protected long RowValuesOf(long feedForwardLength, long blocks) => VocabularySize + (3 * feedForwardLength * blocks) + ((7 + blocks) * EmbeddingLength);

    private protected GgufException Lacks(string tensor) =>
        new(File.Path, $"lacks the tensor '{tensor}', which the architecture '{ArchitectureName}' needs: the file is incomplete, or holds only a vocabulary");
}
