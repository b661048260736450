"""What the ledger says of a study: its data epoch, its name, and rounds of it that came to nothing."""

from collections.abc import Collection, Sequence

from privacy.ledgers.account import Account
from privacy.ledgers.ledger import Entry
from privacy.ledgers.policy_file import Policy
from privacy.ledgers.policy_refusal import PolicyRefusal
from privacy.ledgers.study_terms import StudyTerms


def check_epoch(policy: Policy, terms: StudyTerms, account: Account) -> None:
    """The table that the policy is about is the one whose budget is asked, and a study stays within one epoch."""
    if policy.data_epoch != account.epoch:
        raise PolicyRefusal(
            "data_epoch",
            f"data of epoch {policy.data_epoch!r}",
            f"epoch {account.epoch!r} of the ledger; if no patient is in an earlier table, begin the epoch with `wardround-hospital epoch`",
        )
    if terms.study_hash in account.earlier:
        raise PolicyRefusal(
            "data_epoch", f"study {terms.study_id!r}, begun in an earlier epoch", "a study of one data epoch"
        )


def check_name(terms: StudyTerms, entries: Sequence[Entry]) -> None:
    """One accepted study file is one agreement: what differs only in its noise is not run beside it."""
    for record in (entry.record for entry in entries):
        released = record.release is not None or record.round > 0
        if released and record.study_id == terms.study_id and record.study_hash != terms.study_hash:
            raise PolicyRefusal(
                "study_id",
                f"study {terms.study_id!r} under agreement {terms.study_hash[:16]}",
                f"agreement {record.study_hash[:16]}, under which it released before; another study needs another id",
            )


def check_aborts(policy: Policy, terms: StudyTerms, account: Account) -> None:
    """Rounds of this study that were reserved and came to nothing, over all its sessions."""
    aborted = account.aborted.get(terms.study_hash, 0)
    if aborted > policy.aborted_rounds_maximum:
        raise PolicyRefusal(
            "aborted_rounds_maximum", str(aborted), f"at most {policy.aborted_rounds_maximum}"
        )


def check_lost(policy: Policy, terms: StudyTerms, account: Account, finished: Collection[int]) -> None:
    """Rounds of this study that were reserved, or noted in mode none, and have no receipt though a later one was begun, whether or not anybody said so."""
    begun = account.begun.get(terms.study_hash, set())
    # The latest may have a receipt on its way, or one that a broken connection swallowed.
    lost = begun - {0, max(begun, default=0), *finished}
    if len(lost) > policy.aborted_rounds_maximum:
        raise PolicyRefusal(
            "aborted_rounds_maximum",
            f"{len(lost)} rounds without a receipt",
            f"at most {policy.aborted_rounds_maximum}",
        )
