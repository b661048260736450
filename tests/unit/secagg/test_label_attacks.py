"""Attacks on keys and seals that have one use each by their labels alone: without them one use gives the other away.

`test_index` lists which mistake each test stands for.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from secagg import hospital as ho
from secagg import pairs, sealing
from secagg.errors import (
    BadShare,
)
from secagg.pairs import RoundFrame
from secagg.secret import SecretBytes
from tests.unit.secagg.loot import ALL, Loot, nothing, uploaded
from tests.unit.secagg.rounds import consortium


@pytest.mark.threat("FL-11", control="C-FRESH")
def test_reflected_seal_and_a_sealing_that_lacks_its_direction(monkeypatch: pytest.MonkeyPatch) -> None:
    """A victim that takes its own seals for those of others opens its own self-mask, share by share."""

    def attack() -> Loot:
        c, uploading = uploaded()
        loot = Loot(c, uploading)
        dealt = uploading.uploads["h000"].seals
        for name in ALL[1:]:
            upload = uploading.uploads[name]
            reflected = {**upload.seals, "h000": replace(dealt[name], receiver="h000")}
            loot.uploading = replace(
                loot.uploading,
                uploads={**loot.uploading.uploads, name: replace(upload, seals=reflected)},
            )
        loot.ask_agree("h000", ALL)
        loot.uploading = uploading
        for name in ALL[1:]:
            loot.ask_agree(name, ALL)
        for name in ALL[1:]:
            loot.ask_agree(name, ALL[1:])
        state = c.hospitals["h000"]
        assert isinstance(state, ho.Agreed)
        loot.ask_open("h000", ALL, ALL)
        for dealer, held in state.shares.items():
            loot.give("h000", dealer, held.share.reveal())
        return loot

    with pytest.raises(BadShare):
        attack()

    def undirected(frame: RoundFrame, purpose: str, sender: str, receiver: str) -> bytes:
        return frame.pair_label(purpose, sender, receiver)

    monkeypatch.setattr(RoundFrame, "directed_label", undirected)
    # The commitments still say whose share it is.
    with pytest.raises(BadShare):
        attack()
    monkeypatch.setattr(sealing, "check_share", nothing)
    assert attack().has("h000")


@pytest.mark.threat("FL-12", control="C-KDF")
def test_no_domain_separation_between_mask_and_ratchet(monkeypatch: pytest.MonkeyPatch) -> None:
    """If what is revealed for a dropped hospital were also its next chain, its next upload would be open."""

    def attack() -> bool:
        c = consortium()
        opening, _, receipt = c.run(1, no_upload=["h003"])
        c.deliver_receipt(receipt)
        uploading = c.upload_all(c.order(2, c.hospitals, previous=receipt), ALL)
        seeds = {peer: given["h003"] for peer, given in opening.agreeing.mask_seeds.items()}
        loot = Loot(c, uploading)
        stolen = ho.round_secrets(seeds, uploading.frame, "h003")
        loot.know_pairs("h003", stolen)
        for peer, secrets in stolen.items():
            seal = uploading.uploads["h003"].seals[peer]
            held = sealing.open_seal(uploading.frame, secrets.seal_out, seal, "h003")
            loot.give("h003", peer, held.share.reveal())
        return loot.has("h003")

    with pytest.raises(BadShare):
        attack()
    monkeypatch.setattr(ho, "round_secrets", one_label_for_mask_and_ratchet)
    assert attack()


def one_label_for_mask_and_ratchet(
    chains: dict[str, SecretBytes], frame: RoundFrame, me: str
) -> dict[str, pairs.RoundSecrets]:
    """`round_secrets` with the mistake."""
    following = pairs.ratchet(chains, frame, me)
    made = pairs.round_secrets(chains, frame, me)
    return {peer: replace(secrets, mask_seed=following[peer]) for peer, secrets in made.items()}
