"""Can the ledger and the consent register be read as a node would read them? Neither is made here, and nothing of them is shown."""

from __future__ import annotations

import sqlite3

from hospital_node.consent_store import ConsentStore
from hospital_node.doctor.case import Case, held
from hospital_node.doctor.finding import Check, Finding, failed, ok
from hospital_node.ledger_store import LedgerStore

RESTORE_LEDGER = "restore state/ledger.db from its newest backup; never go on with an empty one, which would forget what was spent"


def look_at_ledger(case: Case) -> Finding:
    # Opening one without a byte would begin it.
    if not case.home.ledger.exists() or not case.home.ledger.stat().st_size:
        return ok("none yet; the first study begins it")
    try:
        with LedgerStore(case.home.ledger, held(case.keys).identity_private, case.clock) as ledger:
            ledger.entries()
    except sqlite3.Error as problem:
        return failed(f"{case.home.ledger} cannot be read ({type(problem).__name__})", RESTORE_LEDGER)
    return ok("its chain verifies under this hospital's key; back it up")


def look_at_consents(case: Case) -> Finding:
    if not held(case.policy).consent_register:
        return ok("the policy asks no consent register")
    with ConsentStore(case.home.consents, case.clock) as register:
        register.of_many(())
    return ok("the register and its key can be read")


LEDGER = Check("ledger", look_at_ledger, needs=("keys",), remedy=RESTORE_LEDGER)
CONSENTS = Check(
    "consents",
    look_at_consents,
    needs=("policy",),
    remedy="restore state/consents.db and keys/consent.key from one backup, or begin with: wardround-hospital consent import FILE "
    "--home {home}; until then nobody takes part",
)
