"""BatchNorm with chosen statistics, against formulas written out in numpy and against PyTorch."""

from __future__ import annotations

import copy
import threading

import numpy as np
import pytest
import torch
from torch import nn

from bench.core.errors import BenchError, RunFailed
from bench.network import Statistics
from bench.training import streaming, swap
from bench.training.batchnorm import (
    BatchStatistics,
    Scope,
    convert,
    moments,
    normalisation_layers,
    refuse_without_batch_norm,
)
from bench.training.streaming import streamed
from tests.helpers.errors import raises

SHAPES = [(12, 5), (12, 5, 7), (12, 5, 4, 3), (12, 5, 2, 3, 2)]
LAYERS = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}
MASK = np.array([1, 0, 1, 1, 1, 1, 1, 0, 1, 1, 0, 1], bool)
GROUP = np.array([2, 7, 2, 2, 7, 7, 2, 7, 0, 0, 0, 0])


def layer_of(shape, seed=0):
    """A layer with parameters and running averages that are not the neutral ones, and rows."""
    torch.manual_seed(seed)
    layer = LAYERS[len(shape)](shape[1])
    with torch.no_grad():
        layer.weight.uniform_(0.5, 2)
        layer.bias.uniform_(-1, 1)
        layer.running_mean.uniform_(-1, 1)
        layer.running_var.uniform_(0.5, 2)
    return layer, torch.randn(shape) * 3 + torch.arange(shape[0]).reshape(
        -1, *[1] * (len(shape) - 1)
    )


def by_hand(x, rows, weight, bias, eps=1e-5):
    """Normalise every row of x by mean and biased variance of some rows, in float64, with loops."""
    x = x.astype(np.float64)
    out = np.empty_like(x)
    for c in range(x.shape[1]):
        values = x[rows, c].ravel()
        mean = values.sum() / len(values)
        var = ((values - mean) ** 2).sum() / len(values)
        out[:, c] = weight[c] * (x[:, c] - mean) / np.sqrt(var + eps) + bias[c]
    return out


def expected(layer, x, mask=None, group=None):
    x, w, b = x.numpy(), layer.weight.detach().numpy(), layer.bias.detach().numpy()
    mask = np.ones(len(x), bool) if mask is None else mask
    group = np.zeros(len(x), int) if group is None else group
    out = np.empty(x.shape)
    for g in np.unique(group):
        out[group == g] = by_hand(x, (group == g) & mask, w, b)[group == g]
    return out


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("training", [False, True])
def test_rows_controls_and_groups_equal_the_formula(shape, masked, grouped, training):
    layer, x = layer_of(shape)
    produced = BatchStatistics.of(copy.deepcopy(layer), Scope()).train(training)
    mask = MASK if masked else None
    group = GROUP if grouped else None
    use = Statistics(
        "rows",
        None if mask is None else torch.from_numpy(mask),
        None if group is None else torch.from_numpy(group),
    )
    with produced.scope.using(use):
        result = produced(x).detach().numpy()
    np.testing.assert_allclose(result, expected(layer, x, mask, group), rtol=2e-5, atol=2e-5)
    moved = not torch.equal(produced.running_mean, layer.running_mean)
    assert moved == training


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("momentum", [0.1, 0.7, None])
def test_at_rest_a_layer_is_pytorchs_own(shape, momentum):
    layer, x = layer_of(shape)
    layer.momentum = momentum
    result = convert(copy.deepcopy(layer), Scope())
    for training in (True, True, False):
        layer.train(training)
        result.train(training)
        assert torch.equal(result(x), layer(x))
    for name, buffer in layer.named_buffers():
        assert torch.equal(result.get_buffer(name), buffer)


@pytest.mark.parametrize("shape", SHAPES)
def test_running_averages_move_the_same_by_the_general_path(shape):
    """A mask of all rows goes another way through the code than no mask."""
    layer, x = layer_of(shape)
    produced = convert(copy.deepcopy(layer), Scope())
    for _ in range(3):
        with produced.scope.using(Statistics("rows", mask=torch.ones(len(x), dtype=torch.bool))):
            result = produced(x)
        torch.testing.assert_close(result, layer(x))
    for name, buffer in layer.named_buffers():
        torch.testing.assert_close(produced.get_buffer(name), buffer)


