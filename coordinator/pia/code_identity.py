"""Which code runs here: commit, whether the tree has uncommitted changes, installed distributions."""

from __future__ import annotations

import platform
import subprocess
from importlib import metadata
from pathlib import Path

from privacy.assessment.evidence import CodeIdentity, Packages

_DEADLINE_S = 10.0


def code_identity(root: Path) -> CodeIdentity:
    """The identity of the code under ``root``.

    Commit and state of the tree are None when ``root`` is not the top of a git work tree, for example when the
    package was installed from a wheel: a folder that merely lies inside somebody's repository must not borrow its
    commit.
    """
    try:
        version = metadata.version("wardround")
    except metadata.PackageNotFoundError:
        version = "0"
    top = _git(root, "rev-parse", "--show-toplevel")
    if top is None or Path(top).resolve() != root.resolve():
        return CodeIdentity(version=version)
    commit = _git(root, "rev-parse", "HEAD")
    changes = _git(root, "status", "--porcelain")
    if commit is None or changes is None:
        return CodeIdentity(version=version)
    return CodeIdentity(version=version, commit=commit, dirty=bool(changes))


def installed_packages(root: Path) -> Packages:
    """The content of ``packages.json``: code, interpreter and every installed distribution with its version."""
    found = {dist.name.lower(): dist.version for dist in metadata.distributions() if dist.name}
    return Packages(
        code=code_identity(root),
        python=platform.python_version(),
        packages=dict(sorted(found.items())),
    )


def _git(root: Path, *arguments: str) -> str | None:
    """Output of a git command without the final newline, None when git or the repository is not there."""
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments],  # noqa: S607 - whichever git the machine has
            capture_output=True,
            text=True,
            timeout=_DEADLINE_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
