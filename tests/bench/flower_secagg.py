"""Flower's SecAgg+ at the same work: its own client step, and its workflow's unmasking, function by function."""

from __future__ import annotations

import os
from dataclasses import dataclass
from time import process_time
from typing import Any

import numpy as np
from flwr.client.mod.secure_aggregation.secaggplus_mod import (
    SecAggPlusState,
    _collect_masked_vectors,
    _setup,
    _share_keys,
)
from flwr.common import ndarrays_to_parameters
from flwr.common.secure_aggregation.crypto.shamir import combine_shares, create_shares
from flwr.common.secure_aggregation.crypto.symmetric_encryption import encrypt, generate_shared_key
from flwr.common.secure_aggregation.ndarrays_arithmetic import (
    factor_extract,
    parameters_addition,
    parameters_mod,
    parameters_subtraction,
)
from flwr.common.secure_aggregation.quantization import dequantize
from flwr.common.secure_aggregation.secaggplus_constants import Key
from flwr.common.secure_aggregation.secaggplus_utils import pseudo_rand_gen, share_keys_plaintext_concat
from flwr.supercore.primitives.asymmetric import (
    bytes_to_private_key,
    bytes_to_public_key,
    generate_key_pairs,
    private_key_to_bytes,
    public_key_to_bytes,
)

# SecAggPlusWorkflow's defaults.
CLIP, TARGET, MODULUS, WEIGHT = 8.0, 1 << 22, 1 << 32, 1000.0


@dataclass(slots=True)
class FlowerClient:
    """A client after the key exchange, with everybody's sealed shares."""

    state: SecAggPlusState
    configs: dict[str, Any]

    def mask(self, values: np.ndarray) -> None:
        """Quantize and mask one vector."""
        _collect_masked_vectors(self.state, self.configs, 500, ndarrays_to_parameters([values]))


def flower_client(peers: int, threshold: int) -> FlowerClient:
    """Client 1 of peers + 1."""
    state = SecAggPlusState()
    state.nid = 1
    settings = {
        Key.SAMPLE_NUMBER: peers + 1,
        Key.SHARE_NUMBER: peers + 1,
        Key.THRESHOLD: threshold,
        Key.CLIPPING_RANGE: CLIP,
        Key.TARGET_RANGE: TARGET,
        Key.MOD_RANGE: MODULUS,
        Key.MAX_WEIGHT: WEIGHT,
    }
    _setup(state, settings)
    keys = {nid: (generate_key_pairs(), generate_key_pairs()) for nid in range(2, peers + 2)}
    public = {
        str(nid): (public_key_to_bytes(one[1]), public_key_to_bytes(two[1]))
        for nid, (one, two) in keys.items()
    }
    _share_keys(state, {"1": (state.pk1, state.pk2), **public})
    share = create_shares(os.urandom(32), 2, 3)[0]
    sealed = [
        encrypt(
            generate_shared_key(two[0], bytes_to_public_key(state.pk2)),
            share_keys_plaintext_concat(nid, 1, share, share),
        )
        for nid, (_, two) in keys.items()
    ]
    return FlowerClient(state, {Key.SOURCE_LIST: list(keys), Key.CIPHERTEXT_LIST: sealed})


def flower_unmask_cpu_s(coordinates: int, members: int, dropped: int, threshold: int) -> float:
    """CPU time of unmasking in `SecAggPlusWorkflow`; what is done alike for each secret is timed once and multiplied."""
    seconds = members * _once(combine_shares, create_shares(os.urandom(32), threshold, members))
    private, public = generate_key_pairs()
    key, other = private_key_to_bytes(private), public_key_to_bytes(public)
    seconds += dropped * _once(combine_shares, create_shares(key, threshold, members))
    start = process_time()
    generate_shared_key(bytes_to_private_key(key), bytes_to_public_key(other))
    seconds += members * dropped * (process_time() - start)
    start = process_time()
    vector = [np.array([1], dtype=np.int64), np.zeros(coordinates, dtype=np.int64)]
    for _ in range(members):
        vector = parameters_mod(parameters_addition(vector, vector), MODULUS)
    for number in range(members * (1 + dropped)):
        mask = pseudo_rand_gen(number.to_bytes(32, "big"), MODULUS, [(1,), (coordinates,)])
        vector = (parameters_addition if number % 2 else parameters_subtraction)(vector, mask)
    _, rest = factor_extract(parameters_mod(vector, MODULUS))
    dequantize(rest, CLIP, TARGET)
    return seconds + process_time() - start


def _once(combine: Any, shares: list[bytes]) -> float:
    start = process_time()
    combine(shares)
    return process_time() - start
