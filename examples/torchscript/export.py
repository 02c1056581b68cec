"""Writes digits-cnn.pt: a network of your own for `model.kind = "torchscript"`.

    python examples/torchscript/export.py            (needs torch)

A module takes images [N, channels, height, width] (or vectors [N, features]) of f32 in 0 to 1 and
gives logits [N, classes], or logits and features [N, F] as here. It may hold batch norm and dropout:
it is put in training mode for the student and in evaluation mode for the teacher.
"""

import pathlib

import torch
from torch import nn


class DigitsCnn(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 24, 3, padding=1, bias=False),
            nn.BatchNorm2d(24),
            nn.ReLU(),
            nn.Conv2d(24, 32, 3, padding=1, bias=False),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(32, 32, 3, padding=1, bias=False),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.Flatten(),
        )
        self.dropout = nn.Dropout(0.1)
        self.classifier = nn.Linear(512, 10)

    def forward(self, images):
        features = self.body(images)
        return self.classifier(self.dropout(features)), features


if __name__ == "__main__":
    torch.manual_seed(0)
    to = pathlib.Path(__file__).with_name("digits-cnn.pt")
    torch.jit.save(torch.jit.script(DigitsCnn()), to)
    print(to)
