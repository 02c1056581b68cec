"""The networks of crates/sluicebox-learn/src/model as PyTorch modules: same layers, same names."""

from torch import nn
from torch.nn.functional import leaky_relu


def block(inputs, outputs):
    return [nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]


def norm(channels):
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=1e-3)


class ConvNet(nn.Module):
    """`convnet` as it is by default: for up to 16 pixels, else for 28."""

    def __init__(self, side, channels=1, classes=10):
        super().__init__()
        pool = nn.MaxPool2d(2)
        if side <= 16:
            self.features = nn.Sequential(*block(channels, 32), *block(32, 32), pool, *block(32, 64))
            self.average, features = False, 64 * (side // 2) ** 2
        else:
            self.features = nn.Sequential(*block(channels, 32), pool, *block(32, 64), pool, *block(64, 128))
            self.average, features = True, 128
        self.classifier = nn.Linear(features, classes)

    def forward(self, x):
        x = self.features(x)
        return self.classifier(x.mean((2, 3)) if self.average else x.flatten(1))


class Mlp(nn.Module):
    """`mlp` with hidden = [128, 128]."""

    def __init__(self, features, classes):
        super().__init__()
        relu = nn.ReLU()
        self.layers = nn.Sequential(
            nn.Linear(features, 128), relu, nn.Linear(128, 128), relu, nn.Linear(128, classes)
        )

    def forward(self, x):
        return self.layers(x.flatten(1))


class Block(nn.Module):
    """A residual block. The very first one of a network activates before the shortcut splits off."""

    def __init__(self, inputs, outputs, stride, first):
        super().__init__()
        self.bn1, self.bn2 = norm(inputs), norm(outputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        if inputs != outputs:
            self.convShortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
        self.widens, self.first = inputs != outputs, first

    def forward(self, x):
        active = leaky_relu(self.bn1(x), 0.1)
        inside = self.conv2(leaky_relu(self.bn2(self.conv1(active)), 0.1))
        x = active if self.first else x
        return inside + (self.convShortcut(x) if self.widens else x)


class Group(nn.Module):
    def __init__(self, inputs, outputs, stride, blocks, first):
        super().__init__()
        later = [Block(outputs, outputs, 1, False) for _ in range(blocks - 1)]
        self.layer = nn.Sequential(Block(inputs, outputs, stride, first), *later)

    def forward(self, x):
        return self.layer(x)


class WideResNet(nn.Module):
    """`wide-resnet` with depth 28 and width 2."""

    def __init__(self, channels=3, classes=10, blocks=4, width=2):
        super().__init__()
        sizes = [16, 16 * width, 32 * width, 64 * width]
        self.conv1 = nn.Conv2d(channels, 16, 3, 1, 1, bias=False)
        self.block1 = Group(sizes[0], sizes[1], 1, blocks, True)
        self.block2 = Group(sizes[1], sizes[2], 2, blocks, False)
        self.block3 = Group(sizes[2], sizes[3], 2, blocks, False)
        self.bn1 = norm(sizes[3])
        self.fc = nn.Linear(sizes[3], classes)

    def forward(self, x):
        x = self.block3(self.block2(self.block1(self.conv1(x))))
        return self.fc(leaky_relu(self.bn1(x), 0.1).mean((2, 3)))
