"""`python -m tests.bench.dp_step --json`: CPU time of one private step of training beside steps that protect nobody.

CPU time of the process, all threads together, medians over interleaved repetitions of one run, seconds a step. Conditions:

- Every step takes `batch` patients of the same table of ten times as many: about so many by Poisson sampling in dp, exactly so many at
  random in the others.
- dp is `hospital_node.dp_sgd.train_local` under a plan: clipped exact integer sum, exact noise, Adam. plain is the closed-form gradient
  and the same Adam.
- autograd is a non-private step in torch: the same loss, backward and torch's Adam.
- opacus is that step through its hooks, one gradient row a patient, its clipping and its floating-point noise; ghost is its ghost
  clipping, which needs no rows. Neither of the two protects against the leak of floating-point noise.
- Double precision for numpy, single for torch; one thread, because small matrices gain nothing from two.
"""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from statistics import median
from time import process_time
from typing import Any

import numpy as np

from hospital_node.dp_sgd import _Optimizer, learning_rate, train_local
from hospital_node.entropy import DiscreteGaussian, OsEntropy
from hospital_node.survival.follow_up import FollowUp
from hospital_node.survival.model import SurvivalModel, build_model
from privacy.guarantees.plan import DpPlan, Release
from privacy.studies.layout import Layout
from privacy.studies.training import Training

COLUMNS, INTERVALS, HIDDEN = 20, 10, 16
RATE, STEPS = 0.1, 20
BATCHES = (64, 256, 1024, 4096)
REPEATS = 15
MODELS: Mapping[str, tuple[int, ...]] = {"piecewise_exponential": (), "mlp": (HIDDEN,)}
CLIP = 1.0
NOISE = 2.0


@dataclass(frozen=True, slots=True)
class Line:
    """One case, seconds of CPU a step."""

    model: str
    batch: int
    dp_s: float
    plain_s: float
    autograd_s: float
    opacus_s: float
    ghost_s: float


def made_up(patients: int) -> FollowUp:
    """Patients within public bounds; about a third have the event."""
    rng = np.random.default_rng(1)
    x = rng.uniform(-1, 1, (patients, COLUMNS))
    leaves = rng.integers(0, INTERVALS, patients)
    exposure = (np.arange(INTERVALS) < leaves[:, None]).astype(np.float64)
    exposure[np.arange(patients), leaves] = rng.uniform(size=patients)
    events = np.zeros((patients, INTERVALS))
    events[np.arange(patients), leaves] = rng.random(patients) < 1 / 3
    return FollowUp(x, exposure, events)


def training(hidden: tuple[int, ...]) -> Training:
    """Twenty steps of one round."""
    return Training.model_validate(
        {
            "family": "mlp" if hidden else "piecewise_exponential",
            "recipe": "dp_sgd",
            "strategy": "fedavg",
            "rounds": 1,
            "local_steps": STEPS,
            "sample_rate": RATE,
            "clip_l2": CLIP,
            "optimizer": "adam",
            "learning_rate": 0.05,
            "learning_rate_final_share": 0.1,
            "server_learning_rate": 1.0,
            "hidden": hidden,
        }
    )


def private_steps(model: SurvivalModel, hidden: tuple[int, ...], patients: FollowUp) -> Callable[[], None]:
    """One round of the real training."""
    chosen = training(hidden)
    release = Release("train", "poisson_gaussian", NOISE, sample_rate=RATE, steps=STEPS)
    plan = DpPlan((release,), 9.0, 1e-5)
    start = model.layout.start(np.full(INTERVALS, -2.0))

    def run() -> None:
        train_local(model, start, patients, chosen, plan, len(patients), 0, DiscreteGaussian(), OsEntropy())

    return run


def plain_steps(
    model: SurvivalModel, hidden: tuple[int, ...], patients: FollowUp, batch: int
) -> Callable[[], None]:
    """As many steps without clip and noise."""
    chosen, rng = training(hidden), np.random.default_rng(2)
    start = model.layout.start(np.full(INTERVALS, -2.0))

    def run() -> None:
        theta, optimizer = start, _Optimizer(chosen, len(start))
        for step in range(STEPS):
            some = patients.among(rng.integers(0, len(patients), batch))
            gradient = model.gradient_sum(theta, some) / batch
            theta = theta + learning_rate(chosen, step) * optimizer.direction(gradient)
            theta = np.clip(theta, -chosen.parameter_clip, chosen.parameter_clip)

    return run


