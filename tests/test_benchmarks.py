"""The benchmarks themselves: that programs agree, that what is wrong is seen, that a page comes."""

import importlib
import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


@pytest.fixture
def bench(monkeypatch):
    """Import a module of benchmarks/, whose modules know each other by their bare names."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(BENCHMARKS)
    yield importlib.import_module
    for name in set(sys.modules) - before:
        if str(BENCHMARKS) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


@pytest.fixture
def workers(bench):
    """Start workers for (problem, name); they end with the test."""
    started = []

    def start(problem, *names):
        started.extend(bench("process").Worker(problem, name) for name in names)
        return dict(zip(names, started[-len(names) :], strict=True))

    yield start
    for worker in started:
        worker.close()


def test_programs_agree_on_batches_and_epochs(bench, workers):
    mlp, turns = bench("mlp"), bench("turns")
    names = "headrace", "headrace-callable", "headrace-loop", "numpy"
    started = workers("mlp", *names)
    cases = [
        mlp.Case((2, 3, 1), 20, "adam", steps=4),
        mlp.Case((6, 5, 3), 8, "gradient descent", examples=100, steps=12),
    ]
    for case in cases:
        losses = {
            name: worker.ask("prepare", case=asdict(case), steps=14)["losses"]
            for name, worker in started.items()
        }
        assert turns.astray(losses) == []
        assert turns.check(losses) < 1e-4
        assert np.ptp(losses["numpy"]) > 0.01


def test_programs_agree_on_second_derivatives(bench, workers):
    case = bench("burgers").Case("L-BFGS", points=50, boundary=10)
    losses = {
        name: worker.ask("prepare", case=asdict(case), steps=4)["losses"]
        for name, worker in workers("pinn", "headrace", "jax-jvp").items()
    }
    assert bench("turns").astray(losses) == []
    assert np.ptp(losses["headrace"]) > 0.01


def test_epochs_are_shuffled_like_headraces_loops(bench):
    mlp = bench("mlp")
    case = mlp.Case((2, 1), 4, "adam", examples=11)
    order = np.random.RandomState(0)
    expected = [order.permutation(11)[:8].reshape(2, 4) for _ in range(2)]
    orders = mlp.orders(case)
    for rows in expected:
        np.testing.assert_array_equal(next(orders), rows)
    rows, stream = np.arange(11), mlp.batches(case, np.arange(11))
    got = [next(stream)[0] for _ in range(4)]
    np.testing.assert_array_equal(got, rows[np.concatenate(expected)])


def test_losses_that_differ_are_refused(bench):
    turns = bench("turns")
    falling, other = [3.0, 2.0, 1.0], [3.0, 2.0, 1.001]
    assert turns.astray({"a": falling, "b": falling, "c": other}) == ["c"]
    assert turns.astray({"a": falling, "b": falling, "c": [3.0, 2.0, np.nan]}) == ["c"]
    with pytest.raises(turns.DisagreementError, match=r"differ at step 3: a 1, c 1\.001"):
        turns.check({"a": falling, "c": other})
    with pytest.raises(turns.DisagreementError, match=r"move the loss only from 3\.0 to"):
        turns.check({"a": [3.0] * 5, "b": [3.0] * 5})


def test_worker_says_what_failed_and_goes_on(bench, workers):
    process = bench("process")
    (worker,) = workers("mlp", "numpy").values()
    with pytest.raises(process.ChildError, match=r"numpy failed at 'prepare': TypeError: .*depth"):
        worker.ask("prepare", case={"depth": 3}, steps=1)
    assert worker.ask("hello")["version"] == np.__version__
    worker.child.kill()
    with pytest.raises(process.ChildError, match=r"numpy (has died|died at 'hello')"):
        worker.ask("hello")
    assert not worker.alive()
    with pytest.raises(process.ChildError, match="numpy has ended"):
        worker.ask("hello")


def test_page_is_replaced_in_place(bench, tmp_path):
    report, page = bench("report"), tmp_path / "docs" / "page.md"
    report.write(page, "one", "First", "1")
    report.write(page, "two", "Second", "2")
    report.write(page, "one", "First", "new \\1")
    text = page.read_text()
    assert text.startswith("# Benchmarks")
    assert text.count("## First") == 1
    assert text.index("new \\1") < text.index("## Second")


@pytest.mark.slow
def test_run_writes_page_numbers_and_picture(tmp_path):
    page = tmp_path / "page.md"
    command = [sys.executable, BENCHMARKS / "run.py", "pinn", "--quick", "--seconds", "0"]
    command += ["--frameworks", "headrace,jax-jvp", "--output", page]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "| JAX, jvp of jvp |" in page.read_text()
    (adam, _) = json.loads((tmp_path / "page.json").read_text())["pinn, 1"]
    assert adam["optimizer"] == "adam"
    assert all(0 < seconds < 60 for seconds in adam["seconds"].values())
    assert (tmp_path / "images" / "page.png").read_bytes()[:4] == b"\x89PNG"


def test_unknown_names_are_refused():
    for words in (["nothing"], ["step", "--frameworks", "headrace,nobody"]):
        done = subprocess.run(
            [sys.executable, BENCHMARKS / "run.py", *words], capture_output=True, text=True
        )
        assert done.returncode == 2
        assert f"unknown: {words[-1].split(',')[-1]}" in done.stderr


def test_what_fails_is_left_out_and_said(bench):
    mlp, turns, programs = bench("mlp"), bench("turns"), bench("programs")
    case, times = mlp.Case((2, 1), 4, "adam"), turns.Times()
    times.turns.update({"headrace": [2e-6, 3e-6, 1e-6], "numpy": [4e-6, 3e-6, 4e-6]})
    times.fail("jax", "jax is at fault\nat length")
    names = "headrace", "jax", "numpy", "torch"
    chosen = {name: programs.MLP[name] for name in names}
    cells = [
        row.split("|")[2].strip()
        for row in turns.compared("", chosen, {case: times}).splitlines()[2:]
    ]
    assert cells == ["2.00 µs (1.00)", "failed", "4.00 µs (2.00)", "–"]
    assert turns.complaints({case: times}) == ["2-1, batch 4, adam: jax is at fault"]
    assert times.speedup("numpy", "headrace") == 2.0
    assert times.speedup("torch", "headrace") is None
