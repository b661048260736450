"""`python -m tests.fuzz --minutes 10`: see `tests.fuzz.decoders`."""

from __future__ import annotations

import sys

from tests.fuzz.decoders import main

main(sys.argv[1:])
