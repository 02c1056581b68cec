"""Makes resnets.safetensors: what residual networks in PyTorch make of weights that a formula gives.

    python crates/sluicebox-learn/tests/golden/resnets.py            (needs torch, torchvision and safetensors)

Value k of the weight called NAME is scale·(2·frac(0.618034·(k² + length of NAME)) - 1); the test has the
same formula. For each model, under its prefix: `input`, `classes`, `eval_logits` (running statistics),
`train_logits` (batch statistics), `after.NAME` two of the buffers after that pass, and `gradient.NAME`
of the mean cross-entropy of the training pass.
"""

import pathlib

import torch
import torchvision
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

root = pathlib.Path(__file__).parent


class Block(nn.Module):
    """Batch norm and activation come before a convolution (Zagoruyko and Komodakis 2016)."""

    def __init__(self, inputs, outputs, stride, activates_first):
        super().__init__()
        self.activates_first = activates_first
        self.bn1 = nn.BatchNorm2d(inputs, momentum=1e-3, eps=1e-3)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs, momentum=1e-3, eps=1e-3)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        if inputs != outputs:
            self.convShortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, x):
        active = F.leaky_relu(self.bn1(x), 0.1)
        around = active if self.activates_first else x
        if hasattr(self, "convShortcut"):
            around = self.convShortcut(around)
        return around + self.conv2(F.leaky_relu(self.bn2(self.conv1(active)), 0.1))


class WideResNet(nn.Module):
    def __init__(self, depth, width, channels, classes):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 16, 3, 1, 1, bias=False)
        inputs = 16
        for group in range(3):
            blocks = []
            for index in range((depth - 4) // 6):
                outputs, stride = 16 * 2**group * width, 2 if group > 0 and index == 0 else 1
                blocks.append(Block(inputs, outputs, stride, group + index == 0))
                inputs = outputs
            holder = nn.Module()
            holder.layer = nn.Sequential(*blocks)
            setattr(self, f"block{group + 1}", holder)
        self.bn1 = nn.BatchNorm2d(inputs, momentum=1e-3, eps=1e-3)
        self.fc = nn.Linear(inputs, classes)

    def forward(self, x):
        x = self.conv1(x)
        for block in (self.block1, self.block2, self.block3):
            x = block.layer(x)
        return self.fc(F.leaky_relu(self.bn1(x), 0.1).mean((2, 3)))


def resnet18(channels, classes):
    net = torchvision.models.resnet18(num_classes=classes)
    net.conv1 = nn.Conv2d(channels, 64, 3, 1, 1, bias=False)
    net.maxpool = nn.Identity()
    return net


@torch.no_grad()
def fill(net):
    for name, tensor in net.state_dict().items():
        if tensor.dtype != torch.float32:
            continue
        index = torch.arange(tensor.numel(), dtype=torch.float64)
        wave = (2 * (0.618034 * (index * index + len(name))).frac() - 1).view(tensor.shape)
        if name.endswith("running_var") or (name.endswith("weight") and tensor.dim() == 1):
            wave = 1 + 0.3 * wave
        elif tensor.dim() == 1:
            wave = 0.2 * wave
        else:
            wave = wave * (6 / tensor[0].numel()) ** 0.5
        tensor.copy_(wave)


torch.manual_seed(0)
tensors = {}
for prefix, net, shape, told in [
    ("wide", WideResNet(16, 2, 3, 7), (5, 3, 12, 12), ("bn1", "block1.layer.0.bn1")),
    ("narrow", WideResNet(10, 1, 1, 7), (5, 1, 9, 9), ("bn1", "block2.layer.0.bn1")),
    ("resnet18", resnet18(3, 7), (5, 3, 16, 16), ("layer4.1.bn2", "bn1")),
]:
    fill(net)
    x, classes = torch.rand(shape), torch.randint(7, (shape[0],))
    tensors |= {f"{prefix}.input": x, f"{prefix}.classes": classes}
    tensors[f"{prefix}.eval_logits"] = net.eval()(x).detach()
    logits = net.train()(x)
    tensors[f"{prefix}.train_logits"] = logits.detach()
    F.cross_entropy(logits, classes).backward()
    gradients = {name: value.grad for name, value in net.named_parameters()}
    for name in ("conv1.weight", f"{told[0]}.weight", f"{told[1]}.bias", "fc.bias"):
        tensors[f"{prefix}.gradient.{name}"] = gradients[name]
    buffers = dict(net.named_buffers())
    for name in told:
        for part in ("running_mean", "running_var"):
            tensors[f"{prefix}.after.{name}.{part}"] = buffers[f"{name}.{part}"].clone()
save_file(tensors, root / "resnets.safetensors")
