"""Reads what `sluicebox export` writes."""

import dataclasses
import json

from safetensors import safe_open

from sluicebox.networks import build


@dataclasses.dataclass
class About:
    """What a file says of its network.

    `shape` is that of a sample without the batch; a network takes samples multiplied by `scale`. The accuracies are
    those of the job's last evaluation, after `evaluated_step` steps: `accuracy` that of its answers,
    `network_accuracy` that of the network alone; None if it never evaluated.
    """

    classes: list
    shape: list
    dtype: str
    scale: float
    step: int
    model: dict
    accuracy: "float | None" = None
    network_accuracy: "float | None" = None
    evaluated_step: "int | None" = None


def about(metadata):
    """Returns the description in a file's metadata."""
    if not metadata or "model" not in metadata:
        raise ValueError("the file does not say what network it holds: export it again, by this version of Sluicebox")
    known = {field.name: metadata[field.name] for field in dataclasses.fields(About) if field.name in metadata}
    return About(**{name: text if name == "dtype" else json.loads(text) for name, text in known.items()})


def load(path):
    """Returns the network in a `.safetensors` file, in evaluation mode, and what the file says of it.

    What else is in the file, such as the heads with which a method trained, is left out.
    """
    with safe_open(str(path), "pt") as file:
        described = about(file.metadata())
        return network_in(file, described), described


def network_in(file, described):
    """Returns the network in an open file, in evaluation mode."""
    network = build(described.model, described.shape, len(described.classes))
    own = network.state_dict()
    network.load_state_dict({name: file.get_tensor(name) for name in file.keys() if name in own})
    return network.eval()


def described(values):
    """Returns the description that a TorchScript file holds as `sluicebox.json`."""
    known = [field.name for field in dataclasses.fields(About) if field.name in values]
    return About(**{name: values[name] for name in known})
