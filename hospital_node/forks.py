"""Which process of a line of forks this is: how numbers that were drawn ahead notice that they were copied.

A process id alone does not say it: the grandchild of a process that has ended may get that process's id. So every fork that Python makes is counted in the
child, and a count that was written down before a fork is never met again behind it. A library that forks past Python is
noticed by the process id, unless that was given anew.
"""

import os

_forks = 0


def fork_mark() -> tuple[int, int]:
    """Forks since the first process of this line, and the process id; another one behind every fork."""
    return _forks, os.getpid()


def _count() -> None:
    global _forks
    _forks += 1


os.register_at_fork(after_in_child=_count)
