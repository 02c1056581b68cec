"""A client of a running job: feed it, label samples, ask for predictions and numbers.

    from sluicebox import Client

    job = Client("http://127.0.0.1:7878")
    job.feed(images, ids=range(len(images)))        # [N, C, H, W], or [N, F]
    job.label({7: "cat", 9: "dog"})
    print(job.predict(images[:8]).classes)

It needs NumPy and the standard library; torch tensors and DataLoaders are taken as they are.
"""

from __future__ import annotations

import dataclasses
import http.client
import io
import itertools
import json
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Optional, Union

import numpy as np

Id = Union[int, str]
Class = Union[int, str]

# Samples that one request holds, and bytes of their values; the job takes 64 MiB and 2^20 samples.
MOST_SAMPLES = 1000
MOST_BYTES = 8 << 20
# Bytes of ids in the header of a request.
MOST_ID_BYTES = 16 << 10
# Samples that one request for predictions may hold.
MOST_PREDICTED = 1024
# What the job answers while it cannot take something yet.
PASSING = (408, 429, 502, 503, 504)
# First and longest pause between attempts, in seconds.
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0


class JobError(Exception):
    """The job refused a request, or could not be reached for too long. `status` is the HTTP status, if there is one."""

    def __init__(self, message: str, status: Optional[int] = None):
        super().__init__(message)
        self.status = status


@dataclasses.dataclass
class Fed:
    """What came of `feed`: samples that the job took, and that it knew already (sent before, by their ids)."""

    accepted: int = 0
    repeated: int = 0
    labels: int = 0


@dataclasses.dataclass
class Predictions:
    """Answers for N samples: names of classes `[N]`, their numbers `[N]` int64 (-1 where the answer is not finite),
    confidences `[N]` f32, probabilities `[N, C]` f32 where they were asked for, and the step of the teacher."""

    classes: list
    indices: np.ndarray
    confidences: np.ndarray
    probabilities: Optional[np.ndarray]
    teacher_step: int


