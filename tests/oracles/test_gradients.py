"""Per-patient gradients a second time, by means that share no code with ours."""

import numpy as np
import pytest
import torch
from torch import nn

from hospital_node.survival.follow_up import FollowUp
from hospital_node.survival.model import ClosedForm
from hospital_node.survival.network import Mlp
from hospital_node.survival.one_hidden import OneHidden
from hospital_node.survival.piecewise import PiecewiseExponential
from privacy.noise.clipped_blocks import clipped_sum
from privacy.studies.layout import Layout
from tests.unit.hospital_node.survival.patients import COLUMNS, GRID, INTERVALS, made_up_cohort

PATIENTS = FollowUp.of(made_up_cohort(30), GRID)
# Columns that are whole units already, so that what is compared is the gradient and not their truncation.
PATIENTS = FollowUp(np.trunc(PATIENTS.x * 2**16) / 2**16, PATIENTS.exposure, PATIENTS.events)


def autograd(layout: Layout, theta: np.ndarray, i: int) -> np.ndarray:
    """Gradient of the log-likelihood of patient i alone, by torch's autograd from the formula."""
    flat = torch.tensor(theta, requires_grad=True)
    signal = torch.tensor(PATIENTS.x[i])
    if layout.hidden:
        for layer in layout.layers[:-1]:
            size = layer.inputs * layer.outputs
            weight = flat[layer.start : layer.start + size].reshape(layer.outputs, layer.inputs)
            signal = torch.tanh(weight @ signal + flat[layer.start + size : layer.stop])
        effect = flat[layout.layers[-1].start :] @ signal
    else:
        effect = flat[layout.intervals :] @ signal
    eta = flat[: layout.intervals] + effect
    y, u = torch.tensor(PATIENTS.events[i]), torch.tensor(PATIENTS.exposure[i])
    (y * eta - u * torch.exp(eta)).sum().backward()
    return flat.grad.numpy()


def check(layout: Layout, model: PiecewiseExponential | OneHidden | Mlp) -> None:
    theta = np.random.default_rng(5).normal(0, 0.8, layout.dim)
    whole = np.array([autograd(layout, theta, i) for i in range(30)])
    norms = np.linalg.norm(whole, axis=1, keepdims=True)
    clip = float(np.median(norms))
    np.testing.assert_allclose(model.gradient_sum(theta, PATIENTS), whole.sum(axis=0), rtol=1e-9, atol=1e-10)
    expected = whole * np.minimum(1, clip / norms)
    np.testing.assert_allclose(
        model.clipped_gradients(theta, PATIENTS, clip), expected, rtol=1e-9, atol=1e-12
    )
    # The exact integer sum: each patient loses less than 2^-19 of the clip where factors were truncated.
    rows = (expected,)
    blocks = (
        model.gradient_blocks(theta, model.prepared(PATIENTS, 40)) if isinstance(model, ClosedForm) else rows
    )
    total = clipped_sum(blocks, clip) * (clip / 2**40)
    np.testing.assert_allclose(total, expected.sum(axis=0), atol=30 * clip * 2**-19)


def test_linear_model_against_autograd() -> None:
    layout = Layout(INTERVALS, COLUMNS)
    check(layout, PiecewiseExponential(layout))


def test_one_hidden_layer_against_autograd() -> None:
    layout = Layout(INTERVALS, COLUMNS, (6,))
    check(layout, OneHidden(layout))


def test_one_hidden_layer_against_opacus() -> None:
    layout = Layout(INTERVALS, COLUMNS, (6,))
    theta = np.random.default_rng(8).normal(0, 0.8, layout.dim)
    ours, theirs = (
        model.clipped_gradients(theta, PATIENTS, 1e9) for model in (OneHidden(layout), Mlp(layout))
    )
    np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-12)


def test_network_against_autograd() -> None:
    layout = Layout(INTERVALS, COLUMNS, (5, 4))
    check(layout, Mlp(layout))


@pytest.mark.filterwarnings("ignore:Full backward hook")
def test_linear_model_against_opacus() -> None:
    from opacus import GradSampleModule

    layout = Layout(INTERVALS, COLUMNS)
    theta = np.random.default_rng(6).normal(0, 0.8, layout.dim)
    baseline, effect = nn.Linear(1, INTERVALS, bias=False), nn.Linear(len(COLUMNS), 1, bias=False)
    network = nn.ModuleList([baseline, effect]).double()
    with torch.no_grad():
        baseline.weight.copy_(torch.tensor(theta[:INTERVALS, None]))
        effect.weight.copy_(torch.tensor(theta[None, INTERVALS:]))
    sampled = [GradSampleModule(layer, loss_reduction="sum") for layer in network]
    eta = sampled[0](torch.ones((30, 1), dtype=torch.float64)) + sampled[1](torch.tensor(PATIENTS.x))
    y, u = torch.tensor(PATIENTS.events), torch.tensor(PATIENTS.exposure)
    (y * eta - u * torch.exp(eta)).sum().backward()
    rows = np.hstack([layer.weight.grad_sample.numpy().reshape(30, -1) for layer in (baseline, effect)])
    ours = PiecewiseExponential(layout).clipped_gradients(theta, PATIENTS, 1e9)
    np.testing.assert_allclose(ours, rows, rtol=1e-9, atol=1e-12)
