"""Unlabelled samples/s of `pipelines/fashion.toml` beside the plain PyTorch loop of fashion.py, in turn on one machine.

    python benches/pytorch/beside.py FOLDER_OF_IDX_FILES [--rounds 3] [--binary target/release/sluicebox]

Either takes 16 labelled and 112 unlabelled images per step in f32, makes its views as it goes, and has all cores: PyTorch 2
threads and 2 loader workers, Sluicebox one worker of 2 threads, or 2 workers of one. Prints the medians of the rounds'
ratios as scale.py does. Needs PyTorch, torchvision and Pillow.
"""

import argparse
import json
import pathlib
import subprocess
import sys

sys.path.append(str(pathlib.Path(__file__).parents[1]))
from scale import compared, rate  # noqa: E402

STEPS = 300


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=12.0)
    parser.add_argument("--binary", default="target/release/sluicebox")
    options = parser.parse_args()
    job = ["pipelines/fashion.toml", f"source.path={options.folder}", "source.labelled_per_class=25", "epoch.steps=50"]
    loop = [sys.executable, str(pathlib.Path(__file__).with_name("fashion.py")), str(options.folder)]
    rounds, others = [], []
    for _ in range(options.rounds):
        found = {}
        for layout in "BC":
            found[layout], of_others = rate(options.binary, job, layout, options.seconds)
            others.append(of_others)
        said = subprocess.run(loop + ["--steps", str(STEPS)], check=True, stdout=subprocess.PIPE, text=True).stdout
        found["PyTorch"] = json.loads(said)["unlabelled_samples_per_s"]
        rounds.append(found)
    for layout, name in (("B", "1 worker of 2 threads"), ("C", "2 workers of 1 thread")):
        compared(f"{name} / PyTorch", [(one[layout], one["PyTorch"]) for one in rounds], others)


if __name__ == "__main__":
    main()
