"""Makes methods.safetensors: what each method is to make of the same batches, by the formulas of
its paper, in f64.

    python crates/sluicebox-learn/tests/golden/methods.py          (needs torch and safetensors)

One function a method. It is given the batches one after the other and says, of each, what
`judge` is to: "weight" [B], "target" ([B] classes or [B, C] rows) and, where there is one,
"threshold". "loss" is a function of the student's logits on the last batch: labelled [L, C] and
strong [B, C]. tests/it/methods.rs has the options that each was computed with.
"""

import math
import pathlib

import torch
from safetensors.torch import save_file
from torch.nn.functional import cross_entropy, one_hot

BATCHES, B, L, C = 5, 12, 6, 4
METHODS = {}


def method(function):
    METHODS[function.__name__.replace("_", "-")] = function
    return function


def make_batches():
    generator = torch.Generator().manual_seed(7)
    normal = lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64)
    batches = []
    for t in range(BATCHES):
        sharpness = torch.linspace(0.3, 6, B)[:, None]
        favour = torch.tensor([1.5, 0.5, 0, 0])  # classes are not equally likely
        weak = (normal(B, C) * sharpness + favour).softmax(1).float()
        weak[0] = torch.tensor([0.0, 0, 1, 0])
        batches.append({
            # As f32, which is what the teacher gives.
            "weak": weak.double(),
            "labelled_scores": (normal(L, C) * 3).softmax(1).float().double(),
            "step": 40 * t,
        })
    return batches


def masked_loss(weight, target, factor):
    """FixMatch's: labelled cross-entropy, and `factor` times the weighted one of strong views."""

    def loss(labelled, labels, strong):
        each = cross_entropy(strong, target, reduction="none")
        return cross_entropy(labelled, labels) + factor * (weight * each).sum() / B

    return loss


def average(old, new, momentum):
    return momentum * old + (1 - momentum) * new


@method
def pseudo_label(batches):
    judged = []
    for batch in batches:
        confidence, classes = batch["weak"].max(1)
        ramp = min(max((batch["step"] - 30) / 100, 0), 1)  # T1 = 30, T2 = 130
        judged.append({"weight": (confidence >= 0.8) * ramp, "target": classes, "threshold": torch.tensor([0.8])})
    return judged, masked_loss(judged[-1]["weight"], judged[-1]["target"], 3.0)


@method
def mean_teacher(batches):
    judged = []
    for batch in batches:
        ramp = math.exp(-5 * (1 - min(batch["step"] / 200, 1)) ** 2)
        judged.append({"weight": torch.full([B], ramp), "target": batch["weak"]})

    def loss(labelled, labels, strong):
        squares = (strong.softmax(1) - batches[-1]["weak"]) ** 2
        return cross_entropy(labelled, labels) + 50 * ramp * squares.mean()

    return judged, loss


@method
def uda(batches):
    judged = []
    for batch in batches:
        weak = batch["weak"]
        sharp = weak ** (1 / 0.4)
        judged.append({
            "weight": weak.max(1).values >= 0.7,
            "target": sharp / sharp.sum(1, keepdim=True),
            "threshold": torch.tensor([0.7]),
        })

    def loss(labelled, labels, strong):
        # Training signal annealing: log schedule over 2000 steps.
        eta = (1 - math.exp(-5 * batches[-1]["step"] / 2000)) * (1 - 1 / C) + 1 / C
        own = labelled.softmax(1).gather(1, labels[:, None])[:, 0]
        counted = own.detach() <= eta
        assert 0 < counted.sum() < L
        supervised = -(counted * own.log()).sum() / counted.sum()
        target, weight = judged[-1]["target"], judged[-1]["weight"]
        consistency = -(target * strong.log_softmax(1)).sum(1)
        return supervised + 0.5 * (weight * consistency).sum() / B

    return judged, loss


