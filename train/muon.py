"""Muon: momentum, orthogonalised, for the hidden matrices; AdamW for everything else.

Jordan et al. 2024 (kellerjordan.github.io/posts/muon), with the scale of Liu et al. 2025
(arXiv:2502.16982, equation 4), which gives an update AdamW's usual root mean square, so that one
learning rate serves both.
"""

import math

import torch


def orthogonalise(matrix, steps=5):
    """Roughly U V^T of the matrix's singular value decomposition, by Newton-Schulz iteration."""
    a, b, c = 3.4445, -4.7750, 2.0315  # the quintic of the reference: singular values to 0.7 - 1.2
    x = matrix / (matrix.norm() + 1e-7)
    tall = x.shape[0] > x.shape[1]
    if tall:
        x = x.t()
    for _ in range(steps):
        gram = x @ x.t()
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.t() if tall else x


class Muon(torch.optim.Optimizer):
    def __init__(self, parameters, lr, momentum=0.95, weight_decay=0.05):
        super().__init__(parameters, dict(lr=lr, momentum=momentum, weight_decay=weight_decay))

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for parameter in group["params"]:
                state = self.state[parameter]
                if not state:
                    state["momentum"] = torch.zeros_like(parameter)
                momentum = state["momentum"].mul_(group["momentum"]).add_(parameter.grad)
                nesterov = parameter.grad.add(momentum, alpha=group["momentum"])
                scale = 0.2 * math.sqrt(max(parameter.shape))
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                parameter.add_(orthogonalise(nesterov), alpha=-group["lr"] * scale)


def optimizers(model, name, lr):
    """A list of optimizers that together cover the model's parameters."""
    matrices = [p for n, p in model.named_parameters() if p.dim() == 2 and n.startswith("blocks.")]
    hidden = {id(p) for p in matrices}
    others = [p for p in model.parameters() if id(p) not in hidden]
    if name == "adamw":
        others, matrices = others + matrices, []
    adamw = torch.optim.AdamW(others, lr=lr, betas=(0.9, 0.95), weight_decay=0.05)
    return [adamw, Muon(matrices, lr)] if matrices else [adamw]
