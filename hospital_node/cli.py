"""`wardround-hospital`: what a hospital's operator types."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from hospital_node.consent_cli import app as consent_app
from hospital_node.data_cli import app as data_app
from hospital_node.doctor import command as doctor
from hospital_node.home import Home
from hospital_node.options import DATA, DROP, HOME, JSON, STUDY
from privacy.guarantees.guarantee import rounded_up
from privacy.link import command_line
from privacy.link.command_line import say, say_json

app = typer.Typer(
    name="wardround-hospital",
    help="Take part in a study without a record leaving the hospital. First: `wardround-hospital init --help`.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
study_app = typer.Typer(
    help="Read a study before you take part.", no_args_is_help=True, rich_markup_mode=None
)
app.add_typer(data_app, name="data")
app.add_typer(study_app, name="study")
app.add_typer(consent_app, name="consent")


@app.command(
    epilog="Example: wardround-hospital init north --home /srv/wardround --contact 'Dr. Osei, +44 20 7946 0000'"
)
def init(
    hospital: Annotated[str, typer.Argument(help="Id of this hospital, as it will stand on the roster.")],
    home: HOME,
    contact: Annotated[str, typer.Option(help="Whom the others call to compare fingerprints.")] = "",
    as_json: JSON = False,
) -> None:
    """Make this hospital's keys and the enrolment file for the coordinator. Private keys never leave the folder."""
    from hospital_node import enrolment, keys
    from hospital_node.entropy import OsEntropy
    from privacy.link.certificates import fingerprint_groups

    place = Home(home)
    place.prepare()
    own = keys.create(place.keys, hospital, entropy=OsEntropy().random_bytes, now=datetime.now(UTC))
    path = enrolment.write_enrolment(place.keys, contact)
    prints = {
        "identity": fingerprint_groups(own.identity_public),
        "certificate": fingerprint_groups(own.certificate.sha256),
    }
    if as_json:
        say_json({"enrolment": str(path), "fingerprints": prints})
        return
    say(f"keys are in {place.keys}, readable by you alone")
    say(f"send {path} to the coordinator; it holds nothing secret")
    say("read these to whoever asks by phone:")
    for what, groups in prints.items():
        say(f"  {what:12} {groups}")


@app.command(epilog="Example: wardround-hospital enrol consortium.draft.json --home /srv/wardround")
def enrol(
    consortium: Annotated[
        Path, typer.Argument(help="Draft or complete consortium file from the coordinator.")
    ],
    home: HOME,
    yes: Annotated[bool, typer.Option("--yes", help="The fingerprints were compared already.")] = False,
) -> None:
    """Sign a draft of the roster after comparing the fingerprints by phone; keep a complete one."""
    from hospital_node import enrolment
    from privacy.link.roster_file import read_consortium

    place = Home(home)
    say(enrolment.show_roster(consortium))
    held = read_consortium(consortium.read_bytes(), str(consortium))
    if set(held.signatures) == set(held.roster.ids):
        enrolment.accept_roster(place.keys, consortium)
        say("kept: every hospital signed this roster; it is now the only thing this hospital trusts")
        return
    if not yes and not typer.confirm("Did you compare every fingerprint with its owner by phone?"):
        raise typer.Exit(command_line.REFUSED)
    path = enrolment.sign_roster(place.keys, consortium)
    say(f"signed; send {path} to the coordinator")


@study_app.command(
    "show", epilog="Example: wardround-hospital study show --study study.toml --home /srv/wardround"
)
def study_show(study: STUDY, home: HOME, as_json: JSON = False) -> None:
    """What a study asks of this hospital, and whether its policy and budget permit it. No data is read."""
    from hospital_node import keys
    from hospital_node.clock import SystemClock
    from hospital_node.ledger_store import LedgerStore
    from hospital_node.stated_terms import terms_of
    from privacy.guarantees.stage_release import VoidRelease
    from privacy.ledgers.charges import is_closed
    from privacy.ledgers.policy import check
    from privacy.ledgers.policy_file import read_policy
    from privacy.studies.agreement import build
    from privacy.studies.study import load_study

    place = Home(home)
    policy = read_policy(place.policy)
    place.prepare()
    agreement = build(load_study(study))
    clock = SystemClock()
    with LedgerStore(place.ledger, keys.load(place.keys).identity_private, clock) as ledger:
        permit = check(policy, terms_of(agreement), ledger.entries(), clock.now())
        closed = is_closed(ledger.entries(), agreement.hash)
    body = {
        "study": agreement.study.id,
        "study_hash": agreement.hash,
        "permitted": True,
        "closed": closed,
        "before": permit.before.to_json(),
        "after": permit.after.to_json(),
        "epsilon_total": policy.epsilon_total,
        "graph": "complete" if agreement.study.graph is None else agreement.study.graph.sentence(),
    }
    if as_json:
        say_json(body)
        return
    say(f"{agreement.study.id}: {agreement.study.title}")
    say(f"study hash {agreement.hash}")
    if agreement.study.graph is not None:
        say(f"secure aggregation over a {agreement.study.graph.sentence()}")
    if closed:
        say("closed in this hospital's ledger: nothing more of it is released; what it cost is charged below")
    if agreement.plan is None:
        say("mode none: no noise, no formal guarantee; your policy permits it")
        return
    if isinstance(agreement.plan.stage, VoidRelease):
        say(f"permitted, without any formal guarantee. {permit.after.reason}")
        return
    if permit.after.epsilon is None:
        plan = agreement.plan
        say(
            f"permitted; epsilon of this study is {plan.epsilon:g} at delta {plan.delta:g} per patient (add/remove)"
        )
        say(f"all studies together have no formal guarantee. {permit.after.reason}")
        return
    say(
        f"permitted; per patient (add/remove, delta {policy.delta_total:g}) epsilon is {rounded_up(permit.before.number(), 3)} before, "
        f"{rounded_up(permit.after.number(), 3)} after, limit {policy.epsilon_total:g}"
    )