class Client:
    """A client of the job at `url`, such as `http://127.0.0.1:7878`.

    `token`: where the job asks for one. `ca`: file (PEM) with the certificates to trust. `patience`: seconds for which
    an unreachable, restarting or full job is tried again. `timeout`: seconds that one request may take.
    """

    def __init__(
        self,
        url: str,
        token: Optional[str] = None,
        *,
        ca: Optional[str] = None,
        patience: float = 300.0,
        timeout: float = 60.0,
    ):
        url = url if "://" in url else f"http://{url}"
        self.url = url.rstrip("/")
        self.token, self.patience, self.timeout = token, patience, timeout
        context = ssl.create_default_context(cafile=ca) if url.startswith("https") else None
        handlers = [urllib.request.HTTPSHandler(context=context)] if context else []
        # A token goes to this address only: no proxy, no redirect.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect, *handlers)
        self._form: Optional[dict] = None
        self._run, self._count = uuid.uuid4().hex, itertools.count()

    def form(self) -> dict:
        """What a sample of the job is: `shape`, `dtype` (`u8` or `f32`), `scale` and `classes`."""
        if self._form is None:
            self._form = self._get("/form.json")
        return self._form

    def feed(
        self,
        samples: Any,
        ids: Optional[Iterable[Id]] = None,
        labels: Optional[Iterable[Optional[Class]]] = None,
        *,
        batch: int = MOST_SAMPLES,
    ) -> Fed:
        """Sends samples, and returns once all of them are durable in the job's log.

        `samples`: an array or tensor `[N, ...]` of the job's shape (`[N, H, W]` for one channel), or an iterable of such
        batches, or of pairs `(batch, labels)` as a DataLoader yields them.
        `ids`: one for each sample, whole numbers or texts. A sample that is sent again under its id is taken once,
        whoever sends it and after whatever restart; another sample under a known id raises `JobError`. Without ids the
        client makes some: then what it sends again after a failure is taken once, but not what a second call sends.
        `labels`: the class of each sample, by name or number; None or -1 where it is not known.
        """
        if not 1 <= batch <= MOST_SAMPLES:
            raise ValueError(f"batch={batch} is not from 1 to {MOST_SAMPLES}")
        fed = Fed()
        next_ids = None if ids is None else iter(ids)
        next_labels = None if labels is None else iter(labels)
        for values, own in self._batches(samples):
            if own is not None and next_labels is not None:
                raise ValueError("the batches have labels of their own: leave out `labels`")
            for part, classes in _parts(values, own, batch):
                count = len(part)
                keys = [f"{self._run}-{next(self._count)}" for _ in range(count)] if next_ids is None \
                    else [_plain(key) for key in _taken(next_ids, count, "ids")]
                if classes is None and next_labels is not None:
                    classes = _taken(next_labels, count, "labels")
                self._send(part, keys, [None] * count if classes is None else _classes(classes), fed)
        for name, rest in (("ids", next_ids), ("labels", next_labels)):
            if rest is not None and isinstance(rest, Iterator) and _has_more(rest, ids if name == "ids" else labels):
                raise ValueError(f"there are more {name} than samples")
        return fed

    def label(self, labels: Mapping[Id, Optional[Class]]) -> int:
        """Labels samples by their ids, or corrects labels; None withdraws one. Returns how many were accepted."""
        said = [{"id": _plain(key), "class": None if of is None else str(_plain(of))} for key, of in labels.items()]
        accepted = 0
        for first in range(0, len(said), MOST_SAMPLES):
            accepted += self._post_json("/labels", said[first : first + MOST_SAMPLES])["accepted"]
        return accepted

    def predict(self, samples: Any, probabilities: bool = False) -> Predictions:
        """Asks the present teacher about an array or tensor `[N, ...]`. Waits until the job has learned something."""
        values = self._values(samples)
        rows, step = [], 0
        path = "/predict?probabilities=1" if probabilities else "/predict"
        for first in range(0, len(values), MOST_PREDICTED):
            part = values[first : first + MOST_PREDICTED]
            reply = self._request(path, _npy(part), {"Content-Type": "application/x-npy"})
            rows += reply["predictions"]
            step = reply["teacher_step"]
        number = lambda row, key, otherwise: otherwise if row[key] is None else row[key]  # noqa: E731
        count = len(self.form()["classes"])
        missing = [float("nan")] * count
        return Predictions(
            classes=[row["class"] for row in rows],
            indices=np.array([number(row, "index", -1) for row in rows], np.int64),
            confidences=np.array([number(row, "confidence", np.nan) for row in rows], np.float32),
            probabilities=np.array([row.get("probabilities") or missing for row in rows], np.float32).reshape(-1, count)
            if probabilities
            else None,
            teacher_step=step,
        )

    def report(self) -> Optional[dict]:
        """The newest epoch's report; None before the first. `report()["accuracy"]` is a number of the job."""
        return self._get("/report.json")

    def history(self, meters: Optional[Sequence[str]] = None, points: int = 500) -> dict:
        """The numbers of the epochs so far, a list for each: `pandas.DataFrame(client.history())`.

        `meters`: names such as `accuracy` (`sluicebox list meters`); by default all. At most `points` rows: where there
        are more epochs, a row is the mean of several, from `first_epoch` to `last_epoch`. What is not known is None.
        """
        query = {"points": str(points)}
        if meters is not None:
            query["meters"] = ",".join(meters)
        rows = self._get("/history.json?" + urllib.parse.urlencode(query))
        names = list(meters) if meters is not None else sorted({name for row in rows for name in row["mean"]})
        columns = {key: [row[key] for row in rows] for key in ("first_epoch", "last_epoch", "ended_ms")}
        columns.update({name: [row["mean"].get(name) for row in rows] for name in names})
        return columns

    def _batches(self, samples: Any) -> Iterator[tuple]:
        """Yields batches `[N, ...]` in the job's type, with their own labels or None."""
        if _is_array(samples) or _is_rows(samples):
            yield self._values(samples), None
            return
        for batch in samples:
            if isinstance(batch, (tuple, list)) and len(batch) == 2 and _is_array(batch[0]):
                yield self._values(batch[0]), _list(batch[1])
            else:
                yield self._values(batch), None

    def _values(self, samples: Any) -> np.ndarray:
        form = self.form()
        shape = tuple(form["shape"])
        values = _array(samples)
        if values.shape[1:] != shape and len(shape) == 3 and shape[0] == 1 and values.shape[1:] == shape[1:]:
            values = values[:, None]
        if values.shape[1:] != shape or values.ndim == 0:
            raise ValueError(f"samples are {list(values.shape)}, the job's are [N, {', '.join(map(str, shape))}]")
        if form["dtype"] != "u8":
            return np.ascontiguousarray(values, np.float32)
        if values.dtype != np.uint8:
            if not np.array_equal(values, np.clip(np.floor(values), 0, 255)):
                raise ValueError("the job's samples are u8: whole numbers from 0 to 255")
            values = values.astype(np.uint8)
        return np.ascontiguousarray(values)

    def _send(self, values: np.ndarray, ids: list, classes: list, fed: Fed) -> None:
        """Sends one batch: what has a label as lines of JSON, so that both are one record; the rest as an array."""
        texts = [str(key) for key in ids]
        as_lines = [at for at, of in enumerate(classes) if of is not None or "," in texts[at] or texts[at] != texts[at].strip()]
        plain = sorted(set(range(len(ids))) - set(as_lines))
        replies = []
        if as_lines:
            lines = []
            for at in as_lines:
                line = {"id": ids[at], "values": values[at].ravel().tolist()}
                if classes[at] is not None:
                    line["label"] = classes[at]
                lines.append(json.dumps(line))
            body = "\n".join(lines).encode()
            replies.append(self._request("/samples", body, {"Content-Type": "application/x-ndjson"}))
        for part in _by_length(plain, texts):
            headers = {"Content-Type": "application/x-npy", "X-Ids": ",".join(texts[at] for at in part)}
            replies.append(self._request("/samples", _npy(values[part]), headers))
        fed.accepted += sum(reply["accepted"] for reply in replies)
        fed.repeated += sum(reply["repeated"] for reply in replies)
        fed.labels += sum(of is not None for of in classes)

    def _get(self, path: str) -> Any:
        return self._request(path, None, {})

    def _post_json(self, path: str, body: Any) -> Any:
        return self._request(path, json.dumps(body).encode(), {"Content-Type": "application/json"})

    def _request(self, path: str, body: Optional[bytes], headers: dict) -> Any:
        """Sends a request until it is answered for good: what the job knows by its id it takes once."""
        if self.token is not None:
            headers = {**headers, "Authorization": f"Bearer {self.token}"}
        pause, until = FIRST_PAUSE, time.monotonic() + self.patience
        while True:
            wait = pause
            try:
                request = urllib.request.Request(self.url + path, data=body, headers=headers)
                with self._opener.open(request, timeout=self.timeout) as response:
                    return json.loads(response.read())
            except urllib.error.HTTPError as error:
                with error:
                    failure = JobError(f"{self.url}{path}: {_reason(error)}", error.code)
                    wait = max(pause, _seconds(error.headers.get("Retry-After")))
                if error.code not in PASSING:
                    raise failure from None
            except (OSError, ValueError) as error:  # no connection, a broken one, or half an answer
                if isinstance(error, ssl.SSLCertVerificationError):
                    raise
                failure = JobError(f"{self.url}{path}: {getattr(error, 'reason', error)}")
            except http.client.HTTPException as error:
                failure = JobError(f"{self.url}{path}: {error!r}")
            if time.monotonic() + wait > until:
                raise failure
            time.sleep(wait)
            pause = min(2 * pause, LONGEST_PAUSE)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None


