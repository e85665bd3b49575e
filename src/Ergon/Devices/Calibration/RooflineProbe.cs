using System.Diagnostics;
using Ergon.Native;
using Ergon.Native.Tensors;

namespace Ergon.Devices.Calibration;

/// <summary>
/// Times ggml's own kernels on one device: arithmetic with weights that its caches hold, reading of weights that they
/// do not, kernels that do next to nothing, and copies. One thread makes all calls.
/// </summary>
internal sealed class RooflineProbe : IDisposable
{
    private const int LeastRuns = 1, EnoughRuns = 5, LaunchKernels = 512, AttentionWidth = 1024, AttentionCells = 512;

    private const int Block = 64; // rows of weights that are repacked together, or a multiple
    private const long CachedBytes = 1 << 20, ShortCopy = 4 << 10, LongCopy = 16 << 20;

    private readonly Backend _backend;
    private readonly NativeDevice _device;
    private readonly RepackProbe _repack;
    private readonly Dictionary<(GgmlType, long, long), Weights> _weights = []; // making them takes longer than multiplying with them
    private readonly int _side; // of the matrices of products with many rows
    private readonly double _rate = 50e9;

    /// <param name="device">The device.</param>
    /// <param name="threads">CPU threads; others have none.</param>
    /// <exception cref="NativeException">The device cannot be opened.</exception>
    public RooflineProbe(NativeDevice device, int threads)
    {
        (_device, _backend, _repack, _side) = (device, new Backend(device, threads), new RepackProbe(device), 512);
        // Ten milliseconds of work: long against launches, short against the budget, from a small board to a large card.
        if (Flops(GgmlType.F16, 512, TimeSpan.FromMilliseconds(20)) is { } rate)
            (_rate, _side) = (rate, Math.Clamp((int)Math.Sqrt(rate * 10e-3 / (2 * 512)) / 512 * 512, 512, 4096));
    }

    private bool IsCpu => _device.Kind == NativeDeviceKind.Cpu;

    /// <summary>Seconds from one kernel to the next, and what a graph takes beside its kernels.</summary>
    public (double Launch, double Dispatch) Launch(TimeSpan budget)
    {
        double Seconds(int kernels)
        {
            using var graph = new Graph(kernels + 8);
            var x = graph.Input(GgmlType.F32, 64);
            var last = x;
            // An addition goes to all threads, who meet after it.
            for (var i = 0; i < kernels; i++)
                last = graph.Add(last, x);
            return Time(graph, last, budget / 2, x);
        }

        double one = Seconds(1), many = Seconds(LaunchKernels);
        var launch = Math.Max(0, (many - one) / (LaunchKernels - 1));
        return (launch, Math.Max(0, one - launch));
    }

    /// <summary>FLOP/s of products of <paramref name="rows"/> rows with weights of a type, launches left out.</summary>
    /// <returns><see langword="null"/> where the device does not compute them.</returns>
    /// <param name="type">The weights' type.</param>
    /// <param name="rows">Rows of the activations.</param>
    /// <param name="budget">How long to measure.</param>
    /// <param name="launch">Seconds that a kernel takes anyway.</param>
    public double? Flops(GgmlType type, int rows, TimeSpan budget, double launch = 0)
    {
        // What the arithmetic alone takes shows only on weights that are not waited for. A graphics processor needs many
        // rows of weights to be busy, and reading them belongs to it.
        long inputs = IsCpu ? Math.Min(1024, _side) : _side, outputs = _side;
        if (IsCpu && rows < 32)
            outputs = Math.Min(outputs, CachedBytes / RowBytes(type, inputs) / Block * Block);
        if (!_weights.TryGetValue((type, inputs, outputs), out var weight))
            _weights[(type, inputs, outputs)] = weight = Weight(type, inputs, outputs, 1);
        var flops = 2.0 * inputs * outputs * rows;
        // Some milliseconds, so that what a graph takes beside its kernels is little of it.
        var kernels = (int)Math.Clamp(_rate * 4e-3 / flops, 1, 32);
        using var graph = new Graph((2 * kernels) + 8);
        var x = graph.Input(GgmlType.F32, inputs, rows);
        Tensor? last = null;
        for (var i = 0; i < kernels; i++)
        {
            last = graph.MatMul(weight.Tensors[0], x);
            if (!_device.Supports(last.Value))
                return null;
            graph.Expand(last.Value);
        }
        return flops / Without(launch, Time(graph, last!.Value, budget, x) / kernels);
    }

