"""The networks of crates/sluicebox-learn/src/model as PyTorch modules: same layers, same names."""

from torch import nn


def block(inputs, outputs):
    return [nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]


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
