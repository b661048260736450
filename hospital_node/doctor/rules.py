"""Does the policy say what this hospital permits, and is what it permits installed?"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from importlib.util import find_spec

from hospital_node.doctor.case import Case, held
from hospital_node.doctor.finding import Check, Finding, failed, ok, warn
from privacy.ledgers.policy_file import Policy, read_policy
from privacy.studies.study import Study
from privacy.studies.training import resolve_training

SOON = timedelta(days=30)
EXAMPLE = "deploy/actg175_policy.toml has every key with a comment"


def look_at_policy(case: Case) -> Finding:
    case.policy = read_policy(case.home.policy)
    return judge_policy(case.policy, case.clock.now().date())


def judge_policy(policy: Policy, today: date) -> Finding:
    """Whether it permits anything on this day."""
    until = f"{policy.expires:%Y-%m-%d}"
    remedy = "whoever answers for it reads policy.toml again and sets `expires` to a later day"
    if today > policy.expires:
        return failed(f"policy.toml expired on {until} and permits nothing", remedy)
    if policy.expires - today <= SOON:
        return warn(f"policy.toml permits nothing after {until}", remedy)
    return ok(f"policy.toml is readable and holds until {until}")


def look_at_packages(case: Case) -> Finding:
    return judge_packages(held(case.policy), case.study, lambda module: find_spec(module) is not None)


def judge_packages(policy: Policy, study: Study | None, installed: Callable[[str], bool]) -> Finding:
    """torch and opacus for networks, SDV for its stage; one hidden layer needs none of them."""
    lacking = [module for module in ("torch", "opacus") if not installed(module)]
    if lacking and study is not None and len(resolve_training(study).hidden) > 1:
        return failed(
            f"the study trains a network of several layers, and not installed: {', '.join(lacking)}",
            "pip install -c deploy/constraints.txt -e '.[hospital]' (README, PyTorch)",
        )
    if lacking and "mlp" in policy.families:
        return warn(
            f"the policy permits networks (mlp), and not installed: {', '.join(lacking)}; one hidden layer needs neither",
            "pip install -c deploy/constraints.txt -e '.[hospital]' (README, PyTorch), or leave mlp out of `families`",
        )
    if "synthetic_sdv" in policy.stages and not installed("sdv"):
        return warn(
            "the policy permits stage synthetic_sdv, and sdv is not installed",
            "read its license, then pip install -c deploy/constraints.txt -e '.[hospital,sdv]'; or leave it out of `stages`",
        )
    return ok(f"what the families {', '.join(policy.families) or 'of the policy'} need is there")


POLICY = Check("policy", look_at_policy, needs=("home",), remedy=f"correct policy.toml; {EXAMPLE}")
PACKAGES = Check("packages", look_at_packages, needs=("policy",))