@app.command(
    epilog="Example: wardround-hospital run --home /srv/wardround --study study.toml --data extract.csv --coordinator host:7443"
)
def run(
    home: HOME,
    study: STUDY,
    data: DATA,
    coordinator: Annotated[
        str, typer.Option("--coordinator", help="host:port", callback=command_line.address)
    ],
    confirm: Annotated[
        bool, typer.Option("--confirm", help="Ask before anything leaves; answer on standard input.")
    ] = False,
    patience_s: Annotated[
        float, typer.Option(help="Give up after so many seconds without a connection; 0: never.")
    ] = 0.0,
    drop_undeclared: DROP = False,
    as_json: JSON = False,
) -> None:
    """Take part in one study until it is over."""
    from hospital_node.node_words import NodeEvent, Outgoing
    from hospital_node.service import Settings, ask_on_terminal, serve
    from privacy.studies.study import load_study

    def report(event: NodeEvent) -> None:
        if as_json:
            say_json({"event": event.event, "text": event.text, "round": event.round})
        else:
            say(event.text)

    def ask(outgoing: Outgoing) -> bool:
        if as_json:
            say_json(
                {"event": "confirm", "step": outgoing.step, "round": outgoing.round, "text": outgoing.text}
            )
        return ask_on_terminal(outgoing)

    settings = Settings(
        Home(home), load_study(study), data, coordinator, patience_s or None, confirm, drop_undeclared
    )
    raise typer.Exit(serve(settings, report, ask))


app.command("doctor", epilog=doctor.EPILOG)(doctor.doctor)


@app.command(epilog="Example: wardround-hospital ledger --home /srv/wardround")
def ledger(home: HOME, as_json: JSON = False) -> None:
    """Every release that was ever charged, what all of them together may reveal about one patient, and what one more study would."""
    from hospital_node import keys
    from hospital_node.clock import SystemClock
    from hospital_node.ledger_page import page
    from hospital_node.ledger_store import LedgerStore
    from privacy.ledgers.ledger_overview import overview
    from privacy.ledgers.policy_file import read_policy

    place = Home(home)
    policy = read_policy(place.policy)
    with LedgerStore(place.ledger, keys.load(place.keys).identity_private, SystemClock()) as store:
        entries = store.entries()
    shown = overview(entries, policy)
    if as_json:
        for entry in entries:
            say_json({"seq": entry.seq, **entry.record.to_json()})
        say_json(shown.to_json())
        return
    for line in page(entries, shown, policy.delta_total):
        say(line)


@app.command(epilog="Example: wardround-hospital epoch '2026 extract' --home /srv/wardround")
def epoch(
    name: Annotated[str, typer.Argument(help="Name of the data epoch, as it stands in policy.toml.")],
    home: HOME,
    yes: Annotated[
        bool, typer.Option("--yes", help="No patient of the new table is in an earlier one.")
    ] = False,
) -> None:
    """Begin a data epoch: its studies have a budget of their own, because its patients are others."""
    from hospital_node import keys
    from hospital_node.clock import SystemClock
    from hospital_node.ledger_store import LedgerStore
    from privacy.ledgers.data_epoch import check_new, epoch_note
    from privacy.ledgers.ledger import GENESIS

    place = Home(home)
    place.prepare()
    try:
        text = epoch_note(name)
    except ValueError as error:
        command_line.say_error(str(error))
        raise typer.Exit(command_line.BAD_INPUT) from None
    say("patients who are in this table and in an earlier one would be protected less than any figure says")
    if not yes and not typer.confirm("Is no patient of the new table in the table of an earlier epoch?"):
        raise typer.Exit(command_line.REFUSED)
    with LedgerStore(place.ledger, keys.load(place.keys).identity_private, SystemClock()) as store:
        try:
            store.note(
                study_hash=GENESIS,
                study_id="",
                session="",
                text=text,
                permit=lambda held: check_new(held, name),
            )
        except ValueError as error:
            command_line.say_error(str(error))
            raise typer.Exit(command_line.REFUSED) from None
    say(f'{text}; write data_epoch = "{name}" into policy.toml')


def main() -> None:
    """Entry point of the script."""
    raise SystemExit(command_line.run(app, "wardround-hospital"))


if __name__ == "__main__":
    main()
