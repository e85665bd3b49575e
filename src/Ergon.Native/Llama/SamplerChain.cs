using System.Runtime.InteropServices;
using Ergon.Native.Interop;

namespace Ergon.Native.Llama;

/// <summary>
/// libllama's samplers in the order they were added; the last one must choose a token. Keeps its own
/// history through <see cref="Accept"/>. Not thread-safe.
/// </summary>
internal sealed unsafe class SamplerChain : SafeHandle
{
    private readonly Vocabulary _vocabulary;
    private readonly LlamaModel _model;
    private (uint Seed, (float Probability, float Threshold)? Xtc, float Temperature)? _draw;
    private int _fixed;

    public SamplerChain(Vocabulary vocabulary) : base(0, ownsHandle: true)
    {
        _vocabulary = vocabulary;
        _model = vocabulary.Model.Held();
        SetHandle(LlamaApi.llama_sampler_chain_init(LlamaApi.llama_sampler_chain_default_params()));
    }

    /// <inheritdoc/>
    public override bool IsInvalid => handle == 0;

    public SamplerChain LogitBias(IEnumerable<KeyValuePair<int, float>> biases)
    {
        LlamaApi.llama_logit_bias[] list = [.. biases.Select(b => new LlamaApi.llama_logit_bias { token = b.Key, bias = b.Value })];
        fixed (LlamaApi.llama_logit_bias* p = list)
            return Add(LlamaApi.llama_sampler_init_logit_bias(_vocabulary.Count, list.Length, p));
    }

    public SamplerChain Penalties(int lastN, float repeat, float frequency, float presence) =>
        Add(LlamaApi.llama_sampler_init_penalties(_vocabulary.Count, lastN, repeat, frequency, presence));

    public SamplerChain Dry(float multiplier, float @base, int allowedLength, int lastN, IReadOnlyList<string> breakers)
    {
        var strings = new nint[breakers.Count];
        try
        {
            for (var i = 0; i < strings.Length; i++)
                strings[i] = Marshal.StringToCoTaskMemUTF8(breakers[i]);
            fixed (nint* p = strings)
                return Add(LlamaApi.llama_sampler_init_dry(_vocabulary.Handle, multiplier, @base, allowedLength, lastN, (byte**)p, (nuint)strings.Length));
        }
        finally
        {
            foreach (var s in strings)
                Marshal.FreeCoTaskMem(s);
        }
    }

    public SamplerChain TopK(int k) => Add(LlamaApi.llama_sampler_init_top_k(k));

    public SamplerChain TypicalP(float p) => Add(LlamaApi.llama_sampler_init_typical(p, 1));

    public SamplerChain TopP(float p) => Add(LlamaApi.llama_sampler_init_top_p(p, 1));

    public SamplerChain MinP(float p) => Add(LlamaApi.llama_sampler_init_min_p(p, 1));

    public SamplerChain Temperature(float t) => Add(LlamaApi.llama_sampler_init_temp(t));

    public SamplerChain Mirostat(uint seed, float tau, float eta) => Add(LlamaApi.llama_sampler_init_mirostat(_vocabulary.Count, seed, tau, eta, 100));

    public SamplerChain MirostatV2(uint seed, float tau, float eta) => Add(LlamaApi.llama_sampler_init_mirostat_v2(seed, tau, eta));

    public SamplerChain Greedy() => Add(LlamaApi.llama_sampler_init_greedy());

    /// <summary>Ends the chain with a draw, seeded anew for each token: <see cref="BeginDraw"/>.</summary>
    public SamplerChain Draw(uint seed, (float Probability, float Threshold)? xtc, float temperature)
    {
        _draw = (seed, xtc, temperature);
        _fixed = LlamaApi.llama_sampler_chain_n(handle);
        BeginDraw(0);
        return this;
    }

    /// <summary>
    /// Prepares the draw of token <paramref name="index"/> of a generation. What it draws follows from seed and
    /// index alone: libllama's generators cannot be saved or advanced, and a generation that is resumed in
    /// another process must draw as if it had never stopped. A chain that does not draw is left as it is.
    /// </summary>
    public void BeginDraw(int index)
    {
        if (_draw is not var (seed, xtc, temperature))
            return;
        for (var i = LlamaApi.llama_sampler_chain_n(handle) - 1; i >= _fixed; i--)
            LlamaApi.llama_sampler_free(LlamaApi.llama_sampler_chain_remove(handle, i));
        if (xtc is var (probability, threshold))
            Add(LlamaApi.llama_sampler_init_xtc(probability, threshold, 1, Seed(Mixed(seed, index) >> 32)));
        Add(LlamaApi.llama_sampler_init_temp(temperature));
        Add(LlamaApi.llama_sampler_init_dist(SeedOf(seed, index)));
    }

    /// <summary>The seed of the generator that draws token <paramref name="index"/> of a generation.</summary>
    public static uint SeedOf(uint seed, int index) => Seed(Mixed(seed, index));

    // Of all ones libllama makes a seed of its own.
    private static uint Seed(ulong bits) => (uint)bits & ~1u;

    // The finalizer of SplitMix64: neighbouring seeds and indices give unrelated generators.
    private static ulong Mixed(uint seed, int index)
    {
        var mixed = ((ulong)seed << 32) + (uint)index + 0x9e3779b97f4a7c15;
        mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9;
        mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111eb;
        return mixed ^ (mixed >> 31);
    }

