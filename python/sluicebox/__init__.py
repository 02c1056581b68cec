"""Networks that Sluicebox has trained, in PyTorch.

    from sluicebox.exported import load
    network, about = load("model.safetensors")           # as `sluicebox export` wrote it
    logits = network(samples.float() * about.scale)      # [N, classes]

`sluicebox.networks` has the networks themselves and needs torch only; `sluicebox.exported` needs safetensors too.
"""
