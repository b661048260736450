"""A small run with real keys, real ledgers and the real secure aggregation, written as a bundle."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from privacy.assessment.recompute_ledgers import guaranteed_epsilon, planned_epsilon, read_ledger
from privacy.assessment.recompute_rounds import parameters
from privacy.guarantees.release import Release
from privacy.ledgers.charges import is_closed
from privacy.ledgers.ledger import ENTRY_LABEL, Entry, EntryKind, Ledger, Record
from privacy.ledgers.ledger_export import SEAL_LABEL, export
from privacy.link.canonical import canonical
from privacy.link.certificates import Role
from privacy.studies.agreement import Agreement, build
from privacy.studies.study import parse_study
from secagg import coordinator as co
from secagg import hospital as ho
from secagg import identity
from secagg.context import Context
from secagg.receipt import without_sum
from secagg.roster import Member, Roster, SignedRoster, sign_roster
from secagg.secret import SecretBytes

HOSPITALS = ("east", "north", "south", "west")
TIME = "2026-05-01T10:00:00Z"
COMMIT = "0123456789abcdef0123456789abcdef01234567"

STUDY = """
[study]
id = "demo"
title = "Survival after treatment, a <test> of the page"
purpose = "Estimate the hazard ratio of the arms"
horizon_days = 1000
intervals = 5
n_public = {{east = 400, north = 410, south = 420, west = 430}}
[cohort]
threshold = 3
[privacy]
mode = "{mode}"
{budget}
[stage]
{stage}
[model]
recipe = "{recipe}"
rounds = {rounds}
[[field]]
name = "days"
type = "float"
role = "time"
purpose = "Follow-up"
[[field]]
name = "event"
type = "int"
role = "event"
minimum = 0
maximum = 1
purpose = "End point"
[[field]]
name = "age"
type = "float"
role = ["feature", "quasi_identifier"]
unit = "years"
minimum = 18
maximum = 90
source = "inclusion criteria"
cuts = [40, 60]
purpose = "Strong predictor"
"""


def seed(*parts: object) -> bytes:
    return hashlib.sha256(repr(parts).encode()).digest()


def key(name: str) -> SecretBytes:
    return SecretBytes(seed("identity", name))


@cache
def agreement(mode: str = "local", stage: str = 'kind = "generalize"', rounds: int = 2) -> Agreement:
    budget = "epsilon = 3\ndelta = 1e-5" if mode == "local" else ""
    return build(
        parse_study(
            STUDY.format(
                mode=mode,
                budget=budget,
                stage=stage,
                rounds=rounds,
                recipe="dp_sgd" if mode == "local" else "auto",
            ),
            "study.toml",
        )
    )


@cache
def signed_roster() -> SignedRoster:
    def member(name: str, role: Role) -> Member:
        return Member(name, role, identity.public_key(key(name)), seed("certificate", name))

    roster = Roster(
        1, tuple(member(name, "hospital") for name in HOSPITALS), member("coordinator", "coordinator")
    )
    return SignedRoster(roster, {name: sign_roster(key(name), roster) for name in HOSPITALS})


@dataclass
class Run:
    """One study run, round by round; ``silent`` maps a round to the hospitals that do not upload in it."""

    agreement: Agreement
    silent: Mapping[int, Collection[str]] = field(default_factory=dict)
    aborted: Collection[int] = ()
    lost_ledgers: Collection[str] = ()
    open_ledgers: Collection[str] = ()
    noise: float = 1.0
    records: list[bytes] = field(default_factory=list)
    receipts: dict[int, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.signed = signed_roster()
        self.params = parameters(self.agreement)
        self.context = Context(
            1, bytes.fromhex(self.agreement.hash), self.signed.roster.hash, seed("session")[:16]
        )
        self.ledgers = dict.fromkeys(HOSPITALS, Ledger())
        self._open_session()
        for number, (task, release) in enumerate(self._tasks(), start=1):
            self._round(number, task, release)

    def _tasks(self) -> list[tuple[str, Release | None]]:
        plan, rounds = self.agreement.plan, self.agreement.training.rounds
        table = plan.release("life_table") if plan else None
        train = plan.release("train").split(rounds) if plan else None
        first: list[tuple[str, Release | None]] = [("life_table", table)]
        return first + [("train", train)] * (rounds + len(self.aborted))

    def _open_session(self) -> None:
        collecting = co.collect_adverts(key("coordinator"), self.params, self.signed.roster, self.context)
        states: dict[str, ho.Advertised] = {}
        for name in HOSPITALS:
            states[name], advert = ho.advertise(
                key(name), self.params, self.signed.roster, self.context, name, seed("x25519", name)
            )
            collecting = co.add_advert(collecting, name, advert)
        self.session, key_list = co.close_adverts(collecting)
        self.hospitals = {name: ho.accept_key_list(state, key_list) for name, state in states.items()}
        self.previous = b""

    def _charge(self, name: str, kind: EntryKind, number: int, release: Release | None) -> None:
        if release is None:
            if kind == "RESERVE":
                self._write(name, "NOTE", number, None)
            return
        paid = Release.from_json(
            {**release.to_json(), "noise_multiplier": release.noise_multiplier * self.noise}
        )
        self._write(name, kind, number, None if kind == "ABORT" else paid)

    def _closed(self, name: str) -> tuple[Entry, ...]:
        """The chain as the hospital exports it at the end."""
        closed = is_closed(self.ledgers[name].entries, self.agreement.hash)
        if name not in self.open_ledgers and not closed:
            self._write(name, "CLOSE", 0, None)
        return self.ledgers[name].entries

    def _write(self, name: str, kind: EntryKind, number: int, release: Release | None) -> None:
        record = Record(
            kind,
            TIME,
            self.agreement.hash,
            self.agreement.study.id,
            "" if kind == "CLOSE" else self.context.session_id.hex(),
            number,
            release,
        )
        ledger = self.ledgers[name]
        self.ledgers[name] = ledger.append(record, lambda body: identity.sign(key(name), ENTRY_LABEL, body))

    def _round(self, number: int, task: str, release: Release | None) -> None:
        uploading, order = co.start_round(self.session, number, task, b"model", b"{}", self.previous)
        silent = set(self.silent.get(number, ()))
        states: dict[str, ho.Ordered] = {}
        for name in HOSPITALS:
            states[name], _ = ho.accept_order(self.hospitals[name], order)
            self._charge(name, "RESERVE", number, release)
        if number in self.aborted:
            for name in HOSPITALS:
                self._charge(name, "ABORT", number, release)
                self.hospitals[name] = ho.close_round(states[name])
            self._record(number, task, uploading, (), {}, "fewer than 3 hospitals uploaded")
            return
        vectors, uploads = {}, {}
        for name in sorted(set(HOSPITALS) - silent):
            vector = np.arange(self.params.dim).astype(self.params.ring)
            self._charge(name, "SPENT", number, release)
            uploads[name], sent = ho.upload(states[name], vector, seed("upload", name, number))
            vectors[name] = np.frombuffer(sent.vector, dtype=self.params.ring)
            digest = hashlib.sha256(sent.vector).digest()
            uploading = co.add_upload(uploading, name, sent.header, sent.seals, digest)
        agreeing, requests = co.propose(uploading)
        agreed = {}
        for name, request in requests.items():
            agreed[name], answer = ho.agree(uploads[name], request)
            agreeing = co.add_agreement(agreeing, name, answer)
        opening, asked = co.request_open(agreeing)
        opened: dict[str, ho.HospitalState] = {}
        for name, request in asked.items():
            opened[name], shares = ho.open_shares(agreed[name], request)
            opening = co.add_shares(opening, name, shares)
        self.previous = co.make_receipt(opening, co.unmask(opening, vectors))
        for name in HOSPITALS:
            state: Any = opened.get(name, states[name])
            self.hospitals[name], _ = ho.accept_receipt(state, self.previous)
        self.receipts[number] = without_sum(self.previous)
        self._record(number, task, uploading, tuple(vectors), dict.fromkeys(sorted(silent), "upload"), "")

    def _record(
        self,
        number: int,
        task: str,
        uploading: co.Uploading,
        answered: Collection[str],
        missing: Mapping[str, str],
        reason: str,
    ) -> None:
        self.records.append(
            canonical(
                {
                    "round": number,
                    "task": task,
                    "status": "aborted" if reason else "done",
                    "reason": reason,
                    "order_hash": uploading.frame.order_hash.hex(),
                    "answered": list(answered),
                    "missing": [{"hospital": name, "step": step} for name, step in missing.items()],
                    "threshold": self.agreement.threshold,
                    "seconds": 0.5,
                }
            )
        )

    def files(self) -> dict[str, bytes]:
        """The evidence folder as the coordinator writes it before the assessment is built."""
        found = {
            "evidence/agreement.json": self.agreement.to_bytes(),
            "evidence/roster.json": self.signed.canonical,
            "evidence/rounds.jsonl": b"".join(line + b"\n" for line in self.records),
            "evidence/packages.json": packages(),
        }
        found |= {f"evidence/receipts/{number}.bin": data for number, data in self.receipts.items()}
        found |= {
            f"evidence/ledger/{name}.jsonl": export(
                self._closed(name),
                TIME,
                partial(identity.sign, key(name), SEAL_LABEL),
                study_hash=self.agreement.hash,
            )
            for name in self.ledgers
            if name not in self.lost_ledgers
        }
        found["evidence/result.json"] = canonical(self._result(found))
        return found

    def _result(self, found: Mapping[str, bytes]) -> dict[str, object]:
        delta = self.agreement.study.delta
        ledgers = [
            read_ledger(
                found.get(f"evidence/ledger/{member.id}.jsonl"),
                member.id,
                member.identity_key,
                self.agreement.hash,
                delta,
            )
            for member in self.signed.roster.hospitals
        ]
        records = [json.loads(record) for record in self.records]
        answered = [record["answered"] for record in records if record["status"] == "done"]
        planned = planned_epsilon(self.agreement)

        def stated(epsilon: float | None) -> dict[str, object]:
            if delta is None:
                return {"kind": "none", "reason": "mode none adds no noise"}
            words = {"kind": "dp", "unit": "patient", "adjacency": "add/remove"}
            return {**words, "epsilon": epsilon, "delta": delta}

        return {
            "study": self.agreement.study.id,
            "mode": self.agreement.study.mode,
            "hospitals": list(HOSPITALS),
            "rounds": len(self.records),
            "guarantee": stated(guaranteed_epsilon(planned, ledgers)),
            "guarantee_planned": stated(planned),
            "cohort": {
                "answered": answered[-1] if answered else [],
                "missing": [gone for record in records for gone in record["missing"]],
            },
            "per_hospital": {
                ledger.hospital: {
                    "epsilon": ledger.epsilon_run,
                    "epsilon_all_studies": ledger.epsilon_cumulative,
                    "n_public": self.agreement.study.n_public[ledger.hospital],
                }
                for ledger in ledgers
            },
            "coefficients": [{"name": "age", "log_hr": 0.1, "se": None, "ci95": None}],
        }


def packages(commit: str | None = COMMIT, dirty: bool | None = False) -> bytes:
    code = {"version": "0.1.0", "commit": commit, "dirty": dirty}
    return canonical({"code": code, "python": "3.11.9", "packages": {"numpy": "2.4.0"}})


def write(folder: Path, files: Mapping[str, bytes]) -> Path:
    for path, data in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    return folder


@cache
def plain_files() -> Mapping[str, bytes]:
    """Evidence of a run in which nothing went wrong, computed once."""
    return Run(agreement()).files()
