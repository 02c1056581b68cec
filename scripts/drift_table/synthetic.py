"""Streams from river's generators that no setting was chosen on: seven kinds of concepts, 12,000 rows each."""

import csv

from river.datasets import synth


def _rows(*parts):
    """Returns the rows of generators one after the other; each gives as many rows."""
    for generator, count in parts:
        for features, label in generator.take(count):
            yield [*map(float, features.values()), f"c{int(label)}"]


def _led(seed, drifting):
    return synth.LEDDrift(seed=seed, noise_percentage=0.1, irrelevant_features=True, n_drift_features=drifting)


def _tree(seed):
    return synth.RandomTree(
        seed_tree=seed, seed_sample=8, n_classes=4, n_num_features=8, n_cat_features=3, n_categories_per_feature=3
    )


def _streams():
    agrawal = [(synth.Agrawal(classification_function=at, seed=at + 1, perturbation=0.05), 4000) for at in (0, 2, 6)]
    sea = [(synth.SEA(variant=at, seed=at + 1, noise=0.1), 3000) for at in range(4)]
    sine = [
        (synth.Sine(classification_function=at, seed=9, balance_classes=True, has_noise=True), 3000)
        for at in (0, 2, 1, 3)
    ]
    rbf = synth.RandomRBFDrift(
        seed_model=42, seed_sample=7, n_classes=5, n_features=20, n_centroids=30, change_speed=0.0005,
        n_drift_centroids=20,
    )
    hyperplane = synth.Hyperplane(seed=5, n_features=10, n_drift_features=5, mag_change=0.002)
    return {
        "agrawal": agrawal,  # rules on single features, which change twice
        "hyperplane": [(hyperplane, 12000)],  # a linear border that turns slowly
        "led": [(_led(3, 0), 4000), (_led(4, 4), 4000), (_led(5, 7), 4000)],  # digits with noise, segments swapped
        "rbf": [(rbf, 12000)],  # moving clusters
        "sea": sea,  # a threshold on a sum, which changes three times
        "sine": sine,  # curved borders, two of them the reverse of the one before
        "tree": [(_tree(8), 6000), (_tree(18), 6000)],  # a random tree, then another one
    }


def write(folder):
    """Writes each stream to a CSV file in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, parts in _streams().items():
        with open(folder / f"{name}.csv", "w", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(_rows(*parts))
