"""Answers as a job of Sluicebox gives them: its network, blended with the experts beside it and corrected to the class
prior of the stream (docs/drift.md).

`sluicebox export --answer` writes all of it as it is at that moment, and there it stays: a loaded answer does not learn
on. Shares, the rows among which a value is ranked, labelled rows and class prior are those of the export.
"""

import json
import math

import torch
from safetensors import safe_open
from torch import nn

from sluicebox.exported import about as described
from sluicebox.exported import network_in
from sluicebox.networks import Normalise

PREFIX = "sluicebox.answer."
FORM = 2
HALVES = ("standardised", "ranks")
# Samples that the experts look at together: neighbours need a thousand rows for each.
TOGETHER = 64


class Answer:
    """A job's answer. Call it with samples `[N, …]` as the source has them (not scaled): probabilities `[N, C]` f32.

    `about` is what the file says of the network (`sluicebox.exported.About`), `network` the network itself; it may be
    moved to a device, the rest is computed on the CPU.
    """

    def __init__(self, network, about, numbers, tensors):
        self.network, self.about, self.numbers, self.tensors = network, about, numbers, tensors

    @classmethod
    def load(cls, path, network=None):
        """Reads a file. `network`: your own module, with its weights, where the job's is a TorchScript file."""
        with safe_open(str(path), "pt") as file:
            metadata = file.metadata()
            about = described(metadata)
            if "answer" not in metadata:
                raise ValueError(f"{path} holds the network alone: export it with --answer")
            numbers = json.loads(metadata["answer"])
            if numbers["form"] != FORM:
                raise ValueError(f"{path}: its answer has form {numbers['form']}, this package reads form {FORM}")
            names = [name for name in file.keys() if name.startswith(PREFIX)]
            tensors = {name[len(PREFIX):]: file.get_tensor(name) for name in names}
            if network is None:
                network = network_in(file, about)
            elif "normalise" in about.model:  # the scale of the input, which the job and not its module owns
                network = nn.Sequential(Normalise(about.shape, **about.model["normalise"]), network)
        return cls(network, about, numbers, tensors)

    @property
    def shares(self):
        """Who has a say: the share of the network and of each kind of experts, and, beside those, that of the answer
        as corrected to the class prior (`corrected`), where labels judge it."""
        if "shares" not in self.tensors:
            shares = {"network": 1.0}
        else:
            network, experts = self.tensors["shares"].tolist()
            counts = [2 * self._count(kind) for kind in self.numbers["kinds"]]
            of_kind = self.tensors["experts.shares"].split(counts)
            of_kind = {kind: experts * float(of.sum()) for kind, of in zip(self.numbers["kinds"], of_kind)}
            shares = {"network": network, **of_kind}
        strengths = self.tensors.get("shifts.shares", ())
        return {**shares, "corrected": 1 - strengths[0].item()} if len(strengths) > 1 else shares

    @torch.no_grad()
    def __call__(self, samples):
        samples = torch.as_tensor(samples)
        if list(samples.shape[1:]) != list(self.about.shape):
            raise ValueError(f"samples have shape {list(samples.shape[1:])}, the job's have {list(self.about.shape)}")
        samples = samples.float() * self.about.scale
        device = next((weight.device for weight in self.network.parameters()), "cpu")
        logits = self.network(samples.to(device))
        logits = logits[0] if isinstance(logits, tuple) else logits
        probabilities = logits.float().softmax(1).cpu()
        if "shifts" not in self.tensors:
            return probabilities
        logs = probabilities.double().clamp_min(self.numbers["least"]).log()
        if "shares" in self.tensors:
            network, experts = self.tensors["shares"].tolist()
            logs = logs.clamp_min(math.log(self.numbers["least_of_network"])) * network
            parts = [self._experts(part) for part in samples.cpu().split(TOGETHER)]
            logs = logs + experts * torch.cat(parts)
        answers = (logs[:, None] * self.numbers["temper"] + self.tensors["shifts"]).softmax(2)  # [N, K, C]
        answer = (answers * self.tensors["shifts.shares"][:, None]).sum(1)
        return answer.float()

    def _experts(self, samples):
        """Returns the experts' common log probabilities `[N, C]` for scaled samples: their geometric mean by shares."""
        halves = self._scaled(self._features(samples))
        each = torch.cat(
            [getattr(self, "_" + kind.replace("-", "_"))(half, rows)
             for kind in self.numbers["kinds"] for half, rows in enumerate(halves)],
            1,
        )  # [N, E, C]
        each = each.clamp_min(math.log(self.numbers["least_of_expert"]))
        return (each * self.tensors["experts.shares"][:, None]).sum(1).log_softmax(1)

    def _features(self, samples):
        """Returns `[N, F]`: the values, hashed where there are many, or an image's means over a grid."""
        if self.numbers["grid"]:
            return torch.nn.functional.adaptive_avg_pool2d(samples, self.numbers["grid"]).flatten(1)
        if "hash.places" not in self.tensors:
            return samples
        places, signs = self.tensors["hash.places"], self.tensors["hash.signs"]
        sums = torch.zeros(len(samples), len(self.tensors["scaling.mean"]))
        return sums.index_add(1, places, samples * signs)

    def _scaled(self, rows):
        """Returns the standardised values and the rank scores of rows, `[N, F]` each, through the codes of one byte
        that experts learn from."""
        standardised, ranks = self.tensors["scaling.values"]
        cut, newest = self.numbers["cut"], self.tensors["scaling.newest"]
        deviations = (rows.double() - self.tensors["scaling.mean"]) / self.tensors["scaling.deviation"]
        steps = (deviations.float().nan_to_num(0.0, cut, -cut).clamp(-cut, cut) * (127 / cut)).double()
        codes = (steps.sign() * (steps.abs() + 0.5).floor()).long() + 128  # halves are rounded away from 0
        columns = rows.T.contiguous()
        below = torch.searchsorted(newest, columns)
        up_to = torch.searchsorted(newest, columns, right=True)
        count = newest.shape[1]
        of_rank = (256 * (below + up_to) // (2 * count)).clamp_max(255) if count else torch.full_like(below, 128)
        return standardised[codes], ranks[of_rank.T]

    def _count(self, kind):
        """Returns the number of experts of a kind that look at one half of a row."""
        counts = {"neighbours": len(self.numbers["windows"]), "forest": 1}
        return counts.get(kind) or len(self.tensors[f"{kind}.{HALVES[0]}.biases"])

    def _discriminants(self, half, rows):
        return self._linear(f"discriminants.{HALVES[half]}", rows)

    def _rescaled(self, half, rows):
        return self._linear(f"rescaled.{HALVES[half]}", rows)

    def _forest(self, half, rows):
        """Returns the log probabilities `[N, 1, C]` of the trees' mean, with one more tree that knows nothing."""
        roots, features, thresholds, children, leaves, probabilities = (
            self.tensors[f"forest.{HALVES[half]}.{part}"]
            for part in ("roots", "features", "thresholds", "children", "leaves", "probabilities")
        )
        nodes = roots.repeat(len(rows), 1)  # [N, T]
        while (splits := children[nodes][..., 1] > 0).any():
            more = rows.gather(1, features[nodes]) > thresholds[nodes]
            child = children[nodes].gather(2, more.long()[..., None])[..., 0]
            nodes = torch.where(splits, child, nodes)
        sums = probabilities[leaves[nodes]].double().sum(1) + 1 / len(self.about.classes)
        return (sums / sums.sum(1, keepdim=True)).log()[:, None]

    def _random_features(self, half, rows):
        name = f"random-features.{HALVES[half]}"
        bent = (rows @ self.tensors[f"{name}.directions"].T + self.tensors[f"{name}.offsets"]).relu()
        return self._linear(name, torch.cat([rows, bent], 1))

    def _linear(self, name, rows):
        """Returns the log probabilities `[N, K, C]` of K discriminants."""
        weights, biases = self.tensors[f"{name}.weights"].double(), self.tensors[f"{name}.biases"].double()
        return (torch.einsum("nf,fkc->nkc", rows.double(), weights) + biases).log_softmax(2)

    def _neighbours(self, half, rows):
        """Returns the log probabilities `[N, W, C]` of the nearest rows in each window of labelled rows."""
        others = self.tensors["neighbours.rows"].chunk(2, 1)[half]  # newest first
        labels = torch.nn.functional.one_hot(self.tensors["neighbours.classes"], len(self.about.classes))
        distances = squared_distances(rows, others)
        found = []
        for window in self.numbers["windows"]:
            nearest = distances[:, :window].sort(dim=1, stable=True).indices[:, : self.numbers["votes"]]
            votes = labels[nearest].sum(1).double() + 1 / labels.shape[1]
            found.append((votes / votes.sum(1, keepdim=True)).log())
        return torch.stack(found, 1)


def squared_distances(rows, others):
    """Returns `[N, M]` f32. Summed in the order of crates/sluicebox-learn/src/adapt/neighbours.rs, so that rows that are
    equally far there are so here."""
    squares = (rows[:, None] - others[None]).square()
    eights = squares.shape[2] // 8 * 8
    lanes = torch.zeros(*squares.shape[:2], 8)
    for first in range(0, eights, 8):
        lanes += squares[..., first : first + 8]
    total, rest = torch.zeros(squares.shape[:2]), torch.zeros(squares.shape[:2])
    for lane in range(8):
        total = total + lanes[..., lane]
    for at in range(eights, squares.shape[2]):
        rest = rest + squares[..., at]
    return total + rest
