"""The numpy forward pass and figures against torch and scikit-learn."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import log_loss, roc_auc_score
from torch import nn

from fedpriv_common.model import BIAS_FEATURE, ModelSpec, area_under_curve, evaluate, predict_probabilities

GENERATOR = np.random.default_rng(7)


def test_the_mlp_is_the_torch_module():
    spec = ModelSpec(kind="mlp", n_features=30)
    parameters = spec.initial_parameters(GENERATOR)
    module = nn.Sequential(nn.Linear(30, 64), nn.ReLU(), nn.Linear(64, 2)).double()
    with torch.no_grad():
        for target, values in zip(module.parameters(), spec.unflatten(parameters), strict=True):
            target.copy_(torch.from_numpy(values))
    z = GENERATOR.uniform(-1, 1, (50, 30))
    expected = torch.softmax(module(torch.from_numpy(z)), 1).detach().numpy()
    assert spec.n_parameters == 2114
    np.testing.assert_allclose(predict_probabilities(spec, parameters, np.zeros(30), z), expected, atol=1e-12)


def test_binary_logistic_regression_is_a_sigmoid_of_centred_features():
    spec = ModelSpec(kind="logreg", n_features=3)
    weights, centre, z = GENERATOR.normal(size=4), GENERATOR.normal(size=3), GENERATOR.normal(size=(9, 3))
    score = (z - centre) @ weights[:3] + BIAS_FEATURE * weights[3]
    np.testing.assert_allclose(predict_probabilities(spec, weights, centre, z)[:, 1], 1 / (1 + np.exp(-score)))


def test_figures_agree_with_scikit_learn():
    spec = ModelSpec(kind="logreg", n_features=5)
    weights, z, labels = GENERATOR.normal(size=6), GENERATOR.normal(size=(200, 5)), GENERATOR.integers(0, 2, 200)
    probabilities = predict_probabilities(spec, weights, np.zeros(5), z)
    figures = evaluate(spec, weights, np.zeros(5), z, labels)
    assert figures.loss == pytest.approx(log_loss(labels, probabilities))
    assert figures.auc == pytest.approx(roc_auc_score(labels, probabilities[:, 1]))
    assert figures.accuracy == np.mean((probabilities[:, 1] > 0.5) == labels)


@given(st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=2, max_size=40))
def test_ties_count_half(pairs):
    scores = np.array([float(score) for score, _ in pairs])
    labels = np.array([int(label) for _, label in pairs])
    if len(set(labels)) == 2:
        assert area_under_curve(scores, labels) == pytest.approx(roc_auc_score(labels, scores))
    else:
        assert area_under_curve(scores, labels) is None


@pytest.mark.parametrize("kind", ["logreg", "mlp"])
def test_huge_parameters_still_give_probabilities(kind):
    spec = ModelSpec(kind=kind, n_features=4)
    probabilities = predict_probabilities(spec, np.full(spec.n_parameters, 1e150), np.zeros(4), np.ones((3, 4)))
    assert np.isfinite(probabilities).all()
