using System.Reflection;
using Ergon.Inference;

namespace Ergon.Tests;

/// <summary>Which folder of Ergon may use which, read from the types that each type's members name.</summary>
public sealed class ArchitectureTests
{
    private static readonly Dictionary<string, string[]> MayUse = new()
    {
        ["Ergon.Units"] = [],
        ["Ergon.Models"] = ["Ergon.Units"],
        ["Ergon.Devices"] = ["Ergon.Units"],
        ["Ergon.Inference"] = ["Ergon.Units", "Ergon.Models", "Ergon.Devices"],
        ["Ergon.Cost"] = ["Ergon.Units", "Ergon.Models", "Ergon.Devices"],
        ["Ergon.Energy"] = ["Ergon.Units", "Ergon.Devices", "Ergon.Cost"],
        ["Ergon.Simulation"] = ["Ergon.Units", "Ergon.Cost", "Ergon.Devices"],
        ["Ergon.Planning"] = ["Ergon.Units", "Ergon.Models", "Ergon.Devices", "Ergon.Cost"],
        ["Ergon.Reasoning"] = ["Ergon.Units", "Ergon.Inference", "Ergon.Models", "Ergon.Energy"],
        ["Ergon.Runtime"] = ["Ergon.Units", "Ergon.Inference", "Ergon.Models", "Ergon.Devices", "Ergon.Cost", "Ergon.Energy", "Ergon.Simulation", "Ergon.Planning", "Ergon.Reasoning"],
    };

    [Fact]
    public void Arrows_between_folders_point_one_way()
    {
        var wrong = new SortedSet<string>();
        foreach (var type in typeof(ErgonModel).Assembly.GetTypes())
        {
            if (Folder(type) is not { } folder)
                continue;
            Assert.True(MayUse.ContainsKey(folder), $"{folder} has no row in this test");
            foreach (var used in Used(type).Select(Folder).OfType<string>())
            {
                if (used != folder && !MayUse[folder].Contains(used))
                    wrong.Add($"{type.FullName} uses {used}");
            }
        }
        Assert.Empty(wrong);
    }

    [Fact]
    public void The_native_layer_has_no_pointer_in_its_public_api()
    {
        var all = BindingFlags.Public | BindingFlags.Instance | BindingFlags.Static | BindingFlags.DeclaredOnly;
        var types = typeof(Ergon.Native.NativeLibraries).Assembly.GetExportedTypes();
        Assert.NotEmpty(types);
        foreach (var type in types)
        {
            var signatures = type.GetMethods(all).SelectMany(m => m.GetParameters().Select(p => p.ParameterType).Append(m.ReturnType))
                .Concat(type.GetFields(all).Select(f => f.FieldType)).Concat(type.GetProperties(all).Select(p => p.PropertyType));
            Assert.DoesNotContain(signatures, t => t.IsPointer || t.IsFunctionPointer || t == typeof(nint) || t == typeof(nuint));
        }
    }

    [Fact]
    public void Only_the_native_layer_is_unsafe() =>
        Assert.DoesNotContain(typeof(ErgonModel).Assembly.GetCustomAttributes(), a => a.GetType().Name == "UnverifiableCodeAttribute");

    // "Ergon.Models.Gguf.GgufFile" lies in Ergon.Models; types of other assemblies in no folder.
    private static string? Folder(Type type)
    {
        if (type.Assembly != typeof(ErgonModel).Assembly || type.Namespace is not { } name || !name.StartsWith("Ergon.", StringComparison.Ordinal))
            return null;
        return string.Join('.', name.Split('.').Take(2));
    }

    private static IEnumerable<Type> Used(Type type)
    {
        const BindingFlags all = BindingFlags.Public | BindingFlags.NonPublic | BindingFlags.Instance | BindingFlags.Static | BindingFlags.DeclaredOnly;
        var direct = type.GetInterfaces().Append(type.BaseType)
            .Concat(type.GetFields(all).Select(f => f.FieldType))
            .Concat(type.GetProperties(all).Select(p => p.PropertyType))
            .Concat(type.GetMethods(all).Cast<MethodBase>().Concat(type.GetConstructors(all)).SelectMany(m =>
                m.GetParameters().Select(p => p.ParameterType)
                    .Concat(m is MethodInfo info ? [info.ReturnType] : [])
                    .Concat(m.GetMethodBody()?.LocalVariables.Select(v => v.LocalType) ?? [])));
        return direct.OfType<Type>().SelectMany(Parts).Distinct();
    }

    private static IEnumerable<Type> Parts(Type type) =>
        type.HasElementType ? Parts(type.GetElementType()!) : type.IsGenericType ? type.GetGenericArguments().SelectMany(Parts).Append(type) : [type];
}
