"""Makes optimisers.safetensors: 50 steps of PyTorch's SGD and AdamW over given gradients.

    python crates/sluicebox-learn/tests/golden/optimisers.py        (needs torch and safetensors)

The first 20 of 37 parameters decay, the others do not, as weights and biases do.
"""

import pathlib

import torch
from safetensors.torch import save_file

torch.manual_seed(0)
start, gradients = torch.randn(37), torch.randn(50, 37)


def run(make):
    decayed = start[:20].clone().requires_grad_()
    others = start[20:].clone().requires_grad_()
    optimiser, rows = make(decayed, others), []
    for gradient in gradients:
        decayed.grad, others.grad = gradient[:20].clone(), gradient[20:].clone()
        optimiser.step()
        rows.append(torch.cat([decayed, others]).detach().clone())
    return torch.stack(rows)


def sgd(decay):
    def make(decayed, others):
        groups = [{"params": [decayed], "weight_decay": decay}, {"params": [others], "weight_decay": 0.0}]
        return torch.optim.SGD(groups, lr=0.1, momentum=0.9, nesterov=True)

    return make


def adamw(decayed, others):
    groups = [{"params": [decayed], "weight_decay": 0.05}, {"params": [others], "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=0.01, betas=(0.9, 0.999), eps=1e-8)


tensors = {"start": start, "gradients": gradients, "sgd": run(sgd(0.01)), "sgd_plain": run(sgd(0.0)), "adamw": run(adamw)}
save_file(tensors, pathlib.Path(__file__).with_suffix(".safetensors"))
