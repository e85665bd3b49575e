"""Writes a checkpoint as GGUF version 3: matrices in F16 or Q8_0, norms in F32.

    python3 export.py words-l.pt tokenizer.json words-l-f16.gguf f16
    python3 export.py words-l.pt tokenizer.json words-l-q8_0.gguf q8_0
"""

import argparse
import os
import struct

import numpy
import torch

import bpe
from model import EPSILON, ROPE_BASE, Config

ALIGNMENT = 32
MATRIX_TYPES = {"f16": 1, "q8_0": 8}  # ggml_type
FILE_TYPES = {"f16": 1, "q8_0": 7}  # llama_ftype
F32 = 0
NORMAL_TOKEN, CONTROL_TOKEN = 1, 3

# A user message M renders as "Q: M\nA:", an answer as " ANSWER\n".
# An answer comes with the space before it and the line break after it; trimmed and put back, a
# conversation that goes on has the very tokens it was generated with.
CHAT_TEMPLATE = (
    "{% for m in messages %}"
    "{% if m['role'] == 'user' %}Q: {{ m['content'] }}\nA:"
    "{% elif m['role'] == 'assistant' %} {{ m['content'] | trim }}\n"
    "{% endif %}{% endfor %}"
)

LAYER_TENSORS = {
    "attn_norm": "attn_norm",
    "q": "attn_q",
    "k": "attn_k",
    "v": "attn_v",
    "o": "attn_output",
    "ffn_norm": "ffn_norm",
    "gate": "ffn_gate",
    "up": "ffn_up",
    "down": "ffn_down",
}


def string(text):
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def typed(value):
    """A metadata value with its gguf_metadata_value_type in front."""
    if isinstance(value, bool):
        return struct.pack("<I?", 7, value)
    if isinstance(value, int):
        return struct.pack("<II", 4, value)
    if isinstance(value, float):
        return struct.pack("<If", 6, value)
    if isinstance(value, str):
        return struct.pack("<I", 8) + string(value)
    of_strings = isinstance(value[0], str)
    items = (string(item) if of_strings else struct.pack("<i", item) for item in value)
    return struct.pack("<IIQ", 9, 8 if of_strings else 5, len(value)) + b"".join(items)


def metadata(name, config, tokenizer, matrix_type):
    vocabulary = tokenizer.vocabulary
    kinds = [CONTROL_TOKEN if token in bpe.SPECIAL else NORMAL_TOKEN for token in vocabulary]
    return {
        "general.architecture": "llama",
        "general.name": name,
        "general.license": "apache-2.0",
        "general.file_type": FILE_TYPES[matrix_type],
        "general.quantization_version": 2,
        "llama.context_length": config.context,
        "llama.embedding_length": config.width,
        "llama.block_count": config.layers,
        "llama.feed_forward_length": config.hidden,
        "llama.attention.head_count": config.heads,
        "llama.attention.head_count_kv": config.kv_heads,
        "llama.attention.layer_norm_rms_epsilon": EPSILON,
        "llama.rope.dimension_count": config.head_width,
        "llama.rope.freq_base": ROPE_BASE,
        "llama.vocab_size": len(vocabulary),
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "qwen2",
        "tokenizer.ggml.tokens": vocabulary,
        "tokenizer.ggml.token_type": kinds,
        "tokenizer.ggml.merges": [" ".join(pair) for pair in tokenizer.merges],
        "tokenizer.ggml.bos_token_id": tokenizer.bos,
        "tokenizer.ggml.eos_token_id": tokenizer.eos,
        "tokenizer.ggml.padding_token_id": tokenizer.pad,
        "tokenizer.ggml.add_bos_token": True,
        "tokenizer.chat_template": CHAT_TEMPLATE,
    }


def named_tensors(config, weights):
    """Pairs (GGUF name, tensor); the output matrix is the embedding, so it is not repeated."""
    yield "token_embd.weight", weights["embedding.weight"]
    yield "output_norm.weight", weights["norm.weight"]
    for layer in range(config.layers):
        for ours, theirs in LAYER_TENSORS.items():
            yield f"blk.{layer}.{theirs}.weight", weights[f"blocks.{layer}.{ours}.weight"]


def q8_0(values):
    """Blocks of 32: an F16 scale (largest magnitude / 127), then 32 signed bytes."""
    blocks = values.reshape(-1, 32)
    scale = (numpy.abs(blocks).max(1, keepdims=True) / 127).astype("<f4")
    inverse = numpy.divide(1, scale, out=numpy.zeros_like(scale), where=scale > 0)
    # Halves round away from zero, as in ggml's roundf.
    scaled = blocks * inverse
    quants = (numpy.sign(scaled) * numpy.floor(numpy.abs(scaled) + 0.5)).astype("i1")
    packed = numpy.empty(len(blocks), dtype=[("scale", "<f2"), ("quants", "i1", 32)])
    packed["scale"], packed["quants"] = scale[:, 0], quants
    return packed.tobytes()


def encode(tensor, matrix_type):
    """(ggml_type, bytes) of a tensor."""
    values = tensor.float().contiguous().numpy().astype("<f4")
    if values.ndim == 1:
        return F32, values.tobytes()
    data = values.astype("<f2").tobytes() if matrix_type == "f16" else q8_0(values)
    return MATRIX_TYPES[matrix_type], data


def padded(data):
    return data + b"\0" * (-len(data) % ALIGNMENT)


def write(path, fields, tensors, matrix_type):
    infos, blobs, offset = [], [], 0
    for name, tensor in tensors:
        kind, data = encode(tensor, matrix_type)
        shape = tuple(reversed(tensor.shape))  # ggml names the contiguous dimension first
        infos.append(
            string(name)
            + struct.pack(f"<I{len(shape)}Q", len(shape), *shape)
            + struct.pack("<IQ", kind, offset)
        )
        blobs.append(padded(data))
        offset += len(blobs[-1])
    header = b"GGUF" + struct.pack("<IQQ", 3, len(infos), len(fields))
    pairs = (string(key) + typed(value) for key, value in fields.items())
    with open(path, "wb") as file:
        file.write(padded(header + b"".join(pairs) + b"".join(infos)) + b"".join(blobs))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint")
    parser.add_argument("tokenizer")
    parser.add_argument("output")
    parser.add_argument("type", choices=MATRIX_TYPES)
    args = parser.parse_args()
    checkpoint = torch.load(args.checkpoint)
    config = Config(**checkpoint["config"])
    name = os.path.splitext(os.path.basename(args.checkpoint))[0]
    fields = metadata(name, config, bpe.Tokenizer(args.tokenizer), args.type)
    write(args.output, fields, named_tensors(config, checkpoint["weights"]), args.type)


if __name__ == "__main__":
    main()