def test_running_averages_of_groups_move_towards_the_mean_over_groups():
    layer, x = layer_of((12, 5, 4, 3))
    result = convert(copy.deepcopy(layer), Scope())
    with result.scope.using(Statistics("rows", group=torch.from_numpy(GROUP))):
        result(x)
    parts = [x.numpy().astype(np.float64)[g == GROUP] for g in (0, 2, 7)]
    mean = np.mean([p.mean((0, 2, 3)) for p in parts], axis=0)
    var = np.mean([np.moveaxis(p, 1, 0).reshape(5, -1).var(1, ddof=1) for p in parts], axis=0)
    before = layer.running_mean.numpy(), layer.running_var.numpy()
    np.testing.assert_allclose(result.running_mean, 0.9 * before[0] + 0.1 * mean, rtol=1e-5)
    np.testing.assert_allclose(result.running_var, 0.9 * before[1] + 0.1 * var, rtol=1e-5)


def test_gradients_flow_through_the_statistics():
    torch.manual_seed(0)
    layer = BatchStatistics.of(nn.BatchNorm2d(2), Scope()).double()
    x = torch.randn(6, 2, 2, 2, dtype=torch.float64, requires_grad=True)
    plain = nn.BatchNorm2d(2).double()
    target = torch.randn(6, 2, 2, 2, dtype=torch.float64)
    wanted = torch.autograd.grad((plain(x) * target).sum(), x)[0]
    for use in (Statistics("rows"), Statistics("rows", group=torch.zeros(6, dtype=torch.long))):
        with layer.scope.using(use):
            result = torch.autograd.grad((layer(x) * target).sum(), x)[0]
        torch.testing.assert_close(result, wanted, rtol=1e-4, atol=1e-6)
    mask = torch.tensor([1, 1, 0, 1, 0, 0], dtype=torch.bool)
    with layer.scope.using(Statistics("rows", mask=mask)):
        result = torch.autograd.grad((layer(x) * target).sum(), x)[0]
    # rows that give no statistics act on themselves alone: gamma / sqrt(var + eps) times target
    var = x[mask].transpose(0, 1).reshape(2, -1).var(1, unbiased=False)
    alone = target[~mask] / torch.sqrt(var + 1e-5).view(1, 2, 1, 1)
    torch.testing.assert_close(result[~mask], alone.detach(), rtol=1e-4, atol=1e-6)


def test_one_value_per_channel_gives_the_bias_and_no_error():
    layer, x = layer_of((1, 5))
    result = convert(layer, Scope())
    assert torch.allclose(result(x), layer.bias.expand(1, 5))
    assert torch.isfinite(result.running_var).all()


def test_moments_survive_a_large_offset():
    x = torch.randn(50, 3, 20) + 1e4
    mean, var, count, _ = moments(x, None, None)
    exact = x.double().transpose(0, 1).reshape(3, -1)
    torch.testing.assert_close(mean[0].double(), exact.mean(1), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(var[0].double(), exact.var(1, unbiased=False), rtol=1e-3, atol=0)
    assert count.tolist() == [1000]


def tiny(seed=0):
    torch.manual_seed(seed)
    network = nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Conv2d(4, 6, 3, padding=1),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(6, 5),
        nn.BatchNorm1d(5),
    )
    for layer in network.modules():
        if isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d)):
            nn.init.uniform_(layer.weight, 0.5, 2)
            nn.init.uniform_(layer.bias, -1, 1)
    return network


def test_a_network_by_its_rows_equals_train_mode_with_momentum_0():
    x = torch.randn(20, 2, 6, 6)
    plain = tiny()
    for layer in plain.modules():
        if hasattr(layer, "momentum"):
            layer.momentum = 0.0
    scope = Scope()
    result = convert(tiny(), scope).eval()
    before = copy.deepcopy(result.state_dict())
    with torch.no_grad(), scope.using(Statistics("rows")):
        torch.testing.assert_close(result(x), plain.train()(x))
    assert all(torch.equal(before[k], v) for k, v in result.state_dict().items())


def _small_memory(monkeypatch, layers):
    """Report less and less free memory, so that only ``layers`` layers fit."""
    monkeypatch.setattr(swap, "SMALLEST", 1)
    free = iter([1 << 40, *[1 << 40] * (3 * layers - 1), *[0] * 1000])
    monkeypatch.setattr(streaming, "available_bytes", lambda device: next(free))


