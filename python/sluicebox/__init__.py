"""Sluicebox from Python: a client of running jobs, and the networks that jobs have trained.

    import sluicebox

    job = sluicebox.Client("http://127.0.0.1:7878")      # feed, label, predict, report, history: needs NumPy
    network = sluicebox.load("model.safetensors")        # a torch.nn.Module, as `sluicebox export` wrote it

    from sluicebox.answer import Answer
    answer = Answer.load("model.safetensors")            # as `sluicebox export --answer` wrote it
    probabilities = answer(samples)                      # [N, classes]: what the job answers

`sluicebox.networks` has the networks themselves and needs torch only; `load` and `Answer` need safetensors too.
"""

__all__ = ["Client", "Fed", "JobError", "Predictions", "load"]


def __getattr__(name):
    """Imports what is asked for: the client needs no torch, the networks no job."""
    if name in ("Client", "Fed", "JobError", "Predictions"):
        from sluicebox import client

        return getattr(client, name)
    raise AttributeError(f"module 'sluicebox' has no attribute '{name}'")


def load(path):
    """Returns what `sluicebox export` wrote as a `torch.nn.Module` in evaluation mode, with what the file says of it as
    its attribute `about` (`sluicebox.exported.About`): classes, shape, scale, accuracies.

    It takes samples `[N, ...]` f32 multiplied by `about.scale`, and returns logits `[N, classes]`. A `.pt` file is
    loaded as TorchScript.
    """
    from sluicebox import exported

    if str(path).endswith(".pt"):
        import json

        import torch

        said = {"sluicebox.json": ""}
        network = torch.jit.load(str(path), _extra_files=said)
        network.about = exported.described(json.loads(said["sluicebox.json"])) if said["sluicebox.json"] else None
        return network.eval()
    network, about = exported.load(path)
    network.about = about
    return network
