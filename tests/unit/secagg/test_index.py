"""Which test stands for which classic mistake and for which attack, and that none of them lacks one.

A test is named by its file and its name. Each shows the refusal and, with the control taken away, what the attacker gains;
the second, where there is one, shows the same over real nodes or over every order of messages.
"""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[2]
HERE, SIM, NODE = "unit/secagg/", "sim/", "unit/hospital_node/test_node.py"

MISTAKES: dict[str, tuple[str, ...]] = {
    "mask seed folded to 32 bits": (
        HERE + "test_weak_masks.py::test_mask_seed_folded_to_a_few_bits",
        HERE + "test_arithmetic.py::test_mask_seed_is_not_folded",
    ),
    "non-cryptographic PRG": (
        HERE + "test_weak_masks.py::test_non_cryptographic_generator",
        HERE + "test_classic_mistakes.py::test_mask_generator_is_aes_in_counter_mode",
    ),
    "keys unsigned": (
        HERE + "test_attacks.py::test_key_substitution",
        HERE + "test_key_list.py::test_unsigned_key_is_refused",
    ),
    "a copied key": (HERE + "test_attacks.py::test_copied_key",),
    "both share kinds for one peer": (
        HERE + "test_attacks.py::test_late_upload_of_a_dropped_hospital_and_both_share_kinds",
        SIM + "test_invariants.py::test_both_share_kinds_are_noticed",
    ),
    "duplicate ids counted towards the threshold": (
        HERE + "test_attacks.py::test_duplicate_ids_counted_towards_the_threshold",
        HERE + "test_key_list.py::test_hospital_named_twice_does_not_count_twice",
    ),
    "cohort of one": (
        HERE + "test_attacks.py::test_small_cohort",
        HERE + "test_agree.py::test_cohort_of_one",
    ),
    "modulus or clip chosen by the server": (
        HERE + "test_weak_masks.py::test_modulus_or_clip_chosen_by_the_server",
        HERE + "test_classic_mistakes.py::test_modulus_and_dim_are_not_chosen_by_the_server",
        SIM + "test_hostile_coordinator.py::test_a_lie_to_everybody_is_refused_by_everybody",
    ),
    "no domain separation between uses of one key": (
        HERE + "test_label_attacks.py::test_no_domain_separation_between_mask_and_ratchet",
        HERE + "test_classic_mistakes.py::test_domain_separation_between_uses_of_one_key",
    ),
    "a label with something that the sealing lacks": (
        HERE + "test_label_attacks.py::test_reflected_seal_and_a_sealing_that_lacks_its_direction",
        HERE + "test_agree.py::test_seal_of_another_pair_does_not_open",
    ),
    "drop-out before shares arrive kills the round": (
        HERE + "test_weak_masks.py::test_drop_out_before_shares_arrive_kills_the_round",
    ),
    "weights and metrics beside the vector in clear": (
        SIM + "test_clear_text.py::test_nothing_travels_in_clear_but_what_the_protocol_names",
        SIM + "test_clear_text.py::test_a_number_beside_the_vector_is_noticed",
        HERE + "test_classic_mistakes.py::test_weights_and_metrics_ride_inside_the_masked_vector",
    ),
    "secrets kept after the round": (
        HERE + "test_weak_masks.py::test_secrets_kept_after_the_round",
        HERE + "test_state_codec.py::test_secrets_of_a_round_are_gone_after_it",
    ),
    "secrets in repr or logs": (
        HERE + "test_weak_masks.py::test_secrets_in_repr_or_logs",
        HERE + "test_classic_mistakes.py::test_no_secret_in_any_repr",
        SIM + "test_invariants.py::test_a_secret_in_a_repr_is_noticed",
    ),
    "masks reused across rounds": (HERE + "test_weak_masks.py::test_masks_reused_across_rounds",),
    "masks reused across auxiliary vectors of one round": (
        HERE + "test_weak_masks.py::test_masks_reused_across_auxiliary_vectors_of_one_round",
        SIM + "test_invariants.py::test_two_vectors_under_one_round_key_are_noticed",
    ),
    "noise clamped after it was added": (
        HERE + "test_weak_masks.py::test_noise_clamped_after_it_was_added",
        HERE + "test_arithmetic.py::test_noised_integers_wrap_and_are_never_clamped",
    ),
}
ATTACKS: dict[str, tuple[str, ...]] = {
    "key substitution": (
        HERE + "test_attacks.py::test_key_substitution",
        HERE + "test_key_list.py::test_swapped_key_is_refused",
    ),
    "copied key": (
        HERE + "test_attacks.py::test_copied_key",
        HERE + "test_key_list.py::test_copied_key_in_second_spelling_is_refused",
    ),
    "split view": (
        HERE + "test_attacks.py::test_split_view",
        SIM + "test_model_check.py::test_every_weakened_variant_is_caught_at_three_hospitals",
    ),
    "model inconsistency": (
        HERE + "test_attacks.py::test_model_inconsistency",
        SIM + "test_hostile_coordinator.py::test_another_model_for_one_hospital_aborts_the_round",
        SIM + "test_hostile_coordinator.py::test_without_comparing_order_hashes_the_round_would_go_on",
    ),
    "small cohort": (
        HERE + "test_attacks.py::test_small_cohort",
        SIM + "test_model_check.py::test_threshold_missed_by_one_is_caught",
    ),
    "sybil": (
        HERE + "test_attacks.py::test_sybil",
        HERE + "test_attacks.py::test_a_seat_that_is_not_on_the_roster",
    ),
    "cross-round differencing": (
        HERE + "test_attacks.py::test_cross_round_differencing",
        NODE + "::test_without_noise_no_set_is_summed_that_singles_a_hospital_out",
    ),
    "late upload of a dropped hospital": (
        HERE + "test_attacks.py::test_late_upload_of_a_dropped_hospital_and_both_share_kinds",
        HERE + "test_agree.py::test_late_upload_of_a_dropped_hospital",
    ),
    "replay and reflection of every message type in every later phase": (
        HERE + "test_replays.py::test_replay_and_reflection_to_a_hospital",
        HERE + "test_replays.py::test_replay_and_reflection_to_the_coordinator",
        HERE + "test_replays.py::test_the_matrix_bites",
        HERE + "test_replays.py::test_replayed_order_and_a_retry_under_the_same_keys",
        SIM + "test_clear_text.py::test_everything_that_was_ever_sent_again_to_a_node_changes_nothing",
    ),
    "chunk reordering": (HERE + "test_attacks.py::test_chunk_reordering",),
    "oversize lengths": (
        HERE + "test_bounds.py::test_one_beyond_the_bound_is_refused",
        "fuzz/test_memory.py::test_short_entries_cost_ten_times_their_length_only_without_the_bound_on_their_number",
    ),
}
# Of the invariants that the scheduler checks, what shows that each can fail.
INVARIANTS: dict[str, tuple[str, ...]] = {
    "exact sum or abort": ("test_a_wrong_sum_is_noticed", "test_with_its_control_the_wrong_sum_is_an_abort"),
    "never both kinds of share": ("test_both_share_kinds_are_noticed",),
    "never two vectors under one round key": ("test_two_vectors_under_one_round_key_are_noticed",),
    "one roster or abort": ("test_two_rosters_in_one_sum_are_noticed",),
    "ledger charged iff something left": (
        "test_an_upload_that_nobody_paid_for_is_noticed",
        "test_a_charge_for_nothing_is_noticed",
    ),
    "no secret in any message, log or repr": (
        "test_a_secret_in_a_repr_is_noticed",
        "test_a_secret_in_a_message_is_noticed",
    ),
    "replay reproduces every byte": ("test_chance_in_a_machine_is_noticed",),
}


@cache
def names_in(file: str) -> frozenset[str]:
    """The names of the tests in a file."""
    tree = ast.parse((TESTS / file).read_text())
    return frozenset(node.name for node in tree.body if isinstance(node, ast.FunctionDef))


def test_every_mistake_and_every_attack_is_there() -> None:
    assert (len(MISTAKES), len(ATTACKS), len(INVARIANTS)) == (17, 11, 7)


@pytest.mark.parametrize("what", [*MISTAKES, *ATTACKS])
def test_its_tests_exist(what: str) -> None:
    for test in {**MISTAKES, **ATTACKS}[what]:
        file, _, name = test.partition("::")
        assert name in names_in(file), test


@pytest.mark.parametrize("what", INVARIANTS)
def test_every_invariant_can_fail(what: str) -> None:
    assert set(INVARIANTS[what]) <= names_in(SIM + "test_invariants.py")
