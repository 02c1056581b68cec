"""Networks that Sluicebox has trained, in PyTorch.

    from sluicebox.exported import load
    network, about = load("model.safetensors")           # as `sluicebox export` wrote it
    logits = network(samples.float() * about.scale)      # [N, classes]

    from sluicebox.answer import Answer
    answer = Answer.load("model.safetensors")            # as `sluicebox export --answer` wrote it
    probabilities = answer(samples)                      # [N, classes]: what the job answers

`sluicebox.networks` has the networks themselves and needs torch only; the others need safetensors too.
"""