@pytest.mark.parametrize("fitting", [None, 0, 1, 2])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("size", [1, 7, 20])
def test_pieces_layer_by_layer_equal_one_pass(masked, size, fitting, monkeypatch):
    if fitting is not None:
        _small_memory(monkeypatch, fitting)
    x = torch.randn(20, 2, 6, 6) * 5 + 2
    mask = torch.arange(20) % 3 == 1 if masked else None
    scope = Scope()
    produced = convert(tiny(), scope).eval()
    with torch.no_grad():
        with scope.using(Statistics("rows", mask=mask)):
            wanted = produced(x)

        def read(k):
            part = slice(k * size, (k + 1) * size)
            return x[part], None if mask is None else mask[part]

        result = torch.cat(streamed(scope, produced, read, -(-20 // size)))
    torch.testing.assert_close(result, wanted, rtol=1e-4, atol=1e-4)
    assert scope.stream is None


def test_pieces_of_a_network_that_meets_a_layer_twice():
    torch.manual_seed(0)
    norm = nn.BatchNorm1d(4)
    scope = Scope()
    produced = convert(
        nn.Sequential(nn.Linear(4, 4), norm, nn.Tanh(), nn.Linear(4, 4), norm), scope
    )
    assert produced[1] is produced[4]
    produced.eval()
    x = torch.randn(30, 4)
    with torch.no_grad():
        with scope.using(Statistics("rows")):
            wanted = produced(x)
        parts = x.split(11)
        result = torch.cat(streamed(scope, produced, lambda k: (parts[k], None), len(parts)))
    torch.testing.assert_close(result, wanted, rtol=1e-4, atol=1e-5)


class Residual(nn.Module):
    """A network with activations, and a view of one, that are used after several layers."""

    def __init__(self):
        super().__init__()
        self.convolutions = nn.ModuleList(nn.Conv2d(2, 2, 3, padding=1) for _ in range(3))
        self.norms = nn.ModuleList(nn.BatchNorm2d(2) for _ in range(3))

    def forward(self, x):
        first = self.convolutions[0](x).relu_()
        turned = first.transpose(2, 3)
        middle = self.norms[1](self.convolutions[1](self.norms[0](first)))
        middle += first
        last = self.norms[2](self.convolutions[2](middle.relu_()))
        return (last + turned + x).flatten(1)


@pytest.mark.parametrize("network", [tiny, Residual])
@pytest.mark.parametrize("full", [False, True])
def test_bits_do_not_depend_on_memory_and_disk(network, full, monkeypatch, tmp_path):
    torch.manual_seed(0)
    x = torch.randn(20, 2, 6, 6) * 5 + 2
    scope = Scope()
    result = convert(network(), scope).eval()
    first = next(m for m in result.modules() if isinstance(m, nn.Conv2d))
    parts, calls = x.split(6), []
    first.register_forward_hook(lambda *_: calls.append(1))
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path))
    sizes, write = [], swap.Swap.write
    monkeypatch.setattr(
        swap.Swap, "write", lambda file, *given: (write(file, *given), sizes.append(file.size))
    )

    def run():
        calls.clear()
        with torch.no_grad():
            # a copy of each piece, so that its memory can be released
            out = streamed(scope, result, lambda k: (parts[k].clone(), None), len(parts))
        return torch.cat(out)

    at_once = run()
    assert len(calls) == len(parts)
    assert not sizes
    _small_memory(monkeypatch, 0)
    if full:
        monkeypatch.setattr(swap, "SPARE_DISK", 1 << 62)
    assert torch.equal(run(), at_once)
    # Two pieces of the pass in memory, and all of the pass with a file. On a full disk, the first
    # piece of that pass, and one pass for each of the three layers and the result.
    assert len(calls) == (3 + 4 * len(parts) if full else 2 + len(parts))
    assert bool(sizes) == (not full)
    assert [file for file in tmp_path.rglob("*") if file.is_file()] == []


def test_activations_return_from_the_file_and_their_places_are_used_again(monkeypatch, tmp_path):
    monkeypatch.setattr(swap, "SMALLEST", 100)
    with swap.Swap(tmp_path / "new") as file:
        watch = swap.Activations(file)
        weights = torch.arange(60.0)
        with watch:
            kept = weights.view(6, 10) + 1
            view, small, dropped = kept[2:], torch.ones(3), weights * 2
        watch.write()
        assert file.size == 480
        assert [t.untyped_storage().nbytes() for t in (kept, view, dropped)] == [0, 0, 0]
        assert weights.untyped_storage().nbytes() == 240
        assert small.tolist() == [1, 1, 1]
        del dropped
        with watch:
            last = view + 0  # reads the activation, of which it is a part
            more = weights * 3
        assert torch.equal(last, torch.arange(20.0, 60).view(4, 10) + 1)
        assert torch.equal(kept, torch.arange(60.0).view(6, 10) + 1)
        with watch:
            kept.mul_(2)
        watch.write()
        assert file.size == 480 + 160  # two old places and one for ``last``
        watch.read([kept, (more,)])
        assert torch.equal(kept, 2 * (torch.arange(60.0).view(6, 10) + 1))
        assert torch.equal(more, weights * 3)
        monkeypatch.setattr(swap, "SPARE_DISK", 1 << 62)
        with watch:
            large = weights.repeat(2)
        with pytest.raises(OSError, match="full"):
            watch.write()
        assert large.sum() == 2 * weights.sum()


def test_one_pass_calls_the_network_once_for_each_piece():
    x = torch.randn(20, 2, 6, 6)
    scope = Scope()
    result = convert(tiny(), scope).eval()
    calls, before = [], threading.active_count()
    result[0].register_forward_hook(lambda *_: calls.append(1))
    parts = x.split(6)
    with torch.no_grad():
        streamed(scope, result, lambda k: (parts[k], None), len(parts))
    assert len(calls) == len(parts)
    assert threading.active_count() == before


def test_an_error_in_a_piece_ends_all_pieces():
    scope = Scope()
    result = convert(tiny(), scope).eval()
    parts = torch.randn(20, 2, 6, 6).split(6)
    before = threading.active_count()

    def read(k):
        if k == 2:
            raise KeyError("unreadable")
        return parts[k], None

    with torch.no_grad(), pytest.raises(KeyError):
        streamed(scope, result, read, len(parts))
    assert scope.stream is None
    assert threading.active_count() == before


def test_conversion_keeps_names_parameters_and_frozen_ones():
    network = tiny()
    network[1].weight.requires_grad_(False)
    names = list(network.state_dict())
    weights = [network[k].weight for k in (1, 4, 9)]
    result = convert(network, Scope())
    assert list(result.state_dict()) == names
    assert all(result[k].weight is w for k, w in zip((1, 4, 9), weights, strict=True))
    assert not result[1].weight.requires_grad
    assert all(isinstance(result[k], BatchStatistics) for k in (1, 4, 9))
    scopes = {id(result[k].scope) for k in (1, 4, 9)}
    assert len(scopes) == 1
    twin = copy.deepcopy(result)
    assert twin[1].scope is twin[9].scope
    assert twin[1].scope is not result[1].scope


def test_synchronised_and_untracked_layers_are_converted():
    sync = convert(nn.Sequential(nn.SyncBatchNorm(3)), Scope())
    assert isinstance(sync[0], BatchStatistics)
    layer = convert(nn.BatchNorm1d(3, track_running_stats=False), Scope()).eval()
    x = torch.randn(8, 3) + 4
    # PyTorch's would use the rows of the call at test; here they are used only when asked for
    torch.testing.assert_close(layer(x), x / np.sqrt(1 + 1e-5))


def test_a_network_without_batch_norm_is_refused_by_the_names_of_its_layers():
    network = nn.Sequential()
    network.stem = nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4))
    network.tail = nn.GroupNorm(2, 4)
    assert normalisation_layers(network) == {"stem.1": "LayerNorm", "tail": "GroupNorm"}
    with raises(BenchError, "stem.1", "LayerNorm", "tail", "GroupNorm"):
        refuse_without_batch_norm(network, "mine:net", "ben")
    with raises(BenchError, "mine:net"):
        refuse_without_batch_norm(nn.Linear(2, 2), "mine:net", "ben")
    refuse_without_batch_norm(tiny(), "mine:net", "ben")


