"""Which release of wardround is installed here."""

from importlib import metadata


def installed_release() -> str:
    """The version of the installed distribution; "0" where the code runs without one."""
    try:
        return metadata.version("wardround")
    except metadata.PackageNotFoundError:
        return "0"
