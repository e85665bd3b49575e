using Ergon.Cli;

namespace Ergon.Tests.Cli;

public sealed class CatalogueCheckTests
{
    [SharedFact]
    public async Task Public_measurements_are_judged_with_no_miss_left_unexplained()
    {
        using var output = new StringWriter();
        using var terminal = new Terminal(TextReader.Null, output, TextWriter.Null);
        Assert.Equal(Exit.Ok, await CommandLine.RunAsync(["dev", "catalogue", Shared.Path("data/measurements")], terminal));
        var text = output.ToString();
        Assert.Contains("judged: 51 met, 7 missed", text, StringComparison.Ordinal);
        Assert.DoesNotContain("not explained", text, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_device_is_explained_number_by_number()
    {
        using var output = new StringWriter();
        using var terminal = new Terminal(TextReader.Null, output, TextWriter.Null);
        Assert.Equal(Exit.Ok, await CommandLine.RunAsync(["devices", "--explain", "Raspberry Pi 5"], terminal));
        Assert.Contains("thermalResistance", output.ToString(), StringComparison.Ordinal);
        Assert.Contains("LPDDR4X-4267", output.ToString(), StringComparison.Ordinal);
    }
}
