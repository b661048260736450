"""How every command of wardround ends: an exit code with one meaning, an error as one sentence on standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any

import click
import typer

from privacy.ledgers.ledger import LedgerBroken
from privacy.ledgers.policy_file import PolicyFileError
from privacy.ledgers.policy_refusal import PolicyRefusal
from privacy.link.canonical import NotCanonicalError
from privacy.link.certificates import CertificateProblem
from privacy.link.member_keys import KeyFileError
from privacy.link.roster_file import EnrolmentError
from privacy.link.transport_rules import AddressError, split_address
from privacy.studies.agreement import AgreementError
from privacy.studies.refusals import StudyError
from privacy.studies.trained_model import ModelFileError
from secagg.errors import SecAggError

DONE, REFUSED, BAD_INPUT, PEER, BUDGET = 0, 1, 2, 3, 4
INTERRUPTED = 130

# An error that carries its own `exit_code` uses that one.
EXPECTED: dict[type[Exception], int] = {
    StudyError: BAD_INPUT,
    AgreementError: REFUSED,
    PolicyRefusal: REFUSED,
    PolicyFileError: BAD_INPUT,
    KeyFileError: BAD_INPUT,
    EnrolmentError: BAD_INPUT,
    AddressError: BAD_INPUT,
    CertificateProblem: BAD_INPUT,
    LedgerBroken: BAD_INPUT,
    ModelFileError: BAD_INPUT,
    NotCanonicalError: BAD_INPUT,
    SecAggError: PEER,
    FileNotFoundError: BAD_INPUT,
    PermissionError: BAD_INPUT,
    IsADirectoryError: BAD_INPUT,
}


def run(app: typer.Typer, name: str) -> int:
    """Runs a command line and turns what it raises into an exit code; what nobody expected stays a traceback.

    Args:
        app: the commands.
        name: of the script, for the usage line.
    """
    try:
        outcome = app(standalone_mode=False, prog_name=name)
    except click.exceptions.Exit as ended:
        return ended.exit_code
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except click.ClickException as error:
        say_error(error.format_message())
        return BAD_INPUT
    except Exception as error:
        code = exit_code_of(error)
        if code is None:
            raise
        say_error(sentence_of(error))
        return code
    return outcome if isinstance(outcome, int) else DONE


def address(text: str) -> str:
    """Callback of an option that takes host:port: what is none is refused before anything is read or opened."""
    try:
        split_address(text)
    except AddressError as error:
        raise typer.BadParameter(str(error)) from None
    return text


def exit_code_of(error: Exception) -> int | None:
    """The code of an expected error; None for one that is a fault of ours."""
    own = getattr(error, "exit_code", None)
    if isinstance(own, int):
        return own
    return next((code for kind, code in EXPECTED.items() if isinstance(error, kind)), None)


def sentence_of(error: Exception) -> str:
    """One line; a file error names the file and the reason."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}; check the path and its permissions"
    return " ".join(str(error).split())


def say_error(sentence: str) -> None:
    """`error: ...` on standard error."""
    sys.stderr.write(f"error: {sentence}\n")
    sys.stderr.flush()


def say(line: str) -> None:
    """One line on standard output, at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def say_json(body: Mapping[str, Any]) -> None:
    """One JSON object on one line."""
    say(json.dumps(body, ensure_ascii=False))
