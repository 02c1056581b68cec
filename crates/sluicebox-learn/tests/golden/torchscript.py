"""Makes torchscript.pt, torchscript-f64.pt and torchscript.safetensors: a small module with all that a
file may hold, and one step that PyTorch trains it.

    python crates/sluicebox-learn/tests/golden/torchscript.py            (needs torch and safetensors)

Under `input`, `classes`, `eval_logits`, `eval_features`, `train_logits` what their names say, and as
`after.NAME` every weight and buffer after one step of plain gradient descent with a rate of 0.1.
"""

import pathlib

import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

root = pathlib.Path(__file__).parent


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(6, 5)
        self.norm = nn.BatchNorm1d(5, momentum=None)  # by num_batches_tracked
        self.second = nn.Linear(5, 5)
        self.second.weight.requires_grad = False  # frozen
        self.last = nn.Linear(5, 3)
        self.unused = nn.Linear(2, 2)
        self.register_buffer("seen", torch.zeros(1))

    def forward(self, x):
        if self.training:
            self.seen = self.seen + x.size(0)  # a new tensor in its place
        x = torch.relu(self.norm(self.first(x)))
        x = torch.tanh(self.second(x))
        return self.last(x), x


torch.manual_seed(0)
net = Small()
torch.jit.save(torch.jit.script(Small().double()), root / "torchscript-f64.pt")
torch.jit.save(torch.jit.script(net), root / "torchscript.pt")
net = torch.jit.load(root / "torchscript.pt")
x, classes = torch.rand(8, 6), torch.randint(3, (8,))
logits, features = net.eval()(x)
tensors = {"input": x, "classes": classes, "eval_logits": logits.detach(), "eval_features": features.detach()}
logits = net.train()(x)[0]
tensors["train_logits"] = logits.detach()
F.cross_entropy(logits, classes).backward()
with torch.no_grad():
    for parameter in net.parameters():
        if parameter.grad is not None:
            parameter -= 0.1 * parameter.grad
tensors |= {f"after.{name}": value.clone() for name, value in net.state_dict().items()}
save_file(tensors, root / "torchscript.safetensors")
