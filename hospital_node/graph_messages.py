"""The further messages of a sparse graph: a contribution to its seed, the graph itself, and one signature on the final set.

Who reveals helps to draw a graph, and each graph may fail with a small probability. So the journal counts it before the
contribution leaves, and the count of a study outlives sessions, crashes and a restored journal (secagg/SPEC.md, section 10.2).
"""

from __future__ import annotations

from collections.abc import Iterator

from hospital_node.node_states import is_known_seed
from hospital_node.node_words import NodeEvent
from hospital_node.participant import Participant
from secagg import hospital as protocol
from secagg.errors import ProtocolError
from secagg.sparse_table import GRAPHS_PER_HOSPITAL
from secagg.states import Advertised, Agreed, Joining, Revealed


def reveal(node: Participant, state: Advertised, message: bytes) -> Iterator[bytes]:
    """The own contribution for this key list, counted on disk before it leaves."""
    revealed, reply = protocol.reveal_contribution(state, message)
    graphs = revealed.advertised.graphs
    node.commit(revealed, message, (reply,), graphs=graphs)
    node.report(
        NodeEvent("graph", f"helps to draw graph {graphs} of {GRAPHS_PER_HOSPITAL} that this study may have")
    )
    yield reply


def take_seed(node: Participant, message: bytes) -> None:
    """Everybody's contributions, from which the graph follows; sent again to a restarted node they change nothing."""
    state = node.state
    if isinstance(state, Revealed):
        ready = protocol.accept_graph_seed(state, message)
        node.commit(ready, message, ())
        neighbors = len(ready.participants.peers(node.me))
        node.report(NodeEvent("session", f"keys agreed with {neighbors} neighbors in the graph"))
        return
    if state is None or isinstance(state, Joining):
        raise ProtocolError("a graph came that this hospital did not help to draw")
    if not is_known_seed(message, node.listed, protocol.close_round(state)):
        raise ProtocolError("another graph came than that of the session under way")


def settle(node: Participant, message: bytes) -> Iterator[bytes]:
    """The signature on the one final set of this round, stored before it leaves."""
    if not isinstance(node.state, Agreed):
        raise ProtocolError("this hospital has agreed to no set that could be signed")
    settled, reply = protocol.settle(node.state, message)
    number = settled.frame.round
    node.show("sign", number, f"signature on the final set of round {number}")
    node.commit(settled, message, (reply,))
    yield reply
