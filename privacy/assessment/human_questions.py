"""The chapters of the assessment and the questions that only people can answer.

Order of the EDPB harmonised template for data protection impact assessments (v1.0, 2026). A question starts as MISSING
and is framed in red until its owner answers it; nothing here has a default answer.
"""

from __future__ import annotations

from collections.abc import Sequence

from privacy.assessment.evidence import HumanQuestion

SECTIONS: tuple[tuple[str, str], ...] = (
    ("parties", "Parties and roles"),
    ("description", "Description of the processing"),
    ("principles", "Lawfulness and principles"),
    ("necessity", "Necessity and alternatives"),
    ("evidence", "Evidence of this run"),
    ("audits", "Audits by attack"),
    ("threats", "Threats and controls"),
    ("risk", "Risk to people"),
    ("actions", "Action plan"),
    ("consultation", "Consultation"),
    ("advice", "Advice of the data protection officers"),
    ("decision", "Decision and signatures"),
    ("review", "Review triggers"),
)

# id, chapter, owner, once for all ("joint") or once for each hospital ("each"), question
_QUESTIONS: tuple[tuple[str, str, str, str, str], ...] = (
    ("H-ROLES", "parties", "controller", "joint", "Who is controller, joint controller and processor, and where is that agreed in writing?"),
    ("H-CONTACT", "parties", "controller", "each", "Who is the contact for patients who ask about this study?"),
    ("H-PURPOSE", "description", "clinical lead", "joint", "Is the purpose in the study file the purpose that was approved?"),
    ("H-LAWFUL", "principles", "controller", "each", "What is the lawful basis, and which exception of Article 9(2) GDPR applies?"),
    ("H-RETENTION", "principles", "controller", "each", "How long are the extract, the journal and the ledger kept, and who deletes them?"),
    ("H-OPTOUT", "principles", "controller", "each", "How can a patient object or withdraw, and by when does it take effect?"),
    ("H-NPUBLIC", "principles", "controller", "each", "Was the declared size of the hospital written down before the extract was made?"),
    ("H-NECESSITY", "necessity", "clinical lead", "joint", "Why is each variable needed, and why is a less intrusive design not enough?"),
    ("H-ONE-SITE", "necessity", "clinical lead", "joint", "Can one patient appear at two hospitals, and is the printed loss acceptable if so?"),
    ("H-STOPS", "evidence", "controller", "joint", "Did any stop or repetition of the run depend on patient data outside what was paid for?"),
    ("H-BUDGET", "evidence", "expert statistician", "each", "Why is the budget in the policy file acceptable for these patients?"),
    ("H-THREATS", "threats", "information security", "each", "Are the residual threats accepted, and what compensates for controls that are not built?"),
    ("H-RESIDUAL", "risk", "controller", "each", "Which risk to people remains: severity, likelihood, and who accepts it?"),
    ("H-ACTIONS", "actions", "controller", "joint", "Which gaps are closed, by whom and by when?"),
    ("H-CONSULT", "consultation", "patients' representative", "joint", "Who was consulted, and what did they say?"),
    ("H-ADVICE", "advice", "data protection officer", "each", "What is the advice of the data protection officer?"),
    ("H-DECISION", "decision", "controller", "each", "Does the controller approve, approve with conditions, or reject?"),
    ("H-REVIEW", "review", "controller", "joint", "When is this assessment looked at again at the latest?"),
)  # fmt: skip


def open_questions(hospitals: Sequence[str]) -> tuple[HumanQuestion, ...]:
    """Every question in state MISSING: joint ones once, the others once for each hospital."""
    return tuple(
        HumanQuestion(
            id=f"{identifier}:{scope}", section=section, owner=owner, hospital=scope, question=question
        )
        for identifier, section, owner, once, question in _QUESTIONS
        for scope in (("joint",) if once == "joint" else tuple(hospitals))
    )
