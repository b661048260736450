"""The hospital's only reader of entropy: the operating system's generator, and what it keys.

Nothing here takes a seed, keeps a generator between two calls or writes one down, so that forks and restarts never repeat.
Opacus' `secure_mode` is not used: it needs an unmaintained package and would not cure the leak of floating-point noise; every
release of this project is an integer.
"""

import os
from functools import cache
from typing import Protocol

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CTR
from numpy.typing import NDArray

# Not opendp.prelude, which imports scikit-learn: a second a process.
from opendp import domains, measurements, metrics
from opendp.mod import Measurement, enable_features

from hospital_node.forks import fork_mark
from privacy.noise.discrete_gaussian import discrete_gaussian
from privacy.noise.mechanisms import Sampler

_WORD = 1 << 64
_KEY_BYTES, _COUNTER_BYTES = 32, 16
# OpenDP takes a hundred times as long a draw; from here on that is felt, and a release of a fit has fewer coordinates.
MANY_DRAWS = 256
# Of the words of several Poisson samples: 256 KiB.
_WORDS_AT_ONCE = 1 << 15
# The operating system gives some 200 MB/s, the cipher thousands.
MANY_BYTES = 1024


class Entropy(Protocol):
    """Unpredictable bytes."""

    def random_bytes(self, count: int) -> bytes:
        """`count` uniform bytes."""
        ...


class OsEntropy:
    """The operating system's generator, read anew at each call, so that forks and restarts never repeat."""

    def random_bytes(self, count: int) -> bytes:
        """`count` uniform bytes; many are expanded from a key that the operating system draws for this call."""
        if count < MANY_BYTES:
            return os.urandom(count)
        return _keystream(os.urandom(_KEY_BYTES)).update(bytes(count))


def _keystream(key: bytes) -> CipherContext:
    """AES-256 in counter mode; a key is used once, so that the counter may begin anywhere."""
    return Cipher(AES256(key), CTR(bytes(_COUNTER_BYTES))).encryptor()


class FreshWords:
    """Uniform 64-bit words: AES-256 in counter mode under a key that is drawn for this object and dies with it.

    Made for one call of a sampler and never kept: an object that outlived a fork would give both processes the same words.
    """

    def __init__(self, entropy: Entropy) -> None:
        """Draw the key."""
        self._cipher = _keystream(entropy.random_bytes(_KEY_BYTES))

    def __call__(self, count: int) -> NDArray[np.uint64]:
        """The next `count` words."""
        words = np.zeros(count, dtype=np.uint64)
        if count:
            # The keystream over zeros, in place.
            place = memoryview(words.data).cast("B")
            self._cipher.update_into(place, place)
        return words


class DiscreteGaussian:
    """Exact discrete Gaussian noise keyed by the operating system at every call.

    Few numbers come from OpenDP's sampler, the field's vetted one (Canonne, Kamath & Steinke 2020); many from the vectorized one of
    `privacy.noise.discrete_gaussian`, a hundred times as fast.
    """

    def draw(self, count: int, scale: int) -> NDArray[np.int64]:
        """`count` independent draws from N_Z(0, scale^2).

        Args:
            count: >= 0.
            scale: standard deviation, an integer in [1, 2^53] (exact as a double).

        Raises:
            ValueError: the scale is not such an integer.
        """
        if not 1 <= scale <= 1 << 53:
            raise ValueError("the scale must be in [1, 2^53]; change noise or units")
        if count == 0:
            return np.zeros(0, dtype=np.int64)
        if count >= MANY_DRAWS and scale > 1:
            return discrete_gaussian(count, scale, FreshWords(OsEntropy()))
        return np.array(_measurement(scale)([0] * count), dtype=np.int64)


