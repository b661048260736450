"""The doctor's checks in the order in which they are shown: the installation, this hospital, the study, the way, the coordinator."""

from hospital_node.doctor import (
    anchor_place,
    books,
    disk,
    door,
    extract,
    identity,
    install,
    memory,
    rules,
    validity,
    way,
)
from hospital_node.doctor.finding import Check

CHECKS: tuple[Check, ...] = (
    install.CHECK,
    identity.HOME,
    identity.KEYS,
    identity.ROSTER,
    validity.CHECK,
    rules.POLICY,
    extract.STUDY,
    rules.PACKAGES,
    extract.PERMISSION,
    disk.CHECK,
    memory.CHECK,
    anchor_place.CHECK,
    books.LEDGER,
    books.CONSENTS,
    way.ROUTE,
    way.NAME,
    way.PORT,
    way.TLS,
    way.HTTP2,
    way.CERTIFICATE,
    door.ADMISSION,
    door.VERSIONS,
    door.ROSTERS,
    door.CLOCK,
    extract.DATA,
)
