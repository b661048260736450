"""What the coordinator says while it works: one record an event, shown as a line or as JSON."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Progress:
    """One event.

    Attributes:
        event: machine name, e.g. "round_done".
        text: one sentence for people.
        hospital: whom it is about, empty for all.
        round: round number, 0 outside rounds.
        rounds: how many rounds the study has, 0 where it does not matter.
        seconds: how long it took, where that is known.
        port: where the link listens, for "listening".
    """

    event: str
    text: str
    hospital: str = ""
    round: int = 0
    rounds: int = 0
    seconds: float | None = None
    port: int = 0

    def to_json(self) -> dict[str, object]:
        """The fields that say something."""
        fields: dict[str, object] = {
            "event": self.event,
            "text": self.text,
            "hospital": self.hospital,
            "round": self.round,
            "rounds": self.rounds,
            "seconds": self.seconds,
            "port": self.port,
        }
        return {name: value for name, value in fields.items() if value not in ("", 0, None)}
