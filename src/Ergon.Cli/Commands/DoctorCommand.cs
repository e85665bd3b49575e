using Ergon.Devices;
using Ergon.Energy;
using Ergon.Native.Nvidia;

namespace Ergon.Cli.Commands;

/// <summary><c>ergon doctor</c>: what is missing to meter and tune here, and the command that grants it.</summary>
internal static class DoctorCommand
{
    public static Verb Create(Terminal terminal)
    {
        var json = Settings.Json();
        return new Verb("doctor", "Show what is missing to meter energy and tune clocks here, and the command that grants it", "ergon doctor", "ergon doctor --json") { json }.Does(parsed =>
        {
            var diagnosis = new Doctor(new SystemFiles(), Command.Run, Nvml.OfMachine, Environment.UserName).Examine();
            if (parsed.GetValue(json))
                CliJson.Write(terminal.Out, new DoctorReport(diagnosis.Meters, [.. diagnosis.Findings.Select(f => new DoctorFinding(f.Subject, f.IsFine, f.Text, f.Grant))]));
            else
                Print(terminal.Out, diagnosis);
            return Exit.Ok;
        });
    }

    internal static void Print(TextWriter output, Diagnosis diagnosis)
    {
        foreach (var finding in diagnosis.Findings)
        {
            output.WriteLine($"{(finding.IsFine ? "ok     " : "missing")}  {finding.Subject}: {finding.Text}");
            if (finding.Grant is { } grant)
                output.WriteLine($"         {grant}");
        }
    }
}
