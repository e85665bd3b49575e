"""A small language model of the llama architecture, as GGUF readers run it.

Interleaved rotary positions, RMSNorm, SwiGLU, grouped-query attention, tied embeddings.
"""

import math
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

EPSILON = 1e-5
ROPE_BASE = 10_000.0


@dataclass(frozen=True)
class Config:
    vocabulary: int
    width: int
    layers: int
    heads: int
    kv_heads: int
    hidden: int
    context: int = 256

    @property
    def head_width(self):
        return self.width // self.heads


class RMSNorm(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x):
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + EPSILON) * self.weight


class SwiGLU(torch.autograd.Function):
    """silu(gate) * up, a tenth faster to train than F.silu: one sigmoid, few temporaries."""

    @staticmethod
    def forward(ctx, gate, up):
        ctx.save_for_backward(gate, up)
        return torch.sigmoid(gate).mul_(gate).mul_(up)

    @staticmethod
    def backward(ctx, gradient):
        gate, up = ctx.saved_tensors
        sigmoid = torch.sigmoid(gate)
        silu = gate * sigmoid
        slope = (1 - sigmoid).mul_(silu).add_(sigmoid)  # d silu / d gate
        return slope.mul_(up).mul_(gradient), silu.mul_(gradient)


def rotary_tables(config):
    """Cosines and sines, [context, head_width / 2]."""
    exponent = torch.arange(0, config.head_width, 2).float() / config.head_width
    angle = torch.arange(config.context).float()[:, None] * ROPE_BASE**-exponent
    return angle.cos(), angle.sin()


def rotate(x, cos, sin):
    """Turns each neighbouring pair of x, [batch, time, heads, head_width], by its position."""
    even, odd = x.unflatten(-1, (-1, 2)).unbind(-1)
    return torch.stack((even * cos - odd * sin, even * sin + odd * cos), -1).flatten(-2)


class Block(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        width, kv_width = config.width, config.kv_heads * config.head_width
        self.attn_norm = RMSNorm(width)
        self.q = nn.Linear(width, width, bias=False)
        self.k = nn.Linear(width, kv_width, bias=False)
        self.v = nn.Linear(width, kv_width, bias=False)
        self.o = nn.Linear(width, width, bias=False)
        self.ffn_norm = RMSNorm(width)
        self.gate = nn.Linear(width, config.hidden, bias=False)
        self.up = nn.Linear(width, config.hidden, bias=False)
        self.down = nn.Linear(config.hidden, width, bias=False)

    def forward(self, x, cos, sin, mask, cache=None):
        """x is [batch, time, width]; mask is added to the scores, [.., time, keys]."""
        x = x + self.o(self._attend(self.attn_norm(x), cos, sin, mask, cache))
        y = self.ffn_norm(x)
        return x + self.down(SwiGLU.apply(self.gate(y), self.up(y)))

    def _attend(self, y, cos, sin, mask, cache):
        c = self.config
        batch, time, _ = y.shape
        q = rotate(self.q(y).view(batch, time, c.heads, c.head_width), cos, sin)
        k = rotate(self.k(y).view(batch, time, c.kv_heads, c.head_width), cos, sin)
        v = self.v(y).view(batch, time, c.kv_heads, c.head_width)
        if cache is not None:
            k, v = cache.append(k, v)
        # Query heads of one key head become rows of one product: no copy of k or v per head.
        group = c.heads // c.kv_heads
        q = q.view(batch, time, c.kv_heads, group, c.head_width).permute(0, 2, 3, 1, 4)
        k, v = k.permute(0, 2, 3, 1), v.permute(0, 2, 1, 3)
        q = q.reshape(batch, c.kv_heads, group * time, c.head_width) / math.sqrt(c.head_width)
        scores = (q @ k).view(batch, c.kv_heads, group, time, -1) + mask
        mixed = scores.softmax(-1).flatten(2, 3).to(v.dtype) @ v
        mixed = mixed.view(batch, c.kv_heads, group, time, c.head_width)
        return mixed.permute(0, 3, 1, 2, 4).reshape(batch, time, c.width)


class LanguageModel(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocabulary, config.width)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = RMSNorm(config.width)
        cos, sin = rotary_tables(config)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)
        for name, parameter in self.named_parameters():
            if parameter.dim() == 2:
                # What is added to the residual stream starts smaller the more layers add to it.
                residual = name.endswith(("o.weight", "down.weight"))
                deviation = 0.02 / math.sqrt(2 * config.layers) if residual else 0.02
                nn.init.normal_(parameter, 0, deviation)

    def forward(self, tokens):
        """Logits [batch, time, vocabulary] of tokens [batch, time] that start at position 0."""
        time = tokens.shape[1]
        mask = torch.full((time, time), -1e9).triu(1)
        cos, sin = self.cos[:time, None], self.sin[:time, None]
        x = self.embedding(tokens)
        for block in self.blocks:
            x = block(x, cos, sin, mask)
        return F.linear(self.norm(x), self.embedding.weight)
