"""Which rows get their label late: the same draw as the job's.

A job draws, for the row at place p after the first labelled ones, the first number of the generator ChaCha8
keyed by (seed, worker 0, p, stage 8), and labels the row where it is below `labels.rate`
(crates/sluicebox-stream/src/microbatch/late_labels.rs). `product.check_labels` compares the two."""

import numpy as np

LATE_LABEL = 8
CONSTANTS = [0x61707865, 0x3320646E, 0x79622D32, 0x6B206574]


def _rotated(words, bits):
    return (words << np.uint32(bits)) | (words >> np.uint32(32 - bits))


def _first_u64(key):
    """Returns the first 64 bits of ChaCha8 under each key of eight words."""
    zeros = np.zeros_like(key[0])
    start = [zeros + np.uint32(word) for word in CONSTANTS] + list(key) + [zeros] * 4
    state = [words.copy() for words in start]

    def quarter(a, b, c, d):
        for into, of, turned, bits in [(a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)]:
            state[into] = state[into] + state[of]
            state[turned] = _rotated(state[turned] ^ state[into], bits)

    for _ in range(4):
        for column in range(4):
            quarter(column, 4 + column, 8 + column, 12 + column)
        for column in range(4):
            quarter(column, 4 + (column + 1) % 4, 8 + (column + 2) % 4, 12 + (column + 3) % 4)
    low, high = ((state[at] + start[at]).astype(np.uint64) for at in (0, 1))
    return low | (high << np.uint64(32))


def late(seed, rate, count):
    """Returns the places, among `count` rows after the first ones, of those that get a late label."""
    places = np.arange(count, dtype=np.uint64)
    words = []
    for number in (np.full_like(places, seed), np.zeros_like(places), places, np.full_like(places, LATE_LABEL)):
        words += [(number & np.uint64(0xFFFFFFFF)).astype(np.uint32), (number >> np.uint64(32)).astype(np.uint32)]
    draws = (_first_u64(words) >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return np.flatnonzero(draws < rate)