    /// <summary>FLOP/s of attention over keys and values of a type: products that a causal mask hides are not counted.</summary>
    /// <returns><see langword="null"/> where the device does not compute it.</returns>
    public double? AttentionFlops(GgmlType type, int headLength, int rows, TimeSpan budget, double launch = 0)
    {
        const int Width = AttentionWidth;
        var heads = Width / headLength;
        using var graph = new Graph(64);
        Tensor q = graph.Input(GgmlType.F32, Width, rows), k = graph.Input(type, Width, AttentionCells), v = graph.Input(type, Width, AttentionCells);
        var mask = graph.Input(GgmlType.F16, AttentionCells, rows);
        Tensor ByHead(Tensor cells) => graph.View(cells, headLength, AttentionCells, heads, cells.Nb(1), RowBytes(type, headLength));
        var result = graph.FlashAttention(graph.Permute(graph.Reshape(q, headLength, heads, rows), 0, 2, 1, 3), ByHead(k), ByHead(v), mask, 1 / MathF.Sqrt(headLength), 0);
        if (!_device.Supports(result))
            return null;
        var values = new Half[AttentionCells * rows];
        double visible = 0;
        for (var row = 0; row < rows; row++)
        {
            var seen = AttentionCells - rows + row + 1;
            visible += seen;
            values.AsSpan((row * AttentionCells) + seen, AttentionCells - seen).Fill(Half.NegativeInfinity);
        }
        return 4.0 * Width * visible / Without(launch, Time(graph, result, budget, () => mask.Set<Half>(values), q, k, v));
    }

    /// <summary>The seconds of work without its launches: three quarters at least, because work is long against launches, and launches that were measured while other programs ran are longer than its own.</summary>
    public static double Without(double launches, double seconds) => Math.Max(0.75 * seconds, seconds - launches);

    /// <summary>Products of many rows, again and again: what saturates arithmetic while a meter looks on.</summary>
    public Load Arithmetic(GgmlType type)
    {
        var weight = Weight(type, IsCpu ? Math.Min(1024, _side) : _side, _side, 1);
        var flops = 2.0 * weight.Tensors[0].Ne(0) * weight.Tensors[0].Ne(1) * 512;
        // Long enough that the time between two graphs is little.
        var kernels = (int)Math.Clamp(_rate * 20e-3 / flops, 1, 64);
        var graph = new Graph((2 * kernels) + 8);
        var x = graph.Input(GgmlType.F32, weight.Tensors[0].Ne(0), 512);
        for (var i = 0; i < kernels; i++)
            graph.Expand(graph.MatMul(weight.Tensors[0], x));
        return new Load(this, graph, weight, x, kernels, flops * kernels, 0);
    }

    /// <summary>Products with weights that no cache holds: what saturates memory.</summary>
    /// <param name="type">The weights' type.</param>
    /// <param name="bytes">Of the weights, about; several times the caches.</param>
    /// <param name="rows">Rows of the activations; a load for each.</param>
    public Load[] Reading(GgmlType type, long bytes, params int[] rows)
    {
        // On a processor matrices as small models have them: each one's beginning and end, when some threads wait, belong to it. Rows in
        // whole blocks of those that are repacked.
        const int Inputs = 2048;
        var part = IsCpu ? 4 << 20 : 64 << 20;
        var parts = (int)Math.Max(1, bytes / part);
        var weight = Weight(type, Inputs, Math.Max(1, part / RowBytes(type, Inputs) / Block) * Block, parts);
        return [.. rows.Select(count =>
        {
            var graph = new Graph((2 * parts) + 8);
            var x = graph.Input(GgmlType.F32, Inputs, count);
            foreach (var w in weight.Tensors)
                graph.Expand(graph.MatMul(w, x));
            return new Load(this, graph, weight, x, parts, 2.0 * count * parts * Inputs * weight.Tensors[0].Ne(1), weight.Tensors.Sum(w => w.Bytes));
        })];
    }

    /// <summary>Copies between host memory and the device: seconds before the first byte, and bytes per second.</summary>
    /// <param name="download">From the device, or to it.</param>
    /// <param name="budget">How long to measure.</param>
    public (double Latency, double Bandwidth) Copy(bool download, TimeSpan budget)
    {
        using var arena = new TensorArena(1);
        var tensor = arena.New(GgmlType.I8, LongCopy);
        using var buffer = arena.Allocate(_device.BufferType, LongCopy);
        buffer!.Clear();
        var host = new byte[LongCopy];
        double Seconds(long bytes) => Typical(budget / 2, () =>
        {
            if (download)
                tensor.Get(host.AsSpan(0, (int)bytes));
            else
                tensor.Set<byte>(host.AsSpan(0, (int)bytes));
        });
        var (latency, all) = (Seconds(ShortCopy), Seconds(LongCopy));
        return (latency, (LongCopy - ShortCopy) / Math.Max(1e-9, all - latency));
    }

