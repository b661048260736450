"""What a ledger's entries come to, taken in one record after the other: so a round asks where its hospital stands without reading them all."""

from dataclasses import dataclass, field
from typing import Self, assert_never

from privacy.guarantees.plan import Charge, Release
from privacy.ledgers.data_epoch import begun_epoch
from privacy.ledgers.entry import EntryKind, Key, LedgerBroken, Record


@dataclass(frozen=True, slots=True)
class RoundState:
    """Where one round stands: reserved, spent or aborted, and what it was charged."""

    kind: EntryKind
    release: Charge


@dataclass(slots=True)
class Account:
    """Where every round stands, and what the rules of a further round ask; grows by `step` alone.

    Attributes:
        rounds: state of every round that was ever reserved, in the order of reservation.
        closed: hashes of the studies that were closed.
        aborted: study hash -> how many of its rounds were aborted.
        begun: study hash -> numbers of its rounds that were reserved or noted, with 0 for a note of no round.
        epochs: names of the data epochs that were begun; the last one is the present.
        earlier: hashes of the studies of which anything was written before the present epoch.
        charged: (study hash, name of a release) -> steps that were reserved in the present epoch; a charge without steps counts none.
    """

    rounds: dict[Key, RoundState] = field(default_factory=dict)
    closed: frozenset[str] = frozenset()
    aborted: dict[str, int] = field(default_factory=dict)
    begun: dict[str, set[int]] = field(default_factory=dict)
    epochs: tuple[str, ...] = ()
    earlier: frozenset[str] = frozenset()
    charged: dict[tuple[str, str], int] = field(default_factory=dict)
    _studies: frozenset[str] = frozenset()

    @property
    def epoch(self) -> str:
        """The present data epoch; "" where none was ever begun."""
        return self.epochs[-1] if self.epochs else ""

    def copy(self) -> Self:
        """One to go on with."""
        return type(self)(
            dict(self.rounds),
            self.closed,
            dict(self.aborted),
            {study: set(rounds) for study, rounds in self.begun.items()},
            self.epochs,
            self.earlier,
            dict(self.charged),
            self._studies,
        )

    def step(self, record: Record, seq: int) -> None:
        """Apply one record.

        Raises:
            LedgerBroken: the record does not follow from those before it.
        """
        state = self.rounds.get(record.key)
        where = f"round {record.round} of study {record.study_id}"
        if record.study_hash in self.closed and _releases(record):
            raise LedgerBroken(
                seq, f"{where} comes after the study was closed; nothing more of it is released"
            )
        if record.study_hash not in self._studies:
            self._studies |= {record.study_hash}
        match record.kind:
            case "NOTE":
                if record.release is not None:
                    raise LedgerBroken(seq, "a note releases nothing")
                self.begun.setdefault(record.study_hash, set()).add(record.round)
                self._begin_epoch(begun_epoch(record))
            case "CLOSE":
                if record.study_hash in self.closed or record.round or record.release is not None:
                    raise LedgerBroken(seq, f"study {record.study_id} is closed once, and as a whole")
                self.closed |= {record.study_hash}
            case "RESERVE":
                if state is not None:
                    raise LedgerBroken(seq, f"{where} is reserved already; a retry is a new round")
                if record.release is None:
                    raise LedgerBroken(seq, f"{where} reserves no release")
                self.rounds[record.key] = RoundState("RESERVE", record.release)
                self.begun.setdefault(record.study_hash, set()).add(record.round)
                charge = (record.study_hash, record.release.name)
                steps = record.release.steps if isinstance(record.release, Release) else 0
                self.charged[charge] = self.charged.get(charge, 0) + steps
            case "SPENT":
                if state is None or state.kind != "RESERVE":
                    raise LedgerBroken(seq, f"{where} is spent without an open reservation")
                if record.release != state.release:
                    raise LedgerBroken(seq, f"{where} spends another release than it reserved")
                self.rounds[record.key] = RoundState("SPENT", state.release)
            case "ABORT":
                if state is None or state.kind == "ABORT" or record.release is not None:
                    raise LedgerBroken(
                        seq, f"{where} cannot be aborted: it is not reserved, or aborted already"
                    )
                # An aborted round stays charged: something may have left before the abort.
                self.rounds[record.key] = RoundState("ABORT", state.release)
                self.aborted[record.study_hash] = self.aborted.get(record.study_hash, 0) + 1
            case _ as unreachable:
                assert_never(unreachable)

    def _begin_epoch(self, name: str) -> None:
        """A name that was used before begins nothing."""
        if name and name not in self.epochs:
            self.epochs, self.earlier, self.charged = (*self.epochs, name), self._studies, {}


def _releases(record: Record) -> bool:
    """Whether something leaves on the strength of this record; a note of a round is what mode none has instead."""
    return record.kind in ("RESERVE", "SPENT") or (record.kind == "NOTE" and record.round > 0)
