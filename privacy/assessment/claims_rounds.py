"""Claims about rounds: receipts, cohorts, who was missing, what was aborted, and whether ledgers and rounds agree."""

from __future__ import annotations

from collections.abc import Iterator

from privacy.assessment.evidence import AGREEMENT, LEDGERS, RECEIPTS, RESULT, ROUNDS, Evidence, RoundRecord
from privacy.assessment.pia_schema import Claim
from privacy.assessment.recompute import Facts
from privacy.assessment.recompute_rounds import RoundFacts
from privacy.assessment.statements import attested, failed, gap, not_applicable, undefined, verified

SECTION = "evidence"


def rounds(evidence: Evidence, facts: Facts) -> Iterator[Claim]:
    """Claims on secure aggregation; one gap when there is no record of rounds at all."""
    if evidence.rounds is None:
        yield gap("E-ROUNDS", SECTION, "There is no readable record of rounds.", threats=("FL-03", "FL-35"))
        return
    done = [item for item in facts.rounds if item.record.status == "done"]
    yield _receipts(done, facts)
    yield from _threshold(evidence, done)
    yield from _graph(evidence)
    yield _missing(done)
    yield _aborted(facts)
    yield from _ledgers_follow(evidence, facts)
    yield _isolable(evidence, facts)
    yield _result_cohort(evidence, facts, done)


def _receipts(done: list[RoundFacts], facts: Facts) -> Claim:
    """Signatures, chain, and agreement between receipts and records."""
    absent = [str(item.record.round) for item in done if item.problem == "missing"]
    wrong = [
        f"round {item.record.round}: {item.problem}"
        for item in facts.rounds
        if item.problem not in ("", "missing")
    ]
    wrong += [f"{path} belongs to no recorded round" for path in facts.stray_receipts]
    paths = (RECEIPTS,)
    threats = ("FL-03", "FL-07", "FL-09", "FL-35")
    if wrong:
        text = f"Receipts and the record of rounds do not agree: {'; '.join(wrong)}."
        return failed("E-RECEIPTS", SECTION, text, (ROUNDS, *paths), threats)
    if absent or not done:
        text = (
            f"No receipt for round {', '.join(absent)}."
            if absent
            else "No round was finished: there is no sum and no receipt."
        )
        return gap("E-RECEIPTS", SECTION, text, threats=threats)
    return verified(
        "E-RECEIPTS",
        SECTION,
        f"All {len(done)} finished rounds have a receipt signed by the coordinator, chained to the one before; in each the "
        "list of hospitals in the sum is signed by at least the threshold of the hospitals on it.",
        (ROUNDS, *paths),
        "It shows who was summed and under which order, not that each hospital uploaded what it should have.",
        threats,
    )


def _threshold(evidence: Evidence, done: list[RoundFacts]) -> Iterator[Claim]:
    if evidence.agreement is None or not done:
        return
    agreed = evidence.agreement.threshold
    small = [
        str(item.record.round)
        for item in done
        if len(item.receipt.members if item.receipt else item.record.answered) < agreed
    ]
    paths = (ROUNDS, RECEIPTS)
    if small:
        text = f"The sum of round {', '.join(small)} is over fewer hospitals than the agreed threshold of {agreed}."
        yield failed("E-COHORT", SECTION, text, paths, ("FL-03",))
    elif all(item.receipt for item in done):
        smallest = min(len(item.receipt.members) for item in done if item.receipt)
        yield verified(
            "E-COHORT",
            SECTION,
            f"No sum is over fewer hospitals than the threshold of {agreed}; the smallest is over {smallest}.",
            paths,
            "What holds for a sum over few hospitals nearly holds for each of them.",
            ("FL-03", "FL-05"),
        )


