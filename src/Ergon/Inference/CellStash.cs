using Ergon.Native.Tensors;

namespace Ergon.Inference;

/// <summary>One tensor of the KV cache of one layer, and the segment that it belongs to.</summary>
/// <param name="Tensor">The tensor.</param>
/// <param name="Segment">Of whatever device computes the layer's attention.</param>
/// <param name="Kind">Of the layer.</param>
/// <param name="Keeps">How many last positions of a sequence count in it.</param>
internal readonly record struct CacheTensor(Tensor Tensor, Segment Segment, CacheKind Kind, int Keeps);

/// <summary>What the cells of all open sequences hold, in host memory: it outlives the segments that it was read from.</summary>
internal sealed class CellStash
{
    private readonly List<(int Tier, int Tensor, int Cell, int Count, byte[] Rows)> _runs = [];

    /// <summary>Reads all cells of sequences.</summary>
    /// <param name="cells">The sequences.</param>
    /// <param name="tensors">The cache's tensors, by tier, in the model's order.</param>
    public static CellStash Of(KvCache cells, Func<int, CacheTensor[]> tensors)
    {
        var stash = new CellStash();
        foreach (var tier in Enumerable.Range(0, cells.MaxSequences).Where(cells.IsOpen).GroupBy(cells.Full.Tier))
        {
            // What sequences share is read once.
            var full = Runs(tier.SelectMany(s => cells.Full.Cells(s).ToArray()));
            var windowed = cells.Windowed is { } w ? tier.Where(s => cells.Length(s) > 0).Select(w.Region).ToArray() : [];
            var history = cells.History is { } h ? tier.Where(s => cells.Length(s) > 0).Select(h.Region).ToArray() : [];
            var all = tensors(tier.Key);
            for (var i = 0; i < all.Length; i++)
            {
                var (tensor, segment, kind, _) = all[i];
                foreach (var (cell, count) in kind switch { CacheKind.Windowed => windowed, CacheKind.History => history, _ => full })
                {
                    // Cells that nobody looked at are whatever was in that memory.
                    segment.Clear(kind, cell, count);
                    var rows = new byte[count * tensor.Nb(1)];
                    tensor.Get(rows, (long)cell * tensor.Nb(1));
                    stash._runs.Add((tier.Key, i, cell, count, rows));
                }
            }
        }
        return stash;
    }

    /// <summary>Writes them to the same cells of other segments.</summary>
    /// <param name="tensors">Theirs, by the tier that a sequence had.</param>
    public void WriteTo(Func<int, CacheTensor[]> tensors)
    {
        foreach (var (tier, index, cell, count, rows) in _runs)
        {
            var (tensor, segment, kind, _) = tensors(tier)[index];
            // Or the first pass that looks at them would clear them.
            segment.Clear(kind, cell, count);
            tensor.Set<byte>(rows, (long)cell * tensor.Nb(1));
        }
    }

    private static (int First, int Count)[] Runs(IEnumerable<int> cells)
    {
        var runs = new List<(int First, int Count)>();
        foreach (var cell in cells.Distinct().Order())
        {
            if (runs.Count > 0 && runs[^1].First + runs[^1].Count == cell)
                runs[^1] = (runs[^1].First, runs[^1].Count + 1);
            else
                runs.Add((cell, 1));
        }
        return [.. runs];
    }
}
