"""Makes beyond_fixmatch.safetensors: losses and gradients of ShrinkMatch (Yang et al. 2023), ELR
(Liu et al. 2020), Arazo et al. (2020) and CCIC (Boschini et al. 2022), by their formulas and one
sample after the other.

    python crates/sluicebox-learn/tests/golden/beyond_fixmatch.py          (needs torch and safetensors)
"""

import math
import pathlib

import torch
from safetensors.torch import save_file
from torch.nn.functional import cross_entropy, normalize

torch.manual_seed(1)
B, L, C, F = 8, 5, 4, 6
weak = torch.randn(3, B, C) * torch.tensor([8.0, 1, 6, 0.5, 9, 2, 1, 3])[:, None]
labels = torch.tensor([0, 3, 0, 1, 3])
tensors = {"weak": weak.contiguous(), "labels": labels}


def leaf(*size):
    return torch.randn(*size).requires_grad_()


def keep(method, loss, labelled_part, unlabelled_part, **leaves):
    gradients = torch.autograd.grad(loss, list(leaves.values()))
    tensors[f"{method}.loss"] = loss.detach()
    tensors[f"{method}.loss_labelled"] = labelled_part.detach()
    tensors[f"{method}.loss_unlabelled"] = unlabelled_part.detach()
    for (name, value), gradient in zip(leaves.items(), gradients):
        tensors[f"{method}.{name}"] = value.detach()
        tensors[f"{method}.{name}_gradient"] = gradient


def shrinkmatch(threshold=0.9):
    strong, auxiliary, labelled = leaf(B, C), leaf(B, C), leaf(L, C)
    rows = weak[0].softmax(1)
    rows = rows / rows.mean(0)
    rows = rows / rows.sum(1, keepdim=True)
    confident = rows.max(1).values >= threshold
    assert 0 < confident.sum() < B
    sum_strong, sum_shrunk, shrunk = 0.0, 0.0, 0
    for i in range(B):
        if confident[i]:
            sum_strong = sum_strong - (rows[i] * strong[i].log_softmax(0)).sum()
            continue
        order = rows[i].argsort(descending=True).tolist()
        dropped = 0
        while True:
            left = [order[0]] + order[1 + dropped:]
            if rows[i, order[0]] / rows[i, left].sum() >= threshold:
                break
            dropped += 1
        if len(left) > 1:
            shrunk += 1
            sum_shrunk = sum_shrunk - auxiliary[i, left].log_softmax(0)[0] * rows[i, order[0]]
    assert shrunk > 1
    of_labelled, of_strong = cross_entropy(labelled, labels), sum_strong / B
    loss = of_labelled + of_strong + confident.float().mean() * sum_shrunk / B
    keep("shrinkmatch", loss, of_labelled, of_strong, strong=strong, auxiliary=auxiliary, labelled=labelled)


def elr(threshold=0.9, weight=3.0):
    strong, labelled = leaf(B, C), leaf(L, C)
    rows = weak[0].softmax(1)
    total = 0.0
    for i in range(B):
        if rows[i].max() < threshold:
            continue
        earlier = rows[i].clamp(1e-4, 1 - 1e-4)
        earlier = earlier / earlier.sum()
        given = strong[i].softmax(0).clamp(1e-4, 1 - 1e-4)
        total = total + cross_entropy(strong[i], rows[i].argmax()) + weight * (1 - given @ earlier).log()
    of_labelled, of_strong = cross_entropy(labelled, labels), total / B
    keep("elr", of_labelled + of_strong, of_labelled, of_strong, strong=strong, labelled=labelled)


def arazo():
    """The targets are not mixed here: what mixes them has tests of its own."""
    strong, labelled = leaf(B, C), leaf(L, C)
    rows = weak[0].softmax(1)
    of_labelled = cross_entropy(labelled, labels)
    of_strong = -(rows * strong.log_softmax(1)).sum() / B
    given = torch.cat([labelled, strong]).softmax(1)
    prior = sum(1 / C * ((1 / C) / given[:, c].mean()).log() for c in range(C))
    entropy = -(given * given.log()).sum() / (L + B)
    loss = (L * of_labelled + B * of_strong) / (L + B) + 0.8 * prior + 0.4 * entropy
    keep("arazo", loss, of_labelled, of_strong, strong=strong, labelled=labelled)


def ccic(temperature=0.5, margin=1.0):
    strong, labelled = leaf(B, C), leaf(L, C)
    features, replay = leaf(B, F), leaf(L, F)
    mean = weak.softmax(2).mean(0)
    sharp = mean ** (1 / temperature)
    sharp = sharp / sharp.sum(1, keepdim=True)
    classes = mean.argmax(1)
    of_labelled = cross_entropy(labelled, labels)
    of_strong = ((strong.softmax(1) - sharp) ** 2).sum() / B
    x, u = normalize(replay), normalize(features)
    apart = lambda a, b: (a - b).norm()
    fails = []
    for i in range(L):
        same = [apart(x[i], x[j]) for j in range(L) if j != i and labels[j] == labels[i]]
        other = [apart(x[i], x[j]) for j in range(L) if labels[j] != labels[i]]
        if same and other:
            fails.append((max(same) - min(other) + margin).clamp(min=0))
    supervised = sum(fails) / len(fails)
    unsupervised, there = 0.0, 0
    for i in range(B):
        same = [apart(u[i], x[j]) for j in range(L) if labels[j] == classes[i]]
        other = [apart(u[i], x[j]) for j in range(L) if labels[j] != classes[i]]
        if same and other:
            there += 1
            unsupervised = unsupervised + (min(same) - min(other) + margin).clamp(min=0) / B
    assert 0 < there < B, "no sample of a class that replay lacks"
    loss = of_labelled + 0.5 * of_strong + supervised + 0.5 * unsupervised
    keep("ccic", loss, of_labelled, of_strong, strong=strong, labelled=labelled, features=features,
         replay=replay)


for method in (shrinkmatch, elr, arazo, ccic):
    method()
assert all(math.isfinite(value.float().sum()) for value in tensors.values())
save_file({name: value.contiguous() for name, value in tensors.items()},
          pathlib.Path(__file__).with_suffix(".safetensors"))
