"""A hospital process for the tests of the link: answers what its first argument's keys receive, as its third argument says.

echo: sends each message back. count: answers message i with "<i handled so far>:<message>". Prints problems, one a line.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterable
from pathlib import Path

from hospital_node import enrolment, keys
from hospital_node.link import ConnectProblem, LinkClient


def main() -> int:
    folder, address, behavior = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    handled = 0

    def on_message(message: bytes) -> Iterable[bytes]:
        nonlocal handled
        handled += 1
        if behavior == "count":
            yield b"%d:%s" % (handled, message)
        else:
            yield message

    client = LinkClient(
        address,
        keys.load(folder),
        enrolment.load_roster(folder),
        on_problem=lambda problem: print(problem.kind, problem, flush=True),
        entropy=os.urandom,
    )
    try:
        client.run(on_message, lambda: [b"here"], threading.Event())
    except ConnectProblem as problem:
        print("fatal", problem.kind, problem, flush=True)
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
