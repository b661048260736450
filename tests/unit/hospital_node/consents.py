"""A consent register for tests, and a hospital whose policy asks it."""

from hospital_node.admission import Admission
from hospital_node.consent_store import ConsentStore, RegisterPlace
from hospital_node.node import Node
from privacy.patients.consent import EVERYTHING, HEALTH, Terms
from tests.bent_link import ManualClock
from tests.consortium import World
from tests.study_files import table

PERMIT, WITHDRAW = Terms(HEALTH, "permit"), Terms(EVERYTHING, "deny")
DUO = ('purpose = "test"', f'purpose = "test"\nduo = "{HEALTH}"')


def opened(place: RegisterPlace, *, create: bool = True) -> ConsentStore:
    return ConsentStore(place, ManualClock(), create=create)


def consenting(world: World, hospital: str, place: RegisterPlace | None, **policy: object) -> Node:
    """The node asks the register from now on."""
    node = world.nodes[hospital]
    own = node.admission
    changed = type(own.policy).model_validate(own.policy.model_dump() | {"consent_register": True} | policy)
    node.admission = Admission(own.me, own.roster, changed, own.study, own.data, own.reports, consents=place)
    return node


def register(place: RegisterPlace, rows: int) -> None:
    with opened(place) as store:
        store.add([(patient, PERMIT) for patient in table(rows)["pid"]], b"")
