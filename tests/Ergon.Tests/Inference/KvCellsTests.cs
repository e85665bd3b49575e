using Ergon.Inference;

namespace Ergon.Tests.Inference;

public sealed class KvCellsTests
{
    [Fact]
    public void A_fork_shares_cells_and_a_shared_cell_is_freed_by_its_last_owner()
    {
        var cells = new KvCells(16, 4);
        var first = cells.Open()!.Value;
        Assert.True(cells.TryAppend(first, 5));
        var second = cells.Fork(first, 3)!.Value;
        Assert.Equal(5, cells.Used);
        Assert.True(cells.TryAppend(second, 2));
        Assert.Equal(7, cells.Used);
        cells.Close(first);
        Assert.Equal(5, cells.Used);
        Assert.Equal([0, 1, 2, 5, 6], cells.Cells(second).ToArray());
        cells.Close(second);
        Assert.Equal(0, cells.Used);
    }

    [Fact]
    public void A_pool_without_room_refuses_and_changes_nothing()
    {
        var cells = new KvCells(4, 2);
        var sequence = cells.Open()!.Value;
        Assert.True(cells.TryAppend(sequence, 3));
        Assert.False(cells.TryAppend(sequence, 2));
        Assert.Equal((3, 1), (cells.Length(sequence), cells.Free));
    }

    [Fact]
    public void Sequence_ids_run_out_and_come_back()
    {
        var cells = new KvCells(4, 2);
        Assert.Equal([0, 1, null], (int?[])[cells.Open(), cells.Open(), cells.Open()]);
        Assert.Null(cells.Fork(0, 0));
        cells.Close(0);
        Assert.Equal(0, cells.Open());
    }

    [Fact]
    public void Sequences_lie_apart_and_their_cells_ascend()
    {
        var cells = new KvCells(4096, 4);
        for (var i = 0; i < 4; i++)
            cells.Open();
        for (var i = 0; i < 1000; i++)
        {
            for (var sequence = 0; sequence < 4; sequence++)
                Assert.True(cells.TryAppend(sequence, 1));
        }
        for (var sequence = 0; sequence < 4; sequence++)
        {
            var own = cells.Cells(sequence).ToArray();
            Assert.Equal(Enumerable.Range(own[0], 1000), own);
            Assert.Equal(0, own[0] % 1024);
        }
    }

    [Fact]
    public void The_cells_of_forks_ascend_beside_each_other()
    {
        var cells = new KvCells(512, 8);
        var origin = cells.Open()!.Value;
        Assert.True(cells.TryAppend(origin, 100));
        int[] forks = [.. Enumerable.Range(0, 6).Select(_ => cells.Fork(origin, 100)!.Value)];
        for (var i = 0; i < 20; i++)
        {
            foreach (var fork in forks)
                Assert.True(cells.TryAppend(fork, 1));
        }
        Assert.All(forks, fork => Assert.Equal(cells.Cells(fork).ToArray().Order(), cells.Cells(fork).ToArray()));
        Assert.Equal(220, cells.Used);
    }

    [Fact]
    public void Random_schedules_keep_the_accounts_exact()
    {
        for (var seed = 0; seed < 2000; seed++)
        {
            var random = new Random(seed);
            var cells = new KvCells(40, 6);
            // The model: each sequence is a list of tags; a tag is unique to the append that made it.
            var model = new Dictionary<int, List<int>>();
            var owner = new Dictionary<int, int>();
            var tag = 0;
            for (var step = 0; step < 60; step++)
            {
                var some = model.Count == 0 ? -1 : model.Keys.ElementAt(random.Next(model.Count));
                switch (random.Next(5))
                {
                    case 0 when cells.Open() is { } opened:
                        model[opened] = [];
                        break;
                    case 1 when some >= 0:
                        var count = random.Next(6);
                        if (cells.TryAppend(some, count))
                        {
                            foreach (var cell in cells.Cells(some)[^count..])
                            {
                                owner[cell] = ++tag;
                                model[some].Add(tag);
                            }
                        }
                        break;
                    case 2 when some >= 0:
                        var kept = random.Next(model[some].Count + 1);
                        cells.Truncate(some, kept);
                        model[some].RemoveRange(kept, model[some].Count - kept);
                        break;
                    case 3 when some >= 0:
                        var length = random.Next(model[some].Count + 1);
                        if (cells.Fork(some, length) is { } fork)
                            model[fork] = model[some][..length];
                        break;
                    case 4 when some >= 0:
                        cells.Close(some);
                        model.Remove(some);
                        break;
                }
                foreach (var (sequence, tags) in model)
                    Assert.Equal(tags, cells.Cells(sequence).ToArray().Select(c => owner[c]));
                Assert.Equal(model.Values.SelectMany(t => t).Distinct().Count(), cells.Used);
                Assert.Equal(cells.Capacity, cells.Used + cells.Free);
            }
        }
    }
}