def _graph(evidence: Evidence) -> Iterator[Claim]:
    """The sparse graph is the one choice of secure aggregation that may fail by chance; the assessment says how rarely."""
    graph = None if evidence.agreement is None else evidence.agreement.study.graph
    if graph is None:
        return
    sentence = graph.sentence()
    yield verified(
        "E-GRAPH",
        SECTION,
        f"Secure aggregation ran over a {sentence}.",
        (AGREEMENT,),
        "Recomputed from the agreement; hospitals that are broken into once the graph is known are not covered. That no hospital helps to "
        "draw more than 8 graphs is kept by each hospital's own journal, which is no part of this evidence.",
        ("FL-03", "FL-05"),
    )


def _missing(done: list[RoundFacts]) -> Claim:
    """Who was not in a sum, by name; a receipt signs it, the record is compared with the receipt."""
    gone = [
        f"{missing.hospital} in round {item.record.round} (at {missing.step})"
        for item in done
        for missing in item.record.missing
    ]
    text = (
        f"Missing from a sum: {'; '.join(gone)}. The sums are over the others alone."
        if gone
        else "Every hospital is in every sum."
    )
    return attested(
        "E-MISSING",
        SECTION,
        text,
        (ROUNDS,),
        "Why a hospital fell silent is not known to the coordinator; the step is the one that it did not finish.",
        ("FL-04",),
    )


def _aborted(facts: Facts) -> Claim:
    aborted = [item.record for item in facts.rounds if item.record.status == "aborted"]
    if not aborted:
        text = "No round was aborted."
    else:
        listed = "; ".join(f"round {record.round} ({record.task})" for record in aborted)
        text = (
            f"Aborted, nothing opened: {listed}. What hospitals had reserved or sent for them stays charged."
        )
    return attested(
        "E-ABORTED",
        SECTION,
        text,
        (ROUNDS,),
        f"Told by the coordinator{_begun(aborted, facts)}. That nothing was opened is its word alone.",
        ("FL-15",),
    )


def _begun(aborted: list[RoundRecord], facts: Facts) -> str:
    """Which hospitals' ledgers know the aborted rounds: these may have uploaded, and somebody may have opened them."""
    known = [
        f"{record.round} at {', '.join(names)}"
        for record in aborted
        if (names := [item.hospital for item in facts.ledgers if record.round in item.named_rounds])
    ]
    return f"; by the ledgers, begun: round {'; round '.join(known)}" if known else ""


def _ledgers_follow(evidence: Evidence, facts: Facts) -> Iterator[Claim]:
    """Every hospital in a sum wrote that round into its ledger, and no ledger knows a round that the record hides."""
    if evidence.agreement is None:
        return
    paid, was = ("paid", "charged") if evidence.agreement.plan is not None else ("noted it", "asked")
    wrong: list[str] = []
    for ledger in facts.ledgers:
        if ledger.problem:
            continue
        # What came after an open ledger was exported cannot be in it.
        last = None if ledger.final else max(ledger.named_rounds, default=0)
        unpaid = sorted(
            item.record.round
            for item in facts.rounds
            if item.record.status == "done"
            and ledger.hospital in item.record.answered
            and item.record.round not in ledger.paid_rounds
            and (last is None or item.record.round <= last)
        )
        hidden = sorted(facts.hidden_rounds & ledger.named_rounds)
        if unpaid:
            wrong.append(f"{ledger.hospital} is in the sum of round {_join(unpaid)} without having {paid}")
        if hidden:
            wrong.append(
                f"{ledger.hospital} was {was} for round {_join(hidden)}, which the record leaves out"
            )
    readable = any(not ledger.problem for ledger in facts.ledgers)
    if wrong:
        text = f"Ledgers and rounds do not agree: {'; '.join(wrong)}."
        yield failed("E-PAID", SECTION, text, (ROUNDS, LEDGERS), ("FL-15", "FL-31"))
    elif readable:
        wrote = "written the charge for" if evidence.agreement.plan is not None else "noted"
        yield verified(
            "E-PAID",
            SECTION,
            f"Every hospital in a sum had {wrote} that round, and the ledgers know no round that the record leaves out.",
            (ROUNDS, LEDGERS),
            f"{_not_covered(facts)} Covers the ledgers that are in the bundle.".strip(),
            ("FL-15", "FL-31"),
        )


