namespace Ergon.Models.Gguf;

/// <summary>One of the files that a model is split into; an unsplit model has one.</summary>
/// <param name="Path">As opened.</param>
/// <param name="Length">Of the file, in bytes.</param>
internal sealed record GgufPart(string Path, long Length);

/// <summary>A model file that has been checked from end to end of its header: no field of it can make
/// gguf.cpp, or libllama's vocabulary loader, abort, throw, read out of bounds or run without end
/// (docs/gguf-validation.md lists what is checked). Immutable; reading from several threads is safe.
/// Holds no file open: lazily read values open the file anew.</summary>
internal sealed partial class GgufFile
{
    private readonly Dictionary<string, GgufTensor> _tensorsByName;

    private GgufFile(GgufHeader first, List<GgufPart> parts, List<GgufTensor> tensors)
    {
        Version = first.Version;
        Alignment = first.Alignment;
        Keys = first.Keys;
        _entries = first.Entries;
        Parts = parts;
        Tensors = tensors;
        _tensorsByName = tensors.ToDictionary(t => t.Name);
    }

    /// <summary>The file that was opened: the first part of a split model.</summary>
    public string Path => Parts[0].Path;

    /// <summary>In order; the first holds the metadata.</summary>
    public IReadOnlyList<GgufPart> Parts { get; }

    /// <summary>2 or 3.</summary>
    public uint Version { get; }

    /// <summary>Of the first part: its tensors begin at multiples of this many bytes.</summary>
    public int Alignment { get; }

    /// <summary>All tensors of all parts, in file order.</summary>
    public IReadOnlyList<GgufTensor> Tensors { get; }

    /// <summary>True when libllama can load a vocabulary from the file; a model without one takes and
    /// gives token ids only.</summary>
    public bool HasTokenizer { get; private set; }

    /// <summary>Opens a model and its further parts, and checks everything that a runtime reads of it.</summary>
    /// <param name="path">The file, or the first part (<c>-00001-of-00003.gguf</c>) of a split model.</param>
    /// <exception cref="GgufException">The file is absent, malformed or incomplete, or libllama could not
    /// load its vocabulary.</exception>
    public static GgufFile Open(string path)
    {
        var file = OpenContainer(path);
        file.HasTokenizer = VocabCheck.Check(file);
        return file;
    }

    /// <summary>Opens a GGUF that need not be a model (an adapter, an importance matrix): its metadata
    /// and tensors are checked as for <see cref="Open"/>, its architecture and vocabulary are not.</summary>
    /// <exception cref="GgufException">The file is absent, malformed or incomplete.</exception>
    public static GgufFile OpenContainer(string path)
    {
        using var cursor = GgufCursor.Open(path);
        var first = GgufHeader.Read(cursor, 0);
        List<GgufPart> parts = [new(path, cursor.Length)];
        var tensors = first.Tensors;
        GgufSplits.Load(path, first, parts, tensors);
        return new(first, parts, tensors);
    }

    /// <summary>The tensor of that name, or <see langword="null"/>.</summary>
    public GgufTensor? FindTensor(string name) => _tensorsByName.GetValueOrDefault(name);
}
