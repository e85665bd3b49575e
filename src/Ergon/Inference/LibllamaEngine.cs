using System.Diagnostics;
using Ergon.Models;
using Ergon.Models.Gguf;
using Ergon.Native;
using Ergon.Native.Llama;
using Ergon.Native.Tensors;

namespace Ergon.Inference;

/// <summary>
/// libllama's forward pass of a whole model, for architectures that Ergon's graph does not describe: one device,
/// nothing to cut, and cached values that are not handed out.
/// </summary>
internal sealed class LibllamaEngine : IEngine
{
    private const string OtherModels = "use a model that generates from left to right";

    private readonly WholeModel _info;
    private readonly string _device;
    private readonly int? _learnedPositions;
    private readonly long _weightBytes;
    private readonly Backend _pool; // for its threads: libllama would start them anew for each pass
    private readonly LlamaModel _model;
    private readonly LlamaContext _context;
    private readonly LibllamaCells _cells;
    private readonly RowCheck _check;
    private SegmentReport _report;
    private readonly LlamaRow[] _rows = new LlamaRow[Engine.MaxRows];
    private float[] _result = [];
    private int _resultLength;

    /// <param name="info">The model.</param>
    /// <param name="device">The device for all of it.</param>
    /// <param name="threads">CPU threads.</param>
    /// <param name="cells">Positions of all sequences together.</param>
    /// <param name="maxSequences">Sequences at once.</param>
    /// <param name="cacheType">How keys and values are stored.</param>
    /// <param name="repack">Whether the CPU may keep weights in an order of its own.</param>
    /// <param name="progress">Told the share loaded, 0 to 1.</param>
    /// <param name="cancellation">Stops loading.</param>
    /// <exception cref="UnsupportedModelException">libllama refuses the model, or it does not generate from left to right.</exception>
    /// <exception cref="NativeException">The device failed or has not enough memory.</exception>
    public LibllamaEngine(WholeModel info, NativeDevice device, int threads, int cells, int maxSequences, GgmlType cacheType, bool repack = true, IProgress<double>? progress = null, CancellationToken cancellation = default)
    {
        (_info, _device, _learnedPositions, _weightBytes) = (info, device.Name, info.LearnedPositions, info.WeightBytes);
        _pool = new Backend(NativeDevice.All().First(d => d.Kind == NativeDeviceKind.Cpu), threads);
        try
        {
            _model = Load(info.File, device, repack, progress, cancellation);
            if (_model.HasEncoder)
                throw new UnsupportedModelException($"{info.File.Path}: the architecture '{info.ArchitectureName}' reads a whole text with an encoder first, which Ergon does not run; {OtherModels}.");
            _context = new LlamaContext(_model, cells, threads, _pool, maxSequences, cacheType: cacheType, flash: false);
            if (!_context.HasMemory || info.File.FindBool($"{info.ArchitectureName}.attention.causal") == false)
                throw new UnsupportedModelException($"{info.File.Path}: this model of the architecture '{info.ArchitectureName}' reads text in both directions, so it embeds texts or fills in words; {OtherModels}.");
            _cells = new LibllamaCells(_context, _model.Window, cells, maxSequences);
            _check = new RowCheck(VocabularySize, _cells);
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    /// <summary>The CPU with the pool of threads that it uses.</summary>
    public Backend Pool => _pool;

    /// <inheritdoc/>
    public int VocabularySize => _model.Vocabulary.Count;

    /// <inheritdoc/>
    public IKvCache Cells => _cells;

    /// <inheritdoc/>
    public int Depth => 1;

    /// <inheritdoc/>
    public bool TryRun(scoped ReadOnlySpan<PassRow> rows, out ReadOnlySpan<float> logits)
    {
        var isDone = TryBegin(rows);
        logits = isDone ? Complete() : default;
        return isDone;
    }

    /// <inheritdoc/>
    public ReadOnlySpan<float> Complete() => _result.AsSpan(0, _resultLength);

    /// <inheritdoc/>
    public bool TryBegin(scoped ReadOnlySpan<PassRow> rows)
    {
        _check.Validate(rows);
        if (rows.Length > _cells.Free)
            return false;
        var began = Stopwatch.GetTimestamp();
        var appended = 0;
        var isDone = false;
        try
        {
            foreach (var (sequence, token, wantsLogits) in rows)
            {
                var position = _cells.Length(sequence);
                if (position >= _learnedPositions)
                    throw new ErgonException($"The model has {_learnedPositions} learned positions and cannot go beyond them.");
                _rows[appended] = new LlamaRow(sequence, position, token, wantsLogits);
                _cells.Append(sequence);
                appended++;
            }
            if (!_context.TryDecode(_rows.AsSpan(0, rows.Length)))
                return false;
            CopyLogits(_rows.AsSpan(0, rows.Length));
            isDone = true;
        }
        finally
        {
            if (!isDone)
                TakeBack(_rows.AsSpan(0, appended));
        }
        _report = new SegmentReport(_device, StageRange.Whole(_info), rows.Length, began, Stopwatch.GetTimestamp(),
            2.0 * _info.MatrixElements * rows.Length, _weightBytes, ((long)_resultLength + rows.Length) * sizeof(float));
        return true;
    }

    /// <summary>One segment. libllama does not tell what it computes: operations are estimated from the matrices alone, bytes from all weights.</summary>
    public ReadOnlySpan<SegmentReport> Reports => new(ref _report);

    // The first row of a sequence stands where it ended before.
    private void TakeBack(ReadOnlySpan<LlamaRow> rows)
    {
        for (var i = 0; i < rows.Length; i++)
        {
            if (i == 0 || rows[i].Sequence != rows[i - 1].Sequence)
                _cells.TakeBack(rows[i].Sequence, rows[i].Position);
        }
    }

    private void CopyLogits(ReadOnlySpan<LlamaRow> rows)
    {
        var outputs = 0;
        foreach (var row in rows)
            outputs += row.WantsLogits ? 1 : 0;
        _resultLength = outputs * VocabularySize;
        if (_result.Length < _resultLength)
            _result = GC.AllocateUninitializedArray<float>(_resultLength);
        var filled = 0;
        for (var i = 0; i < rows.Length; i++)
        {
            if (rows[i].WantsLogits)
                _context.Logits(i).CopyTo(_result.AsSpan(filled++ * VocabularySize));
        }
    }

    /// <summary>
    /// Forgets all sequences: libllama overwrites the whole memory or nothing of it, and a masked cell that holds NaN
    /// would spoil the attention of whoever looks at its neighbours.
    /// </summary>
    public void Discard(int sequence)
    {
        // What has nothing has spoilt nothing.
        if (_cells.Length(sequence) > 0)
            _cells.Clear();
        _cells.Truncate(sequence, 0);
    }

    /// <inheritdoc/>
    public CellTensor[] CellLayout() => [];

    /// <inheritdoc/>
    public bool TryReserve(int sequence, int count) => false;

    /// <inheritdoc/>
    public int ReadCells(int sequence, int tensor, int first, Span<byte> rows) => throw HandsOutNothing();

    /// <inheritdoc/>
    public int WriteCells(int sequence, int tensor, int first, ReadOnlySpan<byte> rows) => throw HandsOutNothing();

    /// <summary>Runs a few rows, to see whether the process survives.</summary>
    public void Try()
    {
        var sequences = Math.Min(2, _cells.MaxSequences);
        var rows = new List<PassRow>();
        for (var i = 0; i < sequences; i++)
        {
            var sequence = _cells.Open()!.Value;
            rows.AddRange([new PassRow(sequence, 0, WantsLogits: false), new PassRow(sequence, VocabularySize - 1, WantsLogits: true)]);
        }
        TryRun(rows.ToArray(), out _);
        // A single row takes other kernels than several.
        TryRun([rows[^1]], out _);
    }

    private static LlamaModel Load(GgufFile file, NativeDevice device, bool repack, IProgress<double>? progress, CancellationToken cancellation)
    {
        try
        {
            return LlamaModel.Load(file.Path, device, repack, progress, cancellation);
        }
        // What does not fit into memory may fit tomorrow; any other reason lies in the file.
        catch (NativeException e) when (!e.Message.Contains("allocate", StringComparison.Ordinal))
        {
            throw new UnsupportedModelException(e.Message);
        }
    }

    private static InvalidOperationException HandsOutNothing() => new("libllama's cache is not handed out.");

    public void Dispose()
    {
        _context?.Dispose();
        _model?.Dispose();
        _pool.Dispose();
    }
}
