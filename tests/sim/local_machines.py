"""One hospital as the search drives it: the real arrows, and each of them with one rule taken away.

A machine's state is a tuple of real states of `secagg.hospital`; its key is their exact bytes, so that two histories are one
state only if the hospital itself cannot tell them apart.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from types import ModuleType
from unittest.mock import patch

from secagg import agreed_set, rules
from secagg import hospital as ho
from secagg.errors import SecAggError
from secagg.secret import SecretBytes
from secagg.state_codec import encode_state

Local = tuple[ho.HospitalState, ...]
Step = tuple[Local, bytes]


class RealMachine:
    """The protocol as it is: the current state, and nothing else."""

    name = "as built"
    off: tuple[tuple[ModuleType, str], ...] = ()
    spares_when_it_agrees = False

    def start(self, uploaded: ho.Uploaded) -> Local:
        """The state right after the upload."""
        return (uploaded,)

    def agree(self, local: Local, request: bytes) -> Step | None:
        """The step that an agree request leads to; None if it is refused or no arrow fits."""
        return _agree(local[0], request)

    def open(self, local: Local, request: bytes) -> Step | None:
        """The step that an open request leads to."""
        return _open(local[0], request)

    def restart(self, local: Local) -> Local:
        """The state after a crash: what the journal holds, which is all of it."""
        return local

    def key(self, local: Local) -> bytes:
        """Equal for equal states only."""
        return b"|".join(encode_state(state) for state in local)

    @contextmanager
    def weakened(self) -> Iterator[None]:
        """Take this machine's rules out of secagg for a while."""
        with ExitStack() as stack:
            for module, rule in self.off:
                stack.enter_context(patch.object(module, rule, _nothing))
            yield


class NoSignatures(RealMachine):
    """Opens whatever it agreed to last, without proof that others agreed to it."""

    name = "no signatures"
    off = ((agreed_set, "check_signatures"),)


class AnySize(RealMachine):
    """Signs sets of any size."""

    name = "no check of |U|"
    off = ((rules, "set_is_large_enough"),)


class NotInSet(RealMachine):
    """Signs sets that it is not in; the seed it would share with itself is made up.

    This alone opens no attack, since signatures of hospitals outside a set do not count and all members must sign: `OutsidersSign` has
    none of these rules.
    """

    name = "v not in U, but signers are members"
    off: tuple[tuple[ModuleType, str], ...] = ((rules, "i_am_in"), (rules, "own_header_is_unchanged"))

    def start(self, uploaded: ho.Uploaded) -> Local:
        me = uploaded.after.seat.me
        seeds = {**uploaded.mask_seeds, me: SecretBytes(bytes(32))}
        return (replace(uploaded, mask_seeds=dict(sorted(seeds.items()))),)


class OutsidersSign(NotInSet):
    """Signs sets that it is not in, and counts such signatures of others in place of members'."""

    name = "v not in U"
    off = (*NotInSet.off, (agreed_set, "signers_are_members"), (rules, "everybody_signed"))


class SetsGrow(RealMachine):
    """Keeps what it needs to agree to any set, whatever it signed before; opens the last."""

    name = "sets not shrinking"

    def start(self, uploaded: ho.Uploaded) -> Local:
        return (uploaded, uploaded)

    def agree(self, local: Local, request: bytes) -> Step | None:
        if isinstance(local[0], ho.Opened):
            return None
        step = _agree(local[1], request)
        return None if step is None else ((*step[0], local[1]), step[1])

    def open(self, local: Local, request: bytes) -> Step | None:
        step = _open(local[0], request)
        return None if step is None else ((*step[0], local[1]), step[1])


class AgreesAfterOpen(RealMachine):
    """Goes on agreeing to smaller sets once it has opened; it opens once."""

    name = "agree after open"

    def agree(self, local: Local, request: bytes) -> Step | None:
        step = _agree(local[-1], request)
        return None if step is None else ((*local[:-1], *step[0]), step[1])

    def open(self, local: Local, request: bytes) -> Step | None:
        step = None if len(local) > 1 else _open(local[0], request)
        return None if step is None else ((*step[0], *local), step[1])


class OpensEarlierSets(RealMachine):
    """Keeps every state in which it agreed and opens the first of them that the request fits."""

    name = "opening an earlier signed set"

    def agree(self, local: Local, request: bytes) -> Step | None:
        step = _agree(local[-1], request)
        if step is None:
            return None
        return step if step[0][0] == local[-1] else ((*local, *step[0]), step[1])

    def open(self, local: Local, request: bytes) -> Step | None:
        return next((step for state in local if (step := _open(state, request)) is not None), None)


class ForgetsAgreeing(RealMachine):
    """After a crash it is back where it had uploaded: the agreed set was never stored."""

    name = "agree state lost"

    def start(self, uploaded: ho.Uploaded) -> Local:
        return (uploaded, uploaded)

    def agree(self, local: Local, request: bytes) -> Step | None:
        step = _agree(local[0], request)
        return None if step is None else ((*step[0], local[1]), step[1])

    def open(self, local: Local, request: bytes) -> Step | None:
        step = _open(local[0], request)
        return None if step is None else ((*step[0], local[1]), step[1])

    def restart(self, local: Local) -> Local:
        return (local[1], local[1]) if isinstance(local[0], ho.Agreed) else local


class SparesWhenItAgrees(RealMachine):
    """Tells what noise a set does not need as soon as it signed the set, before it knows that the others did."""

    name = "noise told at agreeing"
    spares_when_it_agrees = True


class OpensForAThreshold(RealMachine):
    """Opens, and tells what noise is not needed, against t signatures in place of all members'."""

    name = "opening without all members' signatures"
    off = ((rules, "everybody_signed"),)


WEAKENED: tuple[RealMachine, ...] = (
    NoSignatures(),
    SetsGrow(),
    AgreesAfterOpen(),
    OpensEarlierSets(),
    ForgetsAgreeing(),
    OutsidersSign(),
    AnySize(),
    SparesWhenItAgrees(),
)


def _agree(state: ho.HospitalState, request: bytes) -> Step | None:
    if not isinstance(state, ho.Uploaded | ho.Agreed):
        return None
    try:
        agreed, answer = ho.agree(state, request)
    except SecAggError:
        return None
    return (agreed,), answer


def _open(state: ho.HospitalState, request: bytes) -> Step | None:
    if not isinstance(state, ho.Agreed):
        return None
    try:
        opened, answer = ho.open_shares(state, request)
    except SecAggError:
        return None
    return (opened,), answer


def _nothing(*_: object, **__: object) -> None:
    """A rule that is switched off."""
