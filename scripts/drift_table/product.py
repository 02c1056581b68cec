"""The product's own rows, by `sluicebox compare`, and a check that it labels the same rows as the peers."""

import hashlib
import json
import subprocess

import numpy as np

import labels

PLAIN = ["memory.replay=uniform", "answer.prior=none", "answer.blend=false"]
# Name of a row, and the settings and the method that make it.
ROWS = {
    "supervised, plain: all late labels alike, network only": ("plain", "supervised"),
    "supervised, as shipped": ("shipped", "supervised"),
    "fixmatch, as shipped": ("shipped", "fixmatch"),
}


class Product:
    """The program, and where its runs are kept: apart for each build, so that a new build runs anew."""

    def __init__(self, program, out, tell):
        self.program, self.tell = program, tell
        self.folder = out / f"product-{hashlib.sha256(program.read_bytes()).hexdigest()[:12]}"

    def _settings(self, stream):
        job = "pipelines/drifting.toml"
        settings = [
            f"source.path={stream.path}",
            f"source.labelled_first={stream.labelled_first}",
            f"source.transform={stream.transform}",
            f"labels.rate={stream.rate}",
            f"labels.delay={stream.delay}",
            f"stop.samples={stream.streamed()}",
            "threads=1",
            "device=cpu",
        ]
        return job, [word for setting in settings for word in ("--set", setting)]

    def _call(self, *arguments):
        done = subprocess.run([self.program, *map(str, arguments)], capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"`sluicebox {arguments[0]}` failed:\n{done.stdout}{done.stderr}")

    def results(self, stream, seeds):
        """Returns, for each row and measure, the accuracy of every seed."""
        job, settings = self._settings(stream)
        found = {}
        for variant, methods in [("plain", "supervised"), ("shipped", "supervised,fixmatch")]:
            into = self.folder / stream.name / variant
            into.parent.mkdir(parents=True, exist_ok=True)
            plain = [word for setting in PLAIN for word in ("--set", setting)] if variant == "plain" else []
            self._call(
                "compare", job, *settings, *plain, "--vary", f"method.kind={methods}", "--equal", "samples",
                "--measure", "prequential_accuracy", "--seeds", len(seeds), "--out", into,
            )
            for run in json.loads((into / "compare.json").read_text())["runs"]:
                name = next(row for row, made in ROWS.items() if (variant, made[1]) == (made[0], run["variant"]))
                outcome = run["outcome"]
                self.tell(f"{stream.name}, {name}, seed {run['seed']}: {100 * outcome['prequential_accuracy']:.1f} %")
                found.setdefault(name, {})[run["seed"]] = outcome["prequential_accuracy"]
        return found

    def check_labels(self, stream, seed):
        """Compares how many labels have come after every 100 rows with what the peers learn."""
        reports = self.folder / stream.name / f"labels-{seed}.jsonl"
        reports.parent.mkdir(parents=True, exist_ok=True)
        reports.unlink(missing_ok=True)
        job, settings = self._settings(stream)
        small = ["model.hidden=[4]", "batch.labelled=1", "epoch.steps=10", "method.kind=supervised", f"seed={seed}"]
        small.append(f'sink=[{{kind="jsonl",path="{reports}"}}]')
        self._call("run", job, *settings, *(word for setting in small for word in ("--set", setting)))
        reported = [json.loads(line) for line in reports.read_text().splitlines()]
        due = labels.late(seed, stream.rate, stream.streamed()) + 1 + stream.delay
        for report in reported:
            # A label takes effect with the first step that begins when it is due.
            before = (report["samples"] - 1) // 10 * 10
            expected = int(np.searchsorted(due, before, side="right"))
            if report["late_labels"] != expected:
                raise SystemExit(
                    f"{stream.name}, seed {seed}: after {before} rows the product has had {report['late_labels']} "
                    f"late labels, but the peers {expected}"
                )
