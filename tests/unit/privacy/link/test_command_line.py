"""Exit codes and error sentences, the same for every command."""

from __future__ import annotations

import json
from pathlib import Path

import click
import pytest
import typer

from privacy.ledgers.policy_refusal import PolicyRefusal
from privacy.link import command_line
from privacy.link.transport_rules import AddressError
from privacy.studies.agreement import AgreementError
from privacy.studies.refusals import StudyError
from secagg.errors import TooFewSurvivors


class Coded(Exception):
    exit_code = 4


def app_that(raised: BaseException | None = None, value: int | None = None) -> typer.Typer:
    app = typer.Typer(pretty_exceptions_enable=False)

    @app.command()
    def only() -> int | None:
        if raised is not None:
            raise raised
        return value

    return app


@pytest.mark.parametrize(
    ("raised", "code"),
    [
        (StudyError("f.toml", "is wrong"), 2),
        (AgreementError("plan", "is loose"), 1),
        (PolicyRefusal("modes", "a", "b"), 1),
        (Coded("the budget is spent"), 4),
        (TooFewSurvivors(3, 2, "agree"), 3),
        (AddressError("'north' is not an address"), 2),
        (FileNotFoundError(2, "No such file or directory", "x.toml"), 2),
        (PermissionError(13, "Permission denied", "key"), 2),
        (typer.Exit(7), 7),
        (click.UsageError("no such option"), 2),
        (KeyboardInterrupt(), 130),
        (click.Abort(), 130),
    ],
)
def test_what_a_command_raises_becomes_its_exit_code(
    raised: BaseException, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["wardround-test"])
    assert command_line.run(app_that(raised), "wardround-test") == code
    out, err = capsys.readouterr()
    assert out == ""
    if isinstance(raised, Exception) and not isinstance(raised, click.exceptions.Exit | click.Abort):
        assert err.startswith("error: ")
        assert err.count("\n") == 1


def test_what_nobody_expected_stays_a_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["wardround-test"])
    with pytest.raises(ZeroDivisionError):
        command_line.run(app_that(ZeroDivisionError("ours")), "wardround-test")


@pytest.mark.parametrize(("value", "code"), [(None, 0), (0, 0), (3, 3)])
def test_what_a_command_returns(value: int | None, code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["wardround-test"])
    assert command_line.run(app_that(value=value), "wardround-test") == code


def test_a_sentence_is_one_line_and_names_the_file() -> None:
    assert command_line.sentence_of(ValueError("two\n   lines")) == "two lines"
    missing = FileNotFoundError(2, "No such file or directory", str(Path("some") / "where"))
    assert command_line.sentence_of(missing) == (
        "some/where: No such file or directory; check the path and its permissions"
    )


def test_json_is_one_object_a_line_with_names_as_written(capsys: pytest.CaptureFixture[str]) -> None:
    command_line.say_json({"hospital": "Städtisches\nKlinikum"})
    (line,) = capsys.readouterr().out.splitlines()
    assert "Städtisches" in line
    assert json.loads(line) == {"hospital": "Städtisches\nKlinikum"}