@method
def freematch(batches):
    m = 0.4
    level, probabilities, counts = 1 / C, torch.full([C], 1 / C), torch.full([C], 1 / C)
    judged = []
    for batch in batches:
        weak = batch["weak"]
        confidence, classes = weak.max(1)
        level = average(level, confidence.mean(), m)  # equation 5
        probabilities = average(probabilities, weak.mean(0), m)  # equation 6
        counts = average(counts, one_hot(classes, C).double().mean(0), m)
        thresholds = probabilities / probabilities.max() * level  # equation 7
        judged.append({"weight": confidence >= thresholds[classes], "target": classes, "threshold": thresholds})
    weight = judged[-1]["weight"]
    fixmatch = masked_loss(weight, judged[-1]["target"], 0.5)

    def loss(labelled, labels, strong):
        rows = strong[weight].softmax(1)
        histogram = one_hot(rows.argmax(1), C).double().mean(0)
        assert (histogram > 0).sum() == C - 1  # one class is left out
        present = histogram > 0
        share = torch.zeros(C, dtype=torch.float64)
        share[present] = rows.mean(0)[present] / histogram[present]
        share = share / share.sum()
        expected = probabilities / counts
        expected = expected / expected.sum()
        fairness = (expected[present] * share[present].log()).sum()
        return fixmatch(labelled, labels, strong) + 0.05 * fairness

    return judged, loss


@method
def softmatch(batches):
    m, n = 0.4, 3
    mean, variance, probabilities = 1 / C, 1.0, torch.full([C], 1 / C)
    judged = []
    for batch in batches:
        weak = batch["weak"]
        confidence, classes = weak.max(1)
        mean = average(mean, confidence.mean(), m)
        variance = average(variance, confidence.var(unbiased=True), m)
        probabilities = average(probabilities, weak.mean(0), m)
        aligned = weak * (1 / C) / probabilities
        aligned = (aligned / aligned.sum(1, keepdim=True)).max(1).values
        below = torch.clamp(aligned - mean, max=0)
        judged.append({"weight": torch.exp(-(below**2) / (2 * variance / n**2)), "target": classes})
    return judged, masked_loss(judged[-1]["weight"], judged[-1]["target"], 1.0)


@method
def adamatch(batches):
    m, window = 0.9, 3
    labelled, recent = torch.full([C], 1 / C), [torch.full([C], 1 / C)] * window
    judged = []
    for batch in batches:
        weak, scores = batch["weak"], batch["labelled_scores"]
        labelled = average(labelled, scores.mean(0), m)
        recent = recent[1:] + [weak.mean(0)]
        unlabelled = torch.stack(recent).mean(0)
        aligned = weak * (labelled + 1e-6) / (unlabelled + 1e-6)
        confidence, classes = (aligned / aligned.sum(1, keepdim=True)).max(1)
        threshold = 0.9 * scores.max(1).values.mean()
        ramp = (1 - math.cos(math.pi * min(batch["step"] / 100, 1))) / 2
        judged.append({
            "weight": (confidence >= threshold) * ramp, "target": classes, "threshold": threshold[None],
        })
    return judged, masked_loss(judged[-1]["weight"], judged[-1]["target"], 2.0)


def main():
    batches = make_batches()
    generator = torch.Generator().manual_seed(8)
    leaf = lambda n: torch.randn(n, C, generator=generator, dtype=torch.float64).mul(2)
    labels = torch.tensor([0, 3, 1, 1, 2, 0])
    labelled, strong = leaf(L), leaf(B)
    strong[:, 3] -= 6  # no strong view is given to class 3
    tensors = {"labels": labels, "labelled": labelled, "strong": strong}
    for t, batch in enumerate(batches):
        tensors |= {f"{t}.{name}": torch.as_tensor(value) for name, value in batch.items()}
    for name, function in METHODS.items():
        judged, loss = function(batches)
        for t, judgement in enumerate(judged):
            tensors |= {f"{name}.{t}.{key}": value for key, value in judgement.items()}
        leaves = [labelled.clone().requires_grad_(), strong.clone().requires_grad_()]
        total = loss(leaves[0], labels, leaves[1])
        total.backward()
        tensors[f"{name}.loss"] = total.detach()
        tensors[f"{name}.labelled_gradient"], tensors[f"{name}.strong_gradient"] = (leaf.grad for leaf in leaves)
    whole = lambda tensor: tensor if tensor.dtype == torch.int64 else tensor.float()
    tensors = {name: whole(tensor).contiguous() for name, tensor in tensors.items()}
    save_file(tensors, pathlib.Path(__file__).with_suffix(".safetensors"))


main()
