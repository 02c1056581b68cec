"""Makes models.safetensors: what PyTorch's modules make of the same weights and inputs.

    python crates/sluicebox-learn/tests/golden/models.py            (needs torch and safetensors)

For each model, under its prefix: weights and buffers by their names, `input`, `eval_logits`
(running statistics), `train_logits` (batch statistics), and as `after.NAME` the buffers after
that training pass.
"""

import pathlib
import sys

import torch
from safetensors.torch import save_file

root = pathlib.Path(__file__).parent
sys.path.append(str(root.parents[3] / "python"))
from sluicebox.networks import ConvNet, Mlp  # noqa: E402

torch.manual_seed(0)
tensors = {}
for prefix, model, shape in [
    ("conv28", ConvNet((1, 28, 28), 10), (6, 1, 28, 28)),
    ("conv8", ConvNet((3, 8, 8), 10), (6, 3, 8, 8)),
    ("mlp", Mlp((33,), 6), (6, 33)),
]:
    for name, buffer in model.named_buffers():
        if name.endswith("running_mean"):
            buffer.normal_(0, 0.1)
        if name.endswith("running_var"):
            buffer.uniform_(0.5, 1.5)
    x = torch.rand(shape)
    tensors |= {f"{prefix}.{name}": value.clone() for name, value in model.state_dict().items()}
    tensors[f"{prefix}.input"] = x
    tensors[f"{prefix}.eval_logits"] = model.eval()(x).detach()
    tensors[f"{prefix}.train_logits"] = model.train()(x).detach()
    tensors |= {f"{prefix}.after.{name}": value.clone() for name, value in model.named_buffers()}
save_file(tensors, root / "models.safetensors")