def _not_covered(facts: Facts) -> str:
    """Whose ledgers say nothing about the end of the study."""
    names = ", ".join(facts.unaccounted)
    return (
        f"No closed ledger of {names}: rounds that these alone were asked for would not show."
        if names
        else ""
    )


def _join(numbers: list[int]) -> str:
    return ", ".join(str(number) for number in numbers)


def _isolable(evidence: Evidence, facts: Facts) -> Claim:
    """Whether sums over different cohorts can be subtracted until one hospital is left."""
    dp = evidence.agreement is not None and evidence.agreement.plan is not None
    if not dp and not facts.isolable:
        unknown = _rank_unknown(facts)
        if unknown:
            text = f"Whether sums can be subtracted until one hospital is left is not known: {unknown}."
            return gap(
                "E-RANK", SECTION, text, "Without noise, one hospital's exact vector is at stake.", ("FL-04",)
            )
    if not facts.isolable:
        return verified(
            "E-RANK",
            SECTION,
            f"No hospital can be isolated by combining sums (rank of the participation matrix: {facts.participation_rank}).",
            (ROUNDS,),
            "Linear combinations only, with a model that stands still; a bound, not a simulation of an attack.",
            ("FL-04",),
        )
    names = ", ".join(facts.isolable)
    if dp:
        return verified(
            "E-RANK",
            SECTION,
            f"Cohorts differ between rounds, so sums can be combined towards {names} alone. "
            + (
                "Each of its updates is made of its private synthetic patients, and the printed number counts those."
                if evidence.agreement is not None and evidence.agreement.noising is None
                else "Each of its updates carries its own noise, and the printed number counts the updates one by one."
            ),
            (ROUNDS,),
            "Secrecy among hospitals is weaker for those named; the bound for patients does not change.",
            ("FL-04",),
        )
    text = f"Without noise, the sums of rounds with different cohorts can be subtracted until {names} is left alone."
    return undefined("E-RANK", SECTION, text, (ROUNDS,), ("FL-04",))


def _rank_unknown(facts: Facts) -> str:
    """Why the recorded sums may not be all that were opened; "" where closed ledgers of everybody know no other round."""
    if facts.hidden_rounds:
        return f"ledgers note round {_join(sorted(facts.hidden_rounds))}, which the record leaves out"
    if facts.unaccounted:
        return f"no closed ledger of {', '.join(facts.unaccounted)} shows which rounds there were"
    begun = {
        item.record.round
        for item in facts.rounds
        if item.record.status == "aborted"
        and any(item.record.round in ledger.named_rounds for ledger in facts.ledgers)
    }
    if begun:
        return f"that round {_join(sorted(begun))} was aborted and not opened is the coordinator's word alone"
    return ""


def _result_cohort(evidence: Evidence, facts: Facts, done: list[RoundFacts]) -> Claim:
    """The result names as answering and missing whom the receipts name."""
    result = evidence.result
    if result is None:
        return gap("E-NAMED", SECTION, "No readable result file: whom it names cannot be compared.")
    if not done:
        return not_applicable("E-NAMED", SECTION, "No round was finished, so no result names a cohort.", "-")
    answered = set(done[-1].record.answered)
    missing = {gone.hospital for item in facts.rounds for gone in item.record.missing}
    said = set(result.cohort.answered)
    said_missing = {gone.hospital for gone in result.cohort.missing}
    if said != answered or not missing <= said_missing:
        text = "The result names other hospitals as answering or missing than the record of rounds."
        return failed("E-NAMED", SECTION, text, (RESULT, ROUNDS), ("FL-36",))
    return verified(
        "E-NAMED",
        SECTION,
        "The result names the hospitals of the last sum, and everyone who was missing from a round.",
        (RESULT, ROUNDS),
        "A hospital that missed a round and came back is named as both.",
        ("FL-36",),
    )