def _reason(error: urllib.error.HTTPError) -> str:
    try:
        said = json.loads(error.read())
        return f"{said['error']} (line {said['line']})" if said.get("line") else str(said["error"])
    except (ValueError, KeyError, TypeError, AttributeError, OSError):
        return f"the server answers {error.code}"


def _seconds(text: Optional[str]) -> float:
    try:
        return min(max(float(text or 0), 0.0), LONGEST_PAUSE)
    except ValueError:
        return 0.0


def _is_array(value: Any) -> bool:
    return hasattr(value, "shape") and hasattr(value, "__len__")


def _is_rows(value: Any) -> bool:
    """Whether lists of numbers were given in place of an array."""
    return isinstance(value, (list, tuple)) and bool(value) and not any(_is_array(row) for row in value) \
        and not (isinstance(value[0], (list, tuple)) and bool(value[0]) and _is_array(value[0][0]))


def _array(value: Any) -> np.ndarray:
    if hasattr(value, "detach"):  # a tensor, wherever it is
        value = value.detach().cpu().numpy()
    return np.asarray(value)


def _list(value: Any) -> list:
    return _array(value).tolist()


def _plain(value: Any) -> Any:
    """Returns a number or text of Python's own: NumPy's and torch's have `item`."""
    return value.item() if hasattr(value, "item") else value


def _classes(classes: Iterable) -> list:
    """Returns a class as the job takes it; None where it is not known."""
    plain = [_plain(of) for of in classes]
    return [None if of is None or of == -1 or of != of or of == "" else of for of in plain]


def _parts(values: np.ndarray, labels: Optional[list], batch: int) -> Iterator[tuple]:
    if labels is not None and len(labels) != len(values):
        raise ValueError(f"{len(labels)} labels for {len(values)} samples")
    each = max(1, values[:1].nbytes)
    size = max(1, min(batch, MOST_BYTES // each))
    for first in range(0, len(values), size):
        yield values[first : first + size], None if labels is None else labels[first : first + size]


def _taken(source: Iterator, count: int, what: str) -> list:
    found = list(itertools.islice(source, count))
    if len(found) < count:
        raise ValueError(f"there are fewer {what} than samples")
    return found


def _has_more(rest: Iterator, given: Any) -> bool:
    """Whether values are left of something that ends; a generator may go on for ever."""
    return hasattr(given, "__len__") and next(rest, rest) is not rest


def _by_length(places: list, ids: list) -> Iterator[list]:
    """Splits places so that the ids of each part fit into a header."""
    part, length = [], 0
    for at in places:
        size = len(ids[at].encode()) + 1
        if part and length + size > MOST_ID_BYTES:
            yield part
            part, length = [], 0
        part.append(at)
        length += size
    if part:
        yield part


def _npy(values: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, values, allow_pickle=False)
    return file.getvalue()
