"""Time and memory of profile methods as ratios within one run.

Run from the root: ``OMP_NUM_THREADS=1 python -m tests.benchmarks.profile_methods``. Times are
processor times on one thread, the best of three or the least of five pairs that take turns, so that
a busy machine matters little (other work on it only ever adds); memory is
that of a fresh process above what it held before the call, against the size of the input. Exit
code 1 if a bound is missed.
"""

from __future__ import annotations

import subprocess
import sys
import time
import tracemalloc
import warnings

import numpy as np

from bench.api import Access, make_params
from bench.core.seeds import generator
from tests.helpers.profiles import applied, fitted, method_class, view

ROWS, FEATURES = 100_000, 500
LAYOUTS = {
    "260 plates of 384 wells, 32 controls": (260, 32 / 384),
    "8 batches, a fifth controls": (8, 0.2),
}
MISSED = []


def best(call, repeats=3):
    times = []
    for _ in range(repeats):
        started = time.process_time()
        call()
        times.append(time.process_time() - started)
    return min(times)


def paired(call, base, repeats=5):
    """Return least and median of the ratio of two calls that take turns."""
    ratios = [best(call, 1) / best(base, 1) for _ in range(repeats)]
    return min(ratios), float(np.median(ratios))


def tell(what, value, bound=None, *, least=False):
    good = bound is None or (value >= bound if least else value <= bound)
    word = "" if bound is None else f"   ({'at least' if least else 'at most'} {bound})"
    print(f"{what:<66}{value:8.2f}{word}{'' if good else '   MISSED'}", flush=True)
    if not good:
        MISSED.append(what)


def data(n_batches, share, n=ROWS, d=FEATURES):
    rng = generator("profile methods", n_batches, n, d)
    mix = np.eye(d, dtype=np.float32)
    mix += 0.3 * rng.standard_normal((d, d), dtype=np.float32) / np.sqrt(d)
    X = rng.standard_normal((n, d), dtype=np.float32) @ mix
    batch = np.arange(n) % n_batches
    return view(X, np.char.zfill(batch.astype(str), 4), rng.random(n) < share)


def whole(name, samples, **params):
    """Return a call that fits and applies; the views are made beforehand, as they cost the same."""
    cls = method_class(name)
    access = cls.access(make_params(name, cls.Params, params))
    views = [samples]
    if access & (Access.TEST_BATCH | Access.TEST_CONTROLS):
        views = [samples.take(np.flatnonzero(samples.batch == b)) for b in np.unique(samples.batch)]

    def call():
        method = fitted(name, samples, samples, **params)
        for item in views:
            method.apply(item)

    return call


def against_one_product():
    cases = [("sphering", {}), ("sphering-all", {}), ("coral-to-train", {}), ("combat", {})]
    cases[1:1] = [("tvn", {"variant": v}) for v in ("ando", "efaar", "controls-zscore")]
    for layout, (n_batches, share) in LAYOUTS.items():
        samples = data(n_batches, share)

        def product(samples=samples):
            return samples.X.T @ samples.X

        tell(f"one float32 X.T @ X, {layout} [s]", best(product))
        for name, params in cases:
            bound = 4 if name == "sphering" or params.get("variant") == "ando" else None
            least, median = paired(whole(name, samples, **params), product)
            label = f"  {name} {params.get('variant', '')}: times X.T @ X"
            tell(f"{label}, median of 5", median)
            tell(f"{label}, least of 5", least, bound)


def against_pycytominer():
    import pandas as pd
    from pycytominer.operations.transform import Spherize

    samples = data(1, 1.0, 8000, 300)
    table = pd.DataFrame(samples.X.astype(np.float64))

    def theirs():
        Spherize(epsilon=1e-6, method="ZCA-cor", return_numpy=True).fit(table).transform(table)

    ours = best(whole("sphering", samples, regularisation=0))
    tell("8,000 x 300: pycytominer's Spherize / sphering", best(theirs, 1) / ours, 10, least=True)


def against_harmonypy():
    from bench.methods._harmony import HarmonyParams, canonical, run_harmony

    from bench.core.moments import Components

    samples = data(6, 0.1, 8000, 300)
    order = canonical(samples.X, samples.batch)
    Z = Components.of(samples.X, 50, "harmony").scores(samples.X[order.rows])
    import harmonypy

    def direct():
        codes = {"batch": order.codes}
        harmonypy.run_harmony(Z.T, codes, "batch", verbose=False, random_state=0, ncores=1)

    def ours():
        run_harmony(Z, order.codes, HarmonyParams(), 0)

    ratios = [best(ours, 1) / best(direct, 1) for _ in range(5)]
    tell("harmony's call / a direct call of harmonypy", float(np.median(ratios)), 1.1)
    spent = best(whole("harmony", samples), 1)
    tell("  with scaling, components and order", spent / best(direct, 1))


def in_the_number_of_rows():
    small, large = (data(10 * k, 0.1, 10_000 * k, 100) for k in (1, 4))
    for name in ("combat", "coral-to-train", "coral-to-target"):
        ratio = best(whole(name, large)) / best(whole(name, small))
        tell(f"{name}: time for 4 times the rows and batches", ratio, 6)


def peak(name, variant):
    """Print the peak of one method above the input, as a share of the input."""
    samples = data(260, 32 / 384)
    tracemalloc.start()
    applied(fitted(name, samples, **({"variant": variant} if variant else {})), samples)
    # NumPy reports its arrays to tracemalloc; the input was made before and is counted as 1.
    print(1 + tracemalloc.get_traced_memory()[1] / samples.X.nbytes)


def memory():
    for name, variant in (("sphering", ""), ("sphering-all", ""), ("tvn", "ando")):
        command = [sys.executable, "-m", "tests.benchmarks.profile_methods", "peak", name, variant]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        tell(f"{name} {variant}: peak, input included / input", float(done.stdout), 3)


def main():
    if len(sys.argv) > 1:
        peak(*sys.argv[2:])
        return
    warnings.simplefilter("ignore")
    against_one_product()
    against_pycytominer()
    against_harmonypy()
    in_the_number_of_rows()
    memory()
    sys.exit(bool(MISSED))


if __name__ == "__main__":
    main()
