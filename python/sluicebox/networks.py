"""The networks of crates/sluicebox-learn/src/model as PyTorch modules: same layers, same names, same options.

Each takes the shape of a sample (`[channels, height, width]` or `[features]`), the number of classes, and the options
of `[model]` in a job. `build` makes the one that a `[model]` names.
"""

import math

import torch
from torch import nn
from torch.nn.functional import leaky_relu, relu


def build(model, shape, classes):
    """Returns the network of a job's `[model]`: a dict with `kind` and options."""
    options = {name: value for name, value in model.items() if name not in ("kind", *TRAINING, "normalise")}
    if model["kind"] not in KINDS:
        raise ValueError(f"model `{model['kind']}` is none of {', '.join(KINDS)}: load its weights into your own module")
    network = KINDS[model["kind"]](shape, classes, **options)
    if "normalise" in model:
        # A part of the network, under its own name, so that all other weights keep theirs.
        network.normalise = Normalise(shape, **model["normalise"])
        network.register_forward_pre_hook(normalised)
    return network


def normalised(network, inputs):
    """Returns a network's input as its layers take it."""
    return network.normalise(inputs[0])


class Normalise(nn.Module):
    """Subtracts the mean of each channel and divides by its deviation."""

    def __init__(self, shape, mean, deviation):
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean))
        self.register_buffer("deviation", torch.tensor(deviation))
        self.broadcast = [-1] + [1] * (len(shape) - 1)

    def forward(self, x):
        return (x - self.mean.view(self.broadcast)) / self.deviation.view(self.broadcast)


class ConvNet(nn.Module):
    """3×3 convolutions with batch norm. `layers`: channels of each, or 0 for a 2×2 max pool."""

    def __init__(self, shape, classes, layers=(), head="auto"):
        super().__init__()
        inputs, height, width = shape
        small = max(height, width) <= 16
        parts = []
        for size in layers or ([32, 32, 0, 64] if small else [32, 0, 64, 0, 128]):
            if size == 0:
                parts.append(nn.MaxPool2d(2))
                height, width = height // 2, width // 2
            else:
                convolution = nn.Conv2d(inputs, size, 3, padding=1, bias=False)
                parts += [convolution, nn.BatchNorm2d(size), nn.ReLU()]
                inputs = size
        self.features = nn.Sequential(*parts)
        self.average = head == "average" or (head == "auto" and not small)
        self.classifier = nn.Linear(inputs if self.average else inputs * height * width, classes)

    def forward(self, x):
        x = self.features(x)
        return self.classifier(x.mean((2, 3)) if self.average else x.flatten(1))


class Mlp(nn.Module):
    """Linear layers with ReLU between them. `hidden`: widths of the hidden layers."""

    def __init__(self, shape, classes, hidden=(128, 128)):
        super().__init__()
        widths = [math.prod(shape), *hidden, classes]
        layers = []
        for inputs, outputs in zip(widths, widths[1:]):
            layers += [nn.Linear(inputs, outputs), nn.ReLU()]
        self.layers = nn.Sequential(*layers[:-1])

    def forward(self, x):
        return self.layers(x.flatten(1))


class BasicBlock(nn.Module):
    """A residual block of ResNet-18."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample = nn.Sequential()
        if inputs != outputs:
            shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(outputs))

    def forward(self, x):
        inside = self.bn2(self.conv2(relu(self.bn1(self.conv1(x)))))
        return relu(inside + self.downsample(x))


class ResNet18(nn.Module):
    """torchvision's resnet18 with a stem for small images. `width`: channels of the first group."""

    def __init__(self, shape, classes, width=64):
        super().__init__()
        self.conv1 = nn.Conv2d(shape[0], width, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        inputs = width
        for group in range(4):
            outputs, stride = width * 2**group, 2 if group > 0 else 1
            blocks = [BasicBlock(inputs, outputs, stride), BasicBlock(outputs, outputs, 1)]
            self.add_module(f"layer{group + 1}", nn.Sequential(*blocks))
            inputs = outputs
        self.fc = nn.Linear(inputs, classes)

    def forward(self, x):
        x = relu(self.bn1(self.conv1(x)))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(x.mean((2, 3)))


class PreActivationBlock(nn.Module):
    """A residual block of a wide residual network. The very first one activates before the shortcut splits off."""

    def __init__(self, inputs, outputs, stride, first, norm):
        super().__init__()
        self.bn1, self.bn2 = norm(inputs), norm(outputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.widens, self.first = inputs != outputs, first
        if self.widens:
            self.convShortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, x):
        active = leaky_relu(self.bn1(x), 0.1)
        inside = self.conv2(leaky_relu(self.bn2(self.conv1(active)), 0.1))
        x = active if self.first else x
        return inside + (self.convShortcut(x) if self.widens else x)


class Group(nn.Module):
    """Residual blocks of one width."""

    def __init__(self, blocks):
        super().__init__()
        self.layer = nn.Sequential(*blocks)

    def forward(self, x):
        return self.layer(x)


class WideResNet(nn.Module):
    """A wide residual network of `depth` 6n + 4; `width`: factor on the channels 16, 32 and 64."""

    def __init__(self, shape, classes, depth=28, width=2, momentum=1e-3, epsilon=1e-3):
        super().__init__()

        def norm(channels):
            return nn.BatchNorm2d(channels, eps=epsilon, momentum=momentum)

        self.conv1 = nn.Conv2d(shape[0], 16, 3, 1, 1, bias=False)
        inputs = 16
        for group in range(3):
            outputs = 16 * 2**group * width
            blocks = []
            for index in range((depth - 4) // 6):
                stride = 2 if group > 0 and index == 0 else 1
                blocks.append(PreActivationBlock(inputs, outputs, stride, group + index == 0, norm))
                inputs = outputs
            self.add_module(f"block{group + 1}", Group(blocks))
        self.bn1 = norm(inputs)
        self.fc = nn.Linear(inputs, classes)

    def forward(self, x):
        x = self.block3(self.block2(self.block1(self.conv1(x))))
        return self.fc(leaky_relu(self.bn1(x), 0.1).mean((2, 3)))


# Options of `[model]` that say how a network is trained, not what it computes.
TRAINING = ("init", "frozen", "rates")
KINDS = {"convnet": ConvNet, "mlp": Mlp, "resnet18": ResNet18, "wide-resnet": WideResNet}
