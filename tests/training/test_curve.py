"""Training curves: when points are logged, and with which values."""

import torch

from bench.training import curve


def test_points_are_logged_immediately_on_the_cpu():
    logged = []
    points = curve.Curve(lambda step, **values: logged.append((step, values)), "cpu")
    points.add(3, 0.1, {"loss": torch.tensor(2.5)})
    assert logged == points.points == [(3, {"loss": 2.5, "lr": 0.1})]


def test_points_of_an_accelerator_are_logged_in_order_when_fetched(monkeypatch):
    monkeypatch.setattr(curve, "FETCH_EVERY", 3)
    logged = []
    points = curve.Curve(lambda step, **values: logged.append((step, values)), "cuda")
    for step in range(5):
        terms = {"loss": torch.tensor(step + 0.5), "penalty": torch.tensor(step * 2.0)}
        points.add(step, 0.1, terms)
        assert [step for step, _ in logged] == ([0, 1, 2] if step >= 2 else [])
    points.fetch()
    assert logged[4] == (4, {"loss": 4.5, "lr": 0.1, "penalty": 8.0})
    assert points.points == logged


def test_points_of_an_interrupted_training_are_logged_again():
    logged = []
    before = [(0, {"loss": 1.0, "lr": 0.5})]
    curve.Curve(lambda step, **values: logged.append((step, values)), "cpu", before)
    assert logged == before
