using System.Numerics;
using Ergon.Models;
using Ergon.Native;
using Ergon.Native.Tensors;

namespace Ergon.Inference;

/// <summary>Which layers run on which device.</summary>
/// <param name="Device">The device.</param>
/// <param name="Layers">The run of layers; the runs of an engine follow each other and cover the model.</param>
/// <param name="Threads">CPU threads.</param>
/// <param name="Cpus">Logical CPUs to stay on; <see langword="null"/> leaves the choice to the system.</param>
internal sealed record Placement(NativeDevice Device, LayerRange Layers, int Threads, int[]? Cpus = null);

/// <summary>One tensor of the KV cache.</summary>
/// <param name="Type">How its values are stored.</param>
/// <param name="RowBytes">What it holds for one cell.</param>
internal readonly record struct CellTensor(GgmlType Type, int RowBytes);

/// <summary>Ergon's own forward pass of a model over many sequences, on one device or several.</summary>
internal sealed class Engine : IEngine
{
    /// <summary>Rows a pass can have; more are several passes. llama.cpp's <c>n_ubatch</c>, which bit-identical results depend on.</summary>
    public const int MaxRows = 512;

    private readonly List<Segment> _segments = [];
    private readonly Pass _pass;
    private readonly float[] _residual;
    private readonly Tensor[] _cellTensors;
    private float[] _result = [];

