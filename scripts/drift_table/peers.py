"""Other learners under the protocol: each row is predicted before its label can be known, and a late label
is learned once `delay` further rows have come. They see the rows as the product does: standardised."""

import json

import numpy as np
from river.forest import ARFClassifier
from river.linear_model import SoftmaxRegression
from sklearn.ensemble import RandomForestClassifier
from sklearn.neighbors import KNeighborsClassifier

import labels


def _row(values):
    return dict(enumerate(values.tolist()))


class Online:
    """A learner of river, which learns label by label."""

    def __init__(self, model):
        self.model = model

    def learn(self, rows, classes):
        for values, label in zip(rows, classes):
            self.model.learn_one(_row(values), int(label))

    def predict(self, rows):
        return np.array([self.model.predict_one(_row(values)) for values in rows])


class Refitted:
    """A learner of scikit-learn, fitted again to the newest `window` labels (None: all). One fit serves
    until the labels that came since are more than a hundredth of those it knows."""

    def __init__(self, model, window):
        self.model, self.window = model, window
        self.rows, self.classes = [], []
        self.since = 0
        self.fitted = False

    def learn(self, rows, classes):
        self.rows += list(rows)
        self.classes += list(classes)
        self.since += len(rows)
        if self.window:
            self.rows, self.classes = self.rows[-self.window :], self.classes[-self.window :]

    def predict(self, rows):
        if not self.fitted or self.since > len(self.rows) / 100:
            self.model.fit(np.array(self.rows), np.array(self.classes))
            self.fitted, self.since = True, 0
        return self.model.predict(rows)


class Neighbours(Refitted):
    """The majority of the 5 nearest of the newest `window` labels."""

    def __init__(self, window):
        super().__init__(KNeighborsClassifier(5, algorithm="brute"), window)

    def predict(self, rows):
        self.fitted = False
        return super().predict(rows)


def _forest(seed):
    return RandomForestClassifier(100, random_state=seed)


PEERS = {
    "ARF (river), 10 trees": lambda seed: Online(ARFClassifier(n_models=10, seed=seed)),
    "random forest, all labels": lambda seed: Refitted(_forest(seed), None),
    "random forest, newest 500": lambda seed: Refitted(_forest(seed), 500),
    "5 nearest neighbours, all labels": lambda seed: Neighbours(None),
    "5 nearest neighbours, newest 500": lambda seed: Neighbours(500),
    "5 nearest neighbours, newest 100": lambda seed: Neighbours(100),
    "softmax regression (river), online": lambda seed: Online(SoftmaxRegression()),
}


def accuracy(learner, rows, classes, stream, seed):
    """Returns the part of the rows after the first ones that the learner predicts correctly."""
    first = stream.labelled_first
    learner.learn(rows[:first], classes[:first])
    rows, classes = rows[first:], classes[first:]
    labelled = labels.late(seed, stream.rate, len(rows))
    # The label of the row at place p is there for the row at place p + 1 + delay.
    due = labelled + 1 + stream.delay
    cuts = [0, *due[due < len(rows)], len(rows)]
    right = 0
    for at, (begin, end) in enumerate(zip(cuts, cuts[1:])):
        if at > 0:
            new = labelled[at - 1 : at]
            learner.learn(rows[new], classes[new])
        right += int((learner.predict(rows[begin:end]) == classes[begin:end]).sum())
    return right / len(rows)


def results(stream, seeds, folder, tell):
    """Returns the accuracy of every peer on every seed; what `folder` has already is not run again."""
    rows, classes = stream.read()
    protocol = [stream.labelled_first, stream.rate, stream.delay, stream.transform, len(rows)]
    found = {}
    for name, make in PEERS.items():
        for seed in seeds:
            path = folder / f"{stream.name}-{name.replace(' ', '-')}-{seed}.json"
            kept = json.loads(path.read_text()) if path.exists() else {}
            if kept.get("protocol") != protocol:
                kept = {"protocol": protocol, "accuracy": accuracy(make(seed), rows, classes, stream, seed)}
                folder.mkdir(parents=True, exist_ok=True)
                path.write_text(json.dumps(kept))
            tell(f"{stream.name}, {name}, seed {seed}: {100 * kept['accuracy']:.1f} %")
            found.setdefault(name, {})[seed] = kept["accuracy"]
    return found
