"""A synthetic table that somebody asks a hospital for: what it is, what it costs, and what may be said of it."""

from dataclasses import dataclass
from typing import Literal, Self

from privacy.guarantees.accounting import spent
from privacy.guarantees.guarantee import Guarantee
from privacy.guarantees.plan import DpPlan
from privacy.guarantees.stage_effect import SDV
from privacy.guarantees.stage_release import VoidRelease
from privacy.ledgers.study_terms import StudyTerms
from privacy.link.canonical import canonical, sha256_hex
from privacy.patients.dictionary import Dictionary
from privacy.studies.study import Study
from privacy.synthesis.releases import check_synthesizable, synthesis_plan

Engine = Literal["dp", "sdv"]

# Another way to sum would be another release.
VERSION = 1
VIEW = "whoever gets the synthetic table"
NOT_ALONE = "what else this hospital releases about the same patients is not in this number; its ledger adds all of it up"
GATED = (
    "the table exists because a check of the real patients let it pass; that it exists is outside the number"
)
SDV_LICENSE = "SDV: Business Source License 1.1 (BUSL-1.1); its grant excludes a commercial service that gives third parties its functions"
SDV_STAGE = VoidRelease("synthetic_sdv", SDV)


@dataclass(frozen=True, slots=True)
class SynthesisRequest:
    """One table.

    Attributes:
        study: its dictionary, horizon and grid; its purpose is what a policy is asked for.
        engine: "dp", or "sdv", which promises nothing.
        plan: of the DP engine; None for "sdv".
        use: what a consent register was asked, so that other permitted patients are another release; () without one.
        epoch: name of the hospital's data epoch: other patients, another release.
        gated: whether a table that fails the quality gate is held back; the same sums either way.
    """

    study: Study
    engine: Engine
    plan: DpPlan | None
    use: tuple[str, ...] = ()
    epoch: str = ""
    gated: bool = False

    @classmethod
    def dp(
        cls,
        study: Study,
        epsilon: float,
        delta: float,
        *,
        use: tuple[str, ...] = (),
        epoch: str = "",
        gated: bool = False,
    ) -> Self:
        """A table whose patients' contribution is (epsilon, delta)-DP.

        Raises:
            NotBuilt: left truncation or competing risks.
            PlanError: epsilon or delta out of range.
        """
        return cls(study, "dp", synthesis_plan(epsilon, delta, study.dictionary), use, epoch, gated)

    @classmethod
    def sdv(cls, study: Study, *, use: tuple[str, ...] = (), epoch: str = "", gated: bool = False) -> Self:
        """A table without a guarantee.

        Raises:
            NotBuilt: left truncation or competing risks.
        """
        check_synthesizable(study.dictionary)
        return cls(study, "sdv", None, use, epoch, gated)

    @property
    def hash(self) -> str:
        """SHA-256 of all that decides what is released; equal requests are one drawing, whatever study asks."""
        keys = {"name", "type", "role", "unit", "minimum", "maximum", "log1p", "categories", "missing"}
        return sha256_hex(
            canonical(
                {
                    "version": VERSION,
                    "engine": self.engine,
                    "fields": [
                        field.model_dump(mode="json", include=keys) for field in self.study.dictionary.fields
                    ],
                    "horizon_days": self.study.horizon_days,
                    "intervals": self.study.intervals,
                    "plan": None if self.plan is None else self.plan.to_json(),
                    "use": list(self.use),
                    "epoch": self.epoch,
                }
            )
        )

    @property
    def id(self) -> str:
        """Name in the ledger."""
        return f"synthetic-{self.engine}-{self.hash[:16]}"

    @property
    def guarantee(self) -> Guarantee:
        """What may be said of the table, and of everything that is made from it alone."""
        if self.plan is None:
            return Guarantee.none(SDV, view=VIEW)
        found = spent(self.plan.charges, self.plan.delta, view=VIEW)
        more = tuple(said for said in (self.study.row_assumption, GATED if self.gated else "") if said)
        return Guarantee.dp(
            found.number(), self.plan.delta, view=VIEW, assumptions=(*found.assumptions, *more, NOT_ALONE)
        )

    @property
    def terms(self) -> StudyTerms:
        """The request as a policy sees it: the study with a stage of its own, noised by this hospital alone."""
        study, plan = self.study, self.plan
        return StudyTerms(
            mode="none" if plan is None else "local",
            plan=plan,
            family=study.model.family,
            stage="synthetic_sdv" if plan is None else "synthetic_dp",
            purpose=study.purpose,
            threshold=study.threshold,
            colluding=study.colluding,
            n=len(study.hospitals),
            epsilon=None if plan is None else plan.epsilon,
            delta=None if plan is None else plan.delta,
            study_id=self.id,
            study_hash=self.hash,
            fields=tuple((field.name, field.purpose) for field in study.fields),
            duo=study.about.duo,
        )


def dictionary_hash(dictionary: Dictionary) -> str:
    """SHA-256 of the fields as the study file declares them."""
    return sha256_hex(canonical([field.model_dump(mode="json") for field in dictionary.fields]))


def metadata(request: SynthesisRequest, table: str, table_sha256: str, patients: int) -> dict[str, object]:
    """What lies beside a synthetic table.

    Args:
        request: what was asked.
        table: file name.
        table_sha256: of its bytes.
        patients: rows in it, which the caller chose or a noised count gave.
    """
    body: dict[str, object] = {
        "table": table,
        "sha256": table_sha256,
        "synthetic_patients": patients,
        "engine": request.engine,
        "guarantee": request.guarantee.to_json(),
        "study": request.study.id,
        "dictionary_sha256": dictionary_hash(request.study.dictionary),
        "horizon_days": request.study.horizon_days,
        "release": request.hash,
    }
    if request.plan is None:
        return body | {"license": SDV_LICENSE}
    return body | {"releases": [release.to_json() for release in request.plan.releases]}