    /// <param name="model">The model.</param>
    /// <param name="placements">Devices for all its layers, in order.</param>
    /// <param name="cells">Cells of the KV cache: positions of all sequences together.</param>
    /// <param name="maxSequences">Sequences at once.</param>
    /// <param name="cacheType">How keys and values are stored.</param>
    /// <param name="progress">Told the share loaded, 0 to 1.</param>
    /// <param name="cancellation">Stops loading.</param>
    /// <exception cref="NativeException">A device failed or has not enough memory.</exception>
    public Engine(ModelDescription model, IReadOnlyList<Placement> placements, int cells, int maxSequences, GgmlType cacheType, IProgress<double>? progress = null, CancellationToken cancellation = default)
    {
        Model = model;
        _pass = new Pass(MaxRows, model.Layers.Window, model.Layers.ConvolutionLength);
        Cells = new KvCells(cells, maxSequences);
        _residual = new float[placements.Count > 1 ? MaxRows * model.EmbeddingLength : 0];
        try
        {
            foreach (var (device, layers, threads, cpus) in placements)
                _segments.Add(new Segment(model, new Backend(device, threads, cpus), layers, cells, cacheType, progress, cancellation));
            _cellTensors = [.. _segments.SelectMany(segment => segment.CellTensors)];
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    public ModelDescription Model { get; }

    /// <summary>The opened devices, one a segment.</summary>
    public IEnumerable<Backend> Backends => _segments.Select(s => s.Backend);

    /// <summary>The sequences and their cells.</summary>
    public KvCells Cells { get; }

    IKvCache IEngine.Cells => Cells;

    /// <inheritdoc/>
    public int VocabularySize => Model.VocabularySize;

    /// <inheritdoc/>
    public bool TryRun(scoped ReadOnlySpan<PassRow> rows, out ReadOnlySpan<float> logits)
    {
        logits = default;
        ArgumentOutOfRangeException.ThrowIfZero(rows.Length);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(rows.Length, MaxRows);
        if (rows.Length > Cells.Free)
            return false;
        foreach (var row in rows)
        {
            // Native code indexes the embedding with these.
            if ((uint)row.Token >= (uint)Model.VocabularySize)
                throw new ErgonException($"Token id {row.Token} is not in the vocabulary, whose ids are 0 to {Model.VocabularySize - 1}.");
        }

        var appended = 0;
        try
        {
            foreach (var row in rows)
            {
                Cells.TryAppend(row.Sequence, 1);
                appended++;
                if (Model.Rope is null && Cells.Length(row.Sequence) > Model.TrainingContext)
                    throw new ErgonException($"The model has {Model.TrainingContext} learned positions and cannot go beyond them.");
            }
            _pass.Fill(rows, Cells);
            logits = Compute();
            return true;
        }
        catch
        {
            foreach (var row in rows[..appended])
                Cells.Truncate(row.Sequence, Cells.Length(row.Sequence) - 1);
            throw;
        }
    }

    /// <summary>
    /// Forgets all of a sequence whose numbers are broken and overwrites them: a masked cell that holds NaN
    /// would spoil the attention of whoever looks at its neighbours.
    /// </summary>
    public void Discard(int sequence)
    {
        int[] own = [.. Cells.Cells(sequence).ToArray().Where(Cells.IsOwn)];
        foreach (var segment in _segments)
            segment.ClearCells(own);
        Cells.Truncate(sequence, 0);
    }

    /// <inheritdoc/>
    public CellTensor[] CellLayout() => [.. _cellTensors.Select(t => new CellTensor(t.Type, (int)t.Nb(1)))];

    /// <inheritdoc/>
    public bool TryReserve(int sequence, int count) => Cells.TryAppend(sequence, count);

    /// <inheritdoc/>
    public int ReadCells(int sequence, int tensor, Range positions, Span<byte> rows)
    {
        var cells = Cells.Cells(sequence)[positions];
        var (from, rowBytes) = (_cellTensors[tensor], (int)_cellTensors[tensor].Nb(1));
        for (int i = 0, run; i < cells.Length; i += run)
        {
            run = Run(cells[i..]);
            from.Get(rows.Slice(i * rowBytes, run * rowBytes), (long)cells[i] * rowBytes);
        }
        return cells.Length;
    }

    /// <inheritdoc/>
    public int WriteCells(int sequence, int tensor, Range positions, ReadOnlySpan<byte> rows)
    {
        var cells = Cells.Cells(sequence)[positions];
        var (to, rowBytes) = (_cellTensors[tensor], (int)_cellTensors[tensor].Nb(1));
        // Or the first pass that looks at them would clear them.
        var extent = 0;
        foreach (var cell in cells)
            extent = Math.Max(extent, cell + 1);
        foreach (var segment in _segments)
            segment.ClearUpTo(extent);
        for (int i = 0, run; i < cells.Length; i += run)
        {
            run = Run(cells[i..]);
            to.Set(rows.Slice(i * rowBytes, run * rowBytes), (long)cells[i] * rowBytes);
        }
        return cells.Length;
    }

    // Neighbours go in one copy, which on a GPU is one synchronisation.
    private static int Run(ReadOnlySpan<int> cells)
    {
        var run = 1;
        while (run < cells.Length && cells[run] == cells[0] + run)
            run++;
        return run;
    }

    /// <summary>Whether every value is a finite number.</summary>
    public static bool IsFinite(ReadOnlySpan<float> values)
    {
        // x - x is 0 for finite numbers only. Summing keeps one accumulator per lane.
        var sums = Vector<float>.Zero;
        var i = 0;
        for (; i <= values.Length - Vector<float>.Count; i += Vector<float>.Count)
        {
            var v = new Vector<float>(values[i..]);
            sums += v - v;
        }
        var sum = Vector.Sum(sums);
        for (; i < values.Length; i++)
            sum += values[i] - values[i];
        return sum == 0;
    }

    private ReadOnlySpan<float> Compute()
    {
        var count = _pass.Outputs * Model.VocabularySize;
        if (_result.Length < count)
            _result = GC.AllocateUninitializedArray<float>(count);
        foreach (var segment in _segments)
        {
            var layers = segment.Layers;
            // With nothing to hand on, the rest of the model has nothing to do.
            if (_pass.Outputs == 0 && layers.Count == 0 && layers.Head)
                break;
            var incoming = (layers.Count == 0 ? _pass.Outputs : _pass.Rows) * Model.EmbeddingLength;
            var outgoing = (layers.End == Model.LayerCount ? _pass.Outputs : _pass.Rows) * Model.EmbeddingLength;
            segment.Run(_pass, layers.Embedding ? default : _residual.AsSpan(0, incoming), layers.Head ? _result.AsSpan(0, count) : _residual.AsSpan(0, outgoing));
        }
        return _result.AsSpan(0, count);
    }

    public void Dispose()
    {
        for (var i = _segments.Count - 1; i >= 0; i--)
            _segments[i].Dispose();
        _segments.Clear();
    }
}
