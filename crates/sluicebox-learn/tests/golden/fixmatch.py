"""Makes fixmatch.safetensors: FixMatch's loss and gradients by Sohn et al. 2020, eq. 3 and 4.

    python crates/sluicebox-learn/tests/golden/fixmatch.py          (needs torch and safetensors)
"""

import pathlib

import torch
from safetensors.torch import save_file
from torch.nn.functional import cross_entropy

torch.manual_seed(0)
weak = torch.randn(8, 5) * torch.tensor([8.0, 1, 6, 0.5, 9, 7, 1, 0.1])[:, None]
strong = torch.randn(8, 5).requires_grad_()
labelled = torch.randn(4, 5).requires_grad_()
labels = torch.tensor([0, 3, 4, 1])

confidence, pseudo_labels = weak.softmax(1).max(1)
accepted = confidence >= 0.95
loss_labelled = cross_entropy(labelled, labels)
loss_unlabelled = (accepted * cross_entropy(strong, pseudo_labels, reduction="none")).sum() / 8
loss = loss_labelled + 0.5 * loss_unlabelled
loss.backward()
assert 0 < accepted.sum() < 8

tensors = {
    "weak": weak, "strong": strong.detach(), "labelled": labelled.detach(), "labels": labels,
    "accepted": accepted.to(torch.uint8), "pseudo_labels": pseudo_labels,
    "loss_labelled": loss_labelled.detach(), "loss_unlabelled": loss_unlabelled.detach(), "loss": loss.detach(),
    "strong_gradient": strong.grad, "labelled_gradient": labelled.grad,
}
save_file(tensors, pathlib.Path(__file__).with_suffix(".safetensors"))