def torch_network(hidden: tuple[int, ...]) -> Any:
    """eta_ik = alpha_k + f(x_i) from two linear parts, in single precision."""
    import torch
    from torch import nn

    class LogHazards(nn.Module):  # type: ignore[misc]  # torch is not read by mypy
        def __init__(self) -> None:
            super().__init__()
            self.alpha = nn.Linear(1, INTERVALS, bias=False)
            inner = [nn.Linear(COLUMNS, hidden[0]), nn.Tanh()] if hidden else []
            self.f = nn.Sequential(*inner, nn.Linear(hidden[0] if hidden else COLUMNS, 1, bias=False))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            log_hazards: torch.Tensor = self.alpha(torch.ones((len(x), 1))) + self.f(x)
            return log_hazards

    return LogHazards()


def torch_steps(hidden: tuple[int, ...], patients: FollowUp, batch: int, kind: str) -> Callable[[], None]:
    """So many steps of torch: "autograd", "opacus" or "ghost"."""
    import torch
    from opacus import GradSampleModule
    from opacus.grad_sample import GradSampleModuleFastGradientClipping
    from opacus.optimizers import DPOptimizer, DPOptimizerFastGradientClipping
    from opacus.utils.fast_gradient_clipping_utils import DPTensorFastGradientClipping

    table = tuple(
        torch.as_tensor(part, dtype=torch.float32)
        for part in (patients.x, patients.events, patients.exposure)
    )
    random = torch.Generator().manual_seed(3)
    network = torch_network(hidden)
    if kind == "opacus":
        network = GradSampleModule(network, loss_reduction="sum")
    if kind == "ghost":
        network = GradSampleModuleFastGradientClipping(network, loss_reduction="sum", max_grad_norm=CLIP)
    optimizer: Any = torch.optim.Adam(network.parameters(), lr=0.05)
    private = {"opacus": DPOptimizer, "ghost": DPOptimizerFastGradientClipping}.get(kind)
    if private is not None:
        optimizer = private(
            optimizer,
            noise_multiplier=NOISE,
            max_grad_norm=CLIP,
            expected_batch_size=batch,
            loss_reduction="sum",
        )

    def run() -> None:
        for _ in range(STEPS):
            some = torch.randint(0, len(patients), (batch,), generator=random)
            x, y, u = (part[some] for part in table)
            optimizer.zero_grad()
            eta = network(x)
            losses = (u * torch.exp(eta) - y * eta).sum(dim=1)
            if kind == "ghost":
                DPTensorFastGradientClipping(network, optimizer, losses, "sum").backward()
            else:
                losses.sum().backward()
            optimizer.step()

    return run


def measured(hidden: tuple[int, ...], batch: int, repeats: int) -> dict[str, float]:
    """Medians by kind; the kinds take turns, so that a busy moment meets all of them."""
    model = build_model(Layout(INTERVALS, tuple(f"x{j}" for j in range(COLUMNS)), hidden))
    patients = made_up(round(batch / RATE))
    runs = {
        "dp": private_steps(model, hidden, patients),
        "plain": plain_steps(model, hidden, patients, batch),
        **{kind: torch_steps(hidden, patients, batch, kind) for kind in ("autograd", "opacus", "ghost")},
    }
    times: dict[str, list[float]] = {kind: [] for kind in runs}
    for repeat in range(repeats + 1):
        for kind, run in runs.items():
            started = process_time()
            run()
            # The first time loads and compiles what it needs.
            if repeat:
                times[kind].append((process_time() - started) / STEPS)
    return {f"{kind}_s": median(values) for kind, values in times.items()}


def main() -> None:
    """One line a case on standard output; on standard error what the design asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object a line")
    parser.add_argument("--repeats", type=int, default=REPEATS)
    parser.add_argument("--batch", type=int, action="append", help="instead of all batches")
    asked = parser.parse_args()
    import torch
    from threadpoolctl import threadpool_limits

    torch.set_num_threads(1)
    threadpool_limits(1)
    warnings.filterwarnings("ignore", message="Full backward hook is firing")
    for name, hidden in MODELS.items():
        for batch in asked.batch or BATCHES:
            line = Line(name, batch, **measured(hidden, batch, asked.repeats))
            told = (
                f"{name} batch {batch}: dp {line.dp_s / line.plain_s:.2f} x plain (at most 2.5), "
                f"{line.dp_s / line.autograd_s:.2f} x autograd (at most 1); opacus {line.opacus_s / line.autograd_s:.1f} x, "
                f"ghost clipping {line.ghost_s / line.autograd_s:.1f} x autograd"
            )
            print(json.dumps(asdict(line)) if asked.json else told)
            sys.stderr.write(f"{told}\n" if asked.json else "")


if __name__ == "__main__":
    main()