class DrawnAhead:
    """Noise of several releases drawn in one call, which costs less than one call each; every number is handed out once.

    A fork loses what is left: both processes would add the same noise, and the difference of their releases would be exact.
    """

    def __init__(self, sampler: Sampler, count: int) -> None:
        """Nothing is drawn yet.

        Args:
            sampler: where noise comes from.
            count: how much is drawn at a time.
        """
        self._sampler = sampler
        self._count = count
        self._left = np.zeros(0, dtype=np.int64)
        self._scale = 0
        self._process = fork_mark()

    def draw(self, count: int, scale: int) -> NDArray[np.int64]:
        """As the sampler's own."""
        if self._process != fork_mark() or scale != self._scale or count > len(self._left):
            # What is left is thrown away, never mixed with noise of another process or scale.
            self._process, self._scale = fork_mark(), scale
            drawn = self._sampler.draw(max(count, self._count), scale)
            self._left = np.array(drawn, dtype=np.int64)
        taken, self._left = self._left[:count], self._left[count:]
        return taken


def poisson_sample(n_patients: int, rate: float, entropy: Entropy) -> NDArray[np.bool_]:
    """Independent inclusion of each patient with probability `rate`: one sample of `SampledAhead`, bool, shape (n_patients,)."""
    sample = np.zeros(n_patients, dtype=np.bool_)
    sample[SampledAhead(entropy, n_patients, rate, 1).next()] = True
    return sample


class SampledAhead:
    """Poisson samples of several steps, drawn in few calls, which costs less than one call each; every one is handed out once.

    Independent inclusion of each patient with probability `rate`, exact: a patient is in when a uniform 64-bit integer is below
    floor(rate 2^64). Every double of at least 2^-11 is a multiple of 2^-64; a smaller rate is rounded down by less than 2^-64,
    which includes nobody more often. A fork loses what is left: both processes would draw the same patients.
    """

    def __init__(self, entropy: Entropy, n_patients: int, rate: float, count: int) -> None:
        """Nothing is drawn yet.

        Args:
            entropy: 8 bytes a patient and sample are read; none at rate 1.
            n_patients: >= 0.
            rate: in (0, 1].
            count: how many samples will be wanted.

        Raises:
            ValueError: the rate is out of range.
        """
        if not 0 < rate <= 1:
            raise ValueError("the sampling rate must be in (0, 1]")
        # Exact: a power of two only moves the exponent.
        self._threshold = int(rate * float(_WORD))
        self._entropy = entropy
        self._patients = n_patients
        # A public number: so many at a time stay in a core's cache.
        self._at_once = max(1, min(count, _WORDS_AT_ONCE // max(1, n_patients)))
        self._left: list[NDArray[np.intp]] = []
        self._process = fork_mark()

    def next(self) -> NDArray[np.intp]:
        """Places of the patients in the next sample, ascending."""
        if self._threshold == _WORD:
            return np.arange(self._patients)
        if not self._left or self._process != fork_mark():
            self._process = fork_mark()
            self._left = self._drawn()
        return self._left.pop()

    def _drawn(self) -> list[NDArray[np.intp]]:
        words = np.frombuffer(self._entropy.random_bytes(8 * self._at_once * self._patients), dtype=np.uint64)
        chosen = (words < np.uint64(self._threshold)).reshape(self._at_once, self._patients)
        return [sample.nonzero()[0] for sample in chosen]


def uniform_below(bound: int, entropy: Entropy) -> int:
    """A uniform integer in [0, bound), exact: bytes beyond the bound are thrown away and read again.

    Args:
        bound: >= 1, of any size.
    """
    bits = (bound - 1).bit_length()
    count = max(1, (bits + 7) // 8)
    while True:
        drawn = int.from_bytes(entropy.random_bytes(count), "big") >> (8 * count - bits)
        if drawn < bound:
            return drawn


@cache
def _measurement(scale: int) -> Measurement:
    """OpenDP's Gaussian on integer vectors; the noise stream belongs to the call, not to this object."""
    # The library's opt-in, asked for by every constructor used here.
    enable_features("contrib")
    integers = domains.vector_domain(domains.atom_domain(T="i64"))
    return measurements.make_gaussian(integers, metrics.l2_distance(T="f64"), float(scale))