    /// <summary>Chooses a token; -1 when no candidate is possible.</summary>
    /// <param name="logits">[n_vocab].</param>
    /// <param name="candidates">Scratch space of the same vocabulary.</param>
    /// <param name="constraint">Narrows the candidates first, where given.</param>
    public int Sample(ReadOnlySpan<float> logits, Candidates candidates, GrammarSampler? constraint = null)
    {
        var list = candidates.Load(logits);
        if (constraint is not null && !constraint.Narrow(ref list))
            return -1;
        LlamaApi.llama_sampler_apply(handle, &list);
        return list.selected >= 0 && (nuint)list.selected < list.size ? list.data[list.selected].id : -1;
    }

    /// <summary>Tells the samplers with a memory (penalties, DRY, mirostat) what was chosen.</summary>
    public void Accept(int token) => LlamaApi.llama_sampler_accept(handle, token);

    private SamplerChain Add(nint sampler)
    {
        if (sampler == 0)
            throw new NativeException("libllama could not create a sampler with these settings.");
        LlamaApi.llama_sampler_chain_add(handle, sampler);
        return this;
    }

    /// <inheritdoc/>
    protected override bool ReleaseHandle()
    {
        LlamaApi.llama_sampler_free(handle);
        _model.DangerousRelease();
        return true;
    }
}

/// <summary>Follows a GBNF grammar and knows which tokens may come next. Not thread-safe.</summary>
internal sealed unsafe class GrammarSampler : SafeHandle
{
    // The native parser recurses once a parenthesis, and the stack of a thread is finite.
    private const int MaxLength = 1 << 20, MaxNesting = 256;

    private readonly LlamaModel _model;

    /// <exception cref="ErgonException">The grammar cannot be parsed, has no root, recurses to the left, or is too large.</exception>
    public GrammarSampler(Vocabulary vocabulary, string grammar) : base(0, ownsHandle: true)
    {
        if (grammar.Length > MaxLength || Nesting(grammar) > MaxNesting)
            throw new ErgonException($"The grammar is longer than {MaxLength} characters or nests deeper than {MaxNesting} parentheses; simplify it.");
        _model = vocabulary.Model.Held();
        var (sampler, errors) = NativeLibraries.Explained(() => LlamaApi.llama_sampler_init_grammar(vocabulary.Handle, grammar, "root"));
        SetHandle(sampler);
        if (!IsInvalid)
            return;
        // An invalid handle is never released, so the hold on the model goes here.
        _model.DangerousRelease();
        throw new ErgonException($"The grammar cannot be used: {(errors.Length > 0 ? errors : "it has no rule named root")}. Check it against llama.cpp's GBNF guide.");
    }

    /// <inheritdoc/>
    public override bool IsInvalid => handle == 0;

    // The deepest parenthesis outside of "literals", [classes] and # comments.
    private static int Nesting(ReadOnlySpan<char> grammar)
    {
        int depth = 0, most = 0;
        var until = '\0';
        for (var i = 0; i < grammar.Length; i++)
        {
            var c = grammar[i];
            if (until != '\0')
            {
                if (c == '\\' && until != '\n')
                    i++;
                else if (c == until)
                    until = '\0';
                continue;
            }
            until = c switch { '"' => '"', '[' => ']', '#' => '\n', _ => '\0' };
            depth += c switch { '(' => 1, ')' => -1, _ => 0 };
            most = Math.Max(most, depth);
        }
        return most;
    }

    /// <summary>Whether the grammar lets <paramref name="token"/> come next.</summary>
    public bool Allows(int token)
    {
        var one = new LlamaApi.llama_token_data { id = token, logit = 1 };
        var list = new LlamaApi.llama_token_data_array { data = &one, size = 1, selected = -1 };
        LlamaApi.llama_sampler_apply(handle, &list);
        return !float.IsNegativeInfinity(one.logit);
    }

    /// <summary>Moves past <paramref name="token"/>, which <see cref="Allows"/> allowed: any other aborts the process.</summary>
    public void Accept(int token) => LlamaApi.llama_sampler_accept(handle, token);

    /// <summary>The allowed token with the largest logit; -1 when none is allowed.</summary>
    public int Likeliest(ReadOnlySpan<float> logits, Candidates candidates)
    {
        var list = candidates.Load(logits);
        if (!Narrow(ref list))
            return -1;
        var best = 0;
        for (var i = 1; i < (int)list.size; i++)
        {
            if (list.data[i].logit > list.data[best].logit)
                best = i;
        }
        return list.data[best].id;
    }

    // Leaves only what may come next; false when that is nothing.
    internal bool Narrow(ref LlamaApi.llama_token_data_array list)
    {
        fixed (LlamaApi.llama_token_data_array* p = &list)
            LlamaApi.llama_sampler_apply(handle, p);
        nuint kept = 0;
        for (nuint i = 0; i < list.size; i++)
        {
            if (!float.IsNegativeInfinity(list.data[i].logit))
                list.data[kept++] = list.data[i];
        }
        list.size = kept;
        return kept > 0;
    }

    /// <inheritdoc/>
    protected override bool ReleaseHandle()
    {
        LlamaApi.llama_sampler_free(handle);
        _model.DangerousRelease();
        return true;
    }
}
