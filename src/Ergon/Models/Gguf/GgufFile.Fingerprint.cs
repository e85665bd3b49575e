using System.Security.Cryptography;

namespace Ergon.Models.Gguf;

internal sealed partial class GgufFile
{
    // Hashing all of a large model takes seconds; training changes every tensor, so a sample of each tells models apart.
    private const int SampleBytes = 1024;

    /// <summary>
    /// 32 bytes that tell this model from others: SHA-256 over the first part's header (all metadata) and the
    /// description, beginning and end of every tensor. Not a check of the file's integrity.
    /// </summary>
    /// <exception cref="GgufException">A part cannot be read any more.</exception>
    public byte[] Fingerprint()
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        var buffer = new byte[1 << 16];
        for (var part = 0; part < Parts.Count; part++)
        {
            using var cursor = File.OpenHandle(Parts[part].Path);
            var own = Tensors.Where(t => t.Part == part).ToArray();
            if (part == 0)
                Append(cursor, 0, own.Select(t => t.FileOffset).DefaultIfEmpty(Parts[0].Length).Min());
            foreach (var tensor in own)
            {
                hash.AppendData(System.Text.Encoding.UTF8.GetBytes($"{tensor.Name} {(int)tensor.Type} {string.Join('x', tensor.Ne)}"));
                var sample = Math.Min(SampleBytes, tensor.Bytes);
                Append(cursor, tensor.FileOffset, sample);
                Append(cursor, tensor.FileOffset + tensor.Bytes - sample, sample);
            }
        }
        return hash.GetHashAndReset();

        void Append(Microsoft.Win32.SafeHandles.SafeFileHandle file, long offset, long count)
        {
            for (var end = offset + count; offset < end;)
            {
                var read = RandomAccess.Read(file, buffer.AsSpan(0, (int)Math.Min(buffer.Length, end - offset)), offset);
                if (read == 0)
                    throw new GgufException(Path, "ended before its header says: it changed since it was opened; load it again");
                hash.AppendData(buffer, 0, read);
                offset += read;
            }
        }
    }
}