    private static long RowBytes(GgmlType type, long elements) => elements / type.Traits().BlockSize * type.Traits().BlockBytes;

    // Matrices of values that are not zero, as the engine would place them.
    private Weights Weight(GgmlType type, long inputs, long outputs, int count)
    {
        var arena = new TensorArena(count);
        Tensor[] tensors = [.. Enumerable.Range(0, count).Select(_ => arena.New(type, inputs, outputs))];
        var buffer = arena.Allocate(_repack.Takes(type, [inputs, outputs], experts: false) ? _repack.Type!.Value : _device.BufferType, tensors.Sum(t => t.Bytes))!;
        var some = Quantizer.Quantize(type, Values(inputs * Math.Min(64, outputs)), inputs);
        var all = new byte[tensors[0].Bytes];
        for (long done = 0; done < all.Length; done += some.Length)
            some.AsSpan(0, (int)Math.Min(some.Length, all.Length - done)).CopyTo(all.AsSpan((int)done));
        foreach (var tensor in tensors)
            tensor.Set<byte>(all);
        return new Weights(arena, buffer.AsWeights(), tensors);
    }

    private double Time(Graph graph, Tensor result, TimeSpan budget, params Tensor[] inputs) => Time(graph, result, budget, null, inputs);

    private double Time(Graph graph, Tensor result, TimeSpan budget, Action? prepare, params Tensor[] inputs)
    {
        graph.Output(result);
        using var allocator = new GraphAllocator(_device.BufferType);
        allocator.Allocate(graph);
        foreach (var input in inputs)
            Fill(input);
        prepare?.Invoke();
        return Typical(budget, () => _backend.Compute(graph));
    }

    // What lies in fresh memory may be numbers that are slow to compute with.
    private static void Fill(Tensor input)
    {
        if (input.Type == GgmlType.F32)
            input.Set<float>(Values(input.Bytes / sizeof(float)));
        else
            input.Set<byte>(new byte[input.Bytes]);
    }

    private static float[] Values(long count)
    {
        var random = new Random(1);
        var values = new float[count];
        for (var i = 0; i < values.Length; i++)
            values[i] = random.NextSingle() - 0.5f;
        return values;
    }

    // The first run wakes threads and caches and does not count.
    private static double Typical(TimeSpan budget, Action run)
    {
        run();
        var seconds = new List<double>();
        var began = Stopwatch.GetTimestamp();
        for (var spent = TimeSpan.Zero; spent < budget || seconds.Count < (spent < 3 * budget ? EnoughRuns : LeastRuns); spent = Stopwatch.GetElapsedTime(began))
        {
            var at = Stopwatch.GetTimestamp();
            run();
            seconds.Add(Stopwatch.GetElapsedTime(at).TotalSeconds);
        }
        // What disturbs makes slower, never faster: the lower quartile lies among the undisturbed runs.
        seconds.Sort();
        return seconds[seconds.Count / 4];
    }

    public void Dispose()
    {
        foreach (var weight in _weights.Values)
            weight.Dispose();
        _repack.Dispose();
        _backend.Dispose();
    }

    private sealed record Weights(TensorArena Arena, DeviceBuffer Buffer, Tensor[] Tensors) : IDisposable
    {
        // Loads share it; the last one to go and the others may both say so.
        public void Dispose()
        {
            Buffer.Dispose();
            Arena.Dispose();
        }
    }

    /// <summary>Work that keeps one side of the roofline busy.</summary>
    internal sealed class Load : IDisposable
    {
        private readonly RooflineProbe _probe;
        private readonly Graph _graph;
        private readonly IDisposable _weights;
        private readonly GraphAllocator _allocator;

        internal Load(RooflineProbe probe, Graph graph, IDisposable weights, Tensor input, int kernels, double flops, double bytes)
        {
            (_probe, _graph, _weights, Kernels, Flops, Bytes) = (probe, graph, weights, kernels, flops, bytes);
            _allocator = new GraphAllocator(probe._device.BufferType);
            _allocator.Allocate(graph);
            Fill(input);
        }

        /// <summary>Products of a run.</summary>
        public int Kernels { get; }

        /// <summary>FLOPs of a run.</summary>
        public double Flops { get; }

        /// <summary>Bytes read in a run.</summary>
        public double Bytes { get; }

        public void Run() => _probe._backend.Compute(_graph);

        /// <summary>Seconds of a run.</summary>
        public double Seconds(TimeSpan budget) => Typical(budget, Run);

        public void Dispose()
        {
            _allocator.Dispose();
            _graph.Dispose();
            _weights.Dispose();
        }
    }
}
