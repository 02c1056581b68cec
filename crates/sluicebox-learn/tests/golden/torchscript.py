"""Makes torchscript.pt, torchscript-f64.pt and torchscript.safetensors: a small module with all that a
file may hold, and one step that PyTorch trains it. Then torchscript-NAME.pt: modules that were traced in
either mode (`traced-train`, `traced-norm` without dropout, `traced-eval`, and `traced-pretrained` with running statistics), with dropout that is
always on (`random`), with batch norm of vectors (`norm`: 5 inputs), whose
loss is sometimes not a number (`sometimes`: 5 inputs), that change their input in place (`in-place`, and `out-of-place`, the same without), and with
buffers of other types (`buffers`).

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


class Plain(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.norm, self.last = nn.Linear(6, 5), nn.BatchNorm1d(5), nn.Linear(5, 3)

    def forward(self, x):
        return self.last(F.dropout(torch.relu(self.norm(self.first(x))), 0.5, self.training))


class Random(Plain):
    def forward(self, x):
        return self.last(F.dropout(torch.relu(self.first(x)), 0.5, True))


class InPlace(nn.Module):
    def __init__(self):
        super().__init__()
        self.last = nn.Linear(6, 3)

    def forward(self, x):
        return self.last(x.sub_(0.3).div_(0.37))


class OutOfPlace(InPlace):
    def forward(self, x):
        return self.last((x - 0.3) / 0.37)


class Buffers(nn.Module):
    def __init__(self):
        super().__init__()
        self.last = nn.Linear(6, 3)
        self.register_buffer("keeps", torch.tensor([True, False, True, True, True, True]))
        self.register_buffer("steps", torch.zeros(1, dtype=torch.int32))

    def forward(self, x):
        if self.training:
            self.steps += 1
        return self.last(x * self.keeps)


def save(name, module):
    torch.jit.save(module, root / f"torchscript-{name}.pt")


class Norm(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.last = nn.BatchNorm1d(5), nn.Linear(5, 3)

    def forward(self, x):
        return self.last(self.norm(x))


class Sometimes(Norm):
    def forward(self, x):
        x = self.last(self.norm(x))
        if self.training:
            x = x + torch.where(x[0, 0] > 0.5, torch.full_like(x, float("nan")), torch.zeros_like(x))
        return x


x = torch.rand(8, 6)
torch.manual_seed(1)
save("sometimes", torch.jit.script(Sometimes()))
torch.manual_seed(1)
save("norm", torch.jit.script(Norm()))
save("traced-train", torch.jit.trace(Plain().train(), x, check_trace=False))
save("traced-norm", torch.jit.trace(nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.Linear(5, 3)).train(), x))
save("traced-eval", torch.jit.trace(Plain().eval(), x))
trained = Plain().train()
trained(torch.rand(64, 6))
save("traced-pretrained", torch.jit.trace(trained.eval(), x))
save("random", torch.jit.script(Random()))
torch.manual_seed(2)
save("in-place", torch.jit.script(InPlace()))
torch.manual_seed(2)
save("out-of-place", torch.jit.script(OutOfPlace()))
save("buffers", torch.jit.script(Buffers()))
