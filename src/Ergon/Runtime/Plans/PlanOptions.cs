using Ergon.Planning;

namespace Ergon.Runtime.Plans;

/// <summary>How a model is placed on the devices of this machine.</summary>
public sealed record PlanOptions
{
    /// <summary>
    /// The devices that plans may use: <c>real</c> for all, or names separated by commas, of which the CPU divides into clusters,
    /// such as <c>CPU:0-3,CPU:4-7,Vulkan0</c>. <see langword="null"/>: those of <see cref="File"/>, and all without one.
    /// </summary>
    public string? Devices { get; init; }

    /// <summary>A plan of <c>ergon plan --json</c> to begin with; <see langword="null"/> searches for one.</summary>
    public string? File { get; init; }

    /// <summary>The same, in memory.</summary>
    internal ExecutionPlan? Plan { get; init; }

    /// <summary>How long a search may take: it is to be over before anybody notices.</summary>
    internal TimeSpan SearchBudget { get; init; } = TimeSpan.FromMilliseconds(200);

    /// <summary>What plans are best in. Default <see cref="PlanPolicy.Energy"/>.</summary>
    public PlanPolicy Objective { get; init; } = PlanPolicy.Energy;

    /// <summary>The same while a battery feeds the machine; <see langword="null"/>: as otherwise. Default <see cref="PlanPolicy.Energy"/>.</summary>
    public PlanPolicy? ObjectiveOnBattery { get; init; } = PlanPolicy.Energy;

    /// <summary>What plans must keep.</summary>
    public PlanLimits Limits { get; init; } = new();

    /// <summary>Tokens of a prompt that plans reckon with. Default 512.</summary>
    public int Prompt { get; init; } = 512;

    /// <summary>Tokens of an answer that plans reckon with. Default 256.</summary>
    public int Tokens { get; init; } = 256;

    /// <summary>Whether the plan may change while the model runs. Default true.</summary>
    public bool Replans { get; init; } = true;

    /// <summary>Whether plans go by what devices really took. Default true.</summary>
    public bool Learns { get; init; } = true;

    /// <summary>The share by which another plan must be better for the model to move to it, so that it does not go back and forth. Default 0.1; a device that is lost or too hot is left whatever that costs.</summary>
    public double LeastGain { get; init; } = 0.1;

    /// <summary>After a move the model stays at least so long. Default 10 s.</summary>
    public TimeSpan Rest { get; init; } = TimeSpan.FromSeconds(10);
}