def test_statistics_from_no_row_are_an_error_not_nan():
    layer, x = layer_of((12, 5))
    result = convert(layer, Scope())
    none = torch.zeros(12, dtype=torch.bool)
    with result.scope.using(Statistics("rows", mask=none)), raises(RunFailed):
        result(x)
    with raises(RunFailed):
        streamed(result.scope, result, lambda k: (x, none), 1)
    short = Statistics("rows", mask=none[:5])
    with result.scope.using(short), raises(RunFailed, "5", "12"):
        result(x)


def test_a_layer_never_asks_for_more_than_rows_and_channels():
    result = convert(nn.BatchNorm2d(3), Scope())
    with raises(RunFailed, "3"):
        result(torch.zeros(2, 4, 5, 5))


@pytest.mark.parametrize("masked", [False, True])
def test_moments_of_pieces_equal_numpy_far_from_zero(masked):
    x = torch.randn(30, 3, 5, 4) * 0.1 + 1000
    mask = torch.arange(30) % 3 > 0 if masked else None
    moments = streaming._Moments()
    for part in (slice(0, 7), slice(7, 8), slice(8, 30)):
        moments.add(x[part], None if mask is None else mask[part])
    mean, variance = moments.result()
    rows = x if mask is None else x[mask]
    values = rows.double().numpy()
    np.testing.assert_allclose(mean[0], values.mean((0, 2, 3)), rtol=1e-7)
    np.testing.assert_allclose(variance[0], values.var((0, 2, 3)), rtol=1e-6)
