"""The client against a real job. `SLUICEBOX` names the command, `SLUICEBOX_JOB` a job with a source `http` of 8×8 digits."""

import os
import pathlib
import re
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))
from sluicebox import Client, JobError  # noqa: E402

PATIENCE = 120


class Job:
    """A job in a process of its own, at a port that stays the same when it is started again."""

    def __init__(self, folder, more=()):
        self.folder, self.more, self.port, self.process = folder, list(more), 0, None
        self.start()

    def start(self):
        command = [os.environ["SLUICEBOX"], "run", os.environ["SLUICEBOX_JOB"], "--state", str(self.folder / "state")]
        sets = [f"server.listen=127.0.0.1:{self.port}", "threads=1", "device=cpu", "epoch.steps=2", *self.more]
        for value in sets:
            command += ["--set", value]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        for line in self.process.stderr:
            found = re.search(r"listening at http://127\.0\.0\.1:(\d+)", line)
            if found:
                self.port = int(found.group(1))
                break
        assert self.port, "the job does not listen"
        threading.Thread(target=self.process.stderr.read, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def kill(self):
        self.process.kill()
        self.process.wait()

    def end(self):
        self.process.send_signal(signal.SIGINT)
        assert self.process.wait(PATIENCE) == 0


@pytest.fixture
def job(tmp_path):
    job = Job(tmp_path)
    yield job
    job.kill()


def digits(count, seed=0):
    """Returns images `[N, 1, 8, 8]` u8 whose bright row is their class, and the classes `[N]`."""
    draw = np.random.default_rng(seed)
    classes = draw.integers(0, 8, count)
    images = draw.integers(0, 4, (count, 1, 8, 8)).astype(np.uint8)
    images[np.arange(count), 0, classes] = 16
    return images, classes


def wait(what):
    until = time.monotonic() + PATIENCE
    while not (found := what()):
        assert time.monotonic() < until
        time.sleep(0.05)
    return found


def test_feeds_labels_predicts_and_reports(job):
    client = Client(job.url)
    assert client.form()["shape"] == [1, 8, 8]
    images, classes = digits(1500)
    labels = [int(of) if at < 200 else None for at, of in enumerate(classes)]
    fed = client.feed(images, ids=range(1500), labels=labels)
    assert (fed.accepted, fed.repeated, fed.labels) == (1500, 0, 200)
    assert client.feed(images[:100, 0], ids=range(100)).repeated == 100, "an image of one channel needs no axis for it"
    assert client.label({300: int(classes[300]), 301: str(classes[301]), 302: None}) == 3
    found = client.predict(images[:20], probabilities=True)
    assert found.indices.shape == (20,) and found.probabilities.shape == (20, 10)
    assert np.allclose(found.probabilities.sum(1), 1, atol=1e-3) and found.classes[0] in client.form()["classes"]
    assert client.predict(images[:3]).probabilities is None
    report = wait(client.report)
    assert report["samples"] > 0
    history = wait(lambda: (rows := client.history())["first_epoch"] and rows)
    assert len(history["samples_per_s"]) == len(history["first_epoch"]) > 0
    assert set(client.history(meters=["samples"])) == {"first_epoch", "last_epoch", "ended_ms", "samples"}


def test_takes_iterators_lists_and_pairs(job):
    client = Client(job.url)
    images, classes = digits(300)
    batches = ((images[at : at + 64], classes[at : at + 64]) for at in range(0, 300, 64))
    fed = client.feed(batches, ids=(f"sample, {at}" for at in range(1000)))
    assert (fed.accepted, fed.labels) == (300, 300)
    assert client.feed(images, ids=[f"sample, {at}" for at in range(300)]).repeated == 300
    assert client.feed((image[None] for image in images[:5])).accepted == 5
    assert client.feed(images[0].ravel().reshape(1, 1, 8, 8).tolist()).accepted == 1


def test_takes_tensors_and_what_a_dataloader_yields(job):
    torch = pytest.importorskip("torch")
    client = Client(job.url)
    images, classes = digits(300)
    data = torch.utils.data.TensorDataset(torch.from_numpy(images), torch.from_numpy(classes))
    loader = torch.utils.data.DataLoader(data, batch_size=50)
    assert client.feed(loader, ids=torch.arange(300)).labels == 300
    assert client.feed(torch.from_numpy(images), ids=torch.arange(300)).repeated == 300
    assert client.predict(torch.from_numpy(images[:4])).indices.shape == (4,)


def test_is_taken_once_although_the_job_is_killed_meanwhile(job):
    client = Client(job.url, patience=PATIENCE)
    images, _ = digits(6000)
    fed = []
    feeding = threading.Thread(target=lambda: fed.append(client.feed(images, ids=range(6000), batch=100)))
    feeding.start()
    for _ in range(3):
        time.sleep(0.3)
        job.kill()
        job.start()
    feeding.join(PATIENCE)
    assert fed and fed[0].accepted + fed[0].repeated == 6000
    again = client.feed(images, ids=range(6000))
    assert (again.accepted, again.repeated) == (0, 6000), "something was lost, or would be doubled"


def test_waits_while_the_log_is_full(tmp_path):
    job = Job(tmp_path, ["log.max_bytes=262144", "log.segment_bytes=16384"])
    try:
        client = Client(job.url, patience=PATIENCE)
        client._request("/control/pause", b"", {})
        images, _ = digits(8000)
        fed = []
        feeding = threading.Thread(target=lambda: fed.append(client.feed(images, ids=range(8000))))
        feeding.start()
        time.sleep(3)
        assert feeding.is_alive() and not fed, "a paused job has taken more than its log holds"
        client._request("/control/resume", b"", {})
        feeding.join(PATIENCE)
        assert fed and fed[0].accepted + fed[0].repeated == 8000
    finally:
        job.kill()


def test_the_code_of_the_readme_runs_as_written(job, capsys):
    readme = (pathlib.Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    begin = "from sluicebox import Client"
    code = begin + readme.split(f"```python\n{begin}")[1].split("```")[0]
    exec(code.replace("http://127.0.0.1:7878", job.url), {})
    said = capsys.readouterr().out
    assert "accepted=300" in said and said.rstrip().endswith("]"), said


def test_what_is_wrong_is_said_and_not_tried_again(job):
    client = Client(job.url)
    images, _ = digits(10)
    client.feed(images, ids=range(10))
    with pytest.raises(JobError, match="409|id") as conflict:
        client.feed(16 - images, ids=range(10))
    assert conflict.value.status == 409
    with pytest.raises(JobError, match="unknown class"):
        client.label({1: "elephant"})
    for wrong, says in [
        (lambda: client.feed(images[:, :, :4]), r"the job's are \[N, 1, 8, 8\]"),
        (lambda: client.feed(images / 7), "whole numbers from 0 to 255"),
        (lambda: client.feed(images, ids=range(9)), "fewer ids"),
        (lambda: client.feed(images, ids=range(11)), "more ids"),
        (lambda: client.feed(images, labels=[1]), "fewer labels"),
        (lambda: client.feed([(images, [1, 2])]), "2 labels for 10 samples"),
    ]:
        with pytest.raises(ValueError, match=says):
            wrong()
    with pytest.raises(JobError, match="127.0.0.1:1"):
        Client("127.0.0.1:1", patience=0.2).report()
