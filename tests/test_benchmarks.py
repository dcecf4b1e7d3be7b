"""The benchmarks themselves: that programs agree, that what is wrong is seen, that a page comes."""

import importlib.util
import json
import math
import os
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace

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


def run_py(*words, **options):
    return subprocess.run(
        [sys.executable, BENCHMARKS / "run.py", *words], capture_output=True, text=True, **options
    )


@pytest.mark.slow
def test_run_writes_page_numbers_and_picture(tmp_path):
    page = tmp_path / "page.md"
    words = ["pinn", "--quick", "--seconds", "0", "--frameworks", "headrace,jax-jvp"]
    done = run_py(*words, "--output", page)
    assert done.returncode == 0, done.stderr
    assert "| JAX, jvp of jvp |" in page.read_text()
    (adam, _) = json.loads((tmp_path / "page.json").read_text())["pinn, 1"]
    assert adam["optimizer"] == "adam"
    assert all(0 < seconds < 60 for seconds in adam["seconds"].values())
    assert (tmp_path / "images" / "page.png").read_bytes()[:4] == b"\x89PNG"


def test_unknown_names_are_refused():
    for words in (["nothing"], ["step", "--frameworks", "headrace,nobody"]):
        done = run_py(*words)
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


def test_those_near_the_fastest_take_more_turns(bench):
    turns, times = bench("turns"), bench("turns").Times()
    seconds = {"headrace": 10e-6, "jax": 12e-6, "torch": 13e-6, "headrace-loop": 1e-6}
    seconds["jax-scan"] = 2e-6
    times.turns.update({name: [s] * 3 for name, s in seconds.items()})
    workers = {name: SimpleNamespace(problem="mlp", name=name) for name in seconds}
    assert turns.contenders(workers, times) == ["headrace", "jax", "headrace-loop"]
    times.turns["headrace"].append(6e-6)  # that the other did not take
    assert times.speedup("jax", "headrace") == pytest.approx(1.2)


# -- on a GPU --------------------------------------------------------------------------------------


@pytest.mark.skipif(
    any(importlib.util.find_spec(f"jax_cuda{n}_plugin") for n in (12, 13)),
    reason="JAX may find a GPU here",
)
def test_a_gpu_that_is_not_there_is_missed_at_once(tmp_path):
    page = tmp_path / "page.md"
    done = run_py("--device", "gpu", "--output", page)
    assert done.returncode == 1
    assert done.stderr.startswith("--device gpu: JAX finds no GPU here that it can use: its plugin")
    assert "With --dry-run the suites are tried" in done.stderr
    assert not page.exists()


def test_words_about_gpus_are_checked():
    for words, complaint in (
        (["--dry-run"], "--dry-run goes with --device gpu"),
        (["--device", "gpu", "memory"], "unknown: memory"),
        (["--device", "gpu", "--frameworks", "jax,keras"], "unknown: keras"),
        (["--frameworks", "jax,torch-ahead"], "unknown: torch-ahead"),
    ):
        done = run_py(*words)
        assert done.returncode == 2
        assert complaint in done.stderr


@pytest.mark.slow
def test_dry_run_of_a_suite_for_gpus(tmp_path):
    words = ["loop", "--device", "gpu", "--dry-run", "--seconds", "0"]
    words += ["--frameworks", "headrace,headrace-loop,jax,jax-scan"]
    done = run_py(*words, cwd=tmp_path, env={**os.environ, "TMPDIR": str(tmp_path)})
    assert done.returncode == 0, done.stdout + done.stderr
    page = tmp_path / "headrace-dry-run" / "benchmarks.md"
    text, kept = page.read_text(), json.loads(page.with_suffix(".json").read_text())
    assert "## Loops on a GPU, losses fetched: a dry run on a CPU, and no result\n" in text
    assert "| 6-2-2-2, batch 4, of 40 shuffled, TF32 |" in text
    assert "Percent: of the best matrix product [64, 64], float32" in text
    programs = {"headrace", "headrace-loop", "jax", "jax-scan"}
    assert [set(entry["seconds"]) for entry in kept["loop, GPU"]] == [programs] * 2
    assert sorted(p.name for p in tmp_path.iterdir()) == ["headrace-dry-run"]


def test_loops_of_the_physics_agree(bench, workers):
    case = bench("burgers").Case("adam", points=50, boundary=10, steps=4, precision="float32")
    losses = {
        name: worker.ask("prepare", case=asdict(case), steps=8)["losses"]
        for name, worker in workers("pinn on a GPU", "headrace-loop", "jax-scan", "jax-jvp").items()
    }
    assert bench("turns").check(losses) < case.agree


def test_products_have_the_precision_that_is_asked_for(bench, workers):
    """Of float32 and TensorFloat-32 a CPU makes the same."""
    mlp, turns = bench("mlp"), bench("turns")
    started = workers("mlp on a GPU", "headrace", "headrace-loop", "jax", "jax-ahead")
    found = {}
    for precision in ("float32", "tf32", "bfloat16"):
        case = mlp.Case((20, 30, 30, 5), 64, "adam", steps=5, precision=precision)
        losses = {
            name: worker.ask("prepare", case=asdict(case), steps=5)["losses"]
            for name, worker in started.items()
        }
        assert turns.check(losses, 1e-3 if precision == "bfloat16" else 1e-5) < case.agree
        found[precision] = np.array(list(losses.values()))
    np.testing.assert_allclose(found["tf32"], found["float32"], rtol=1e-5)
    assert (np.abs(found["bfloat16"] - found["float32"]).max(1) > 1e-5).all()
    np.testing.assert_allclose(found["bfloat16"], found["float32"], rtol=1e-2)


def test_short_factors_let_losses_differ_and_not_stand_still(bench):
    turns, mlp = bench("turns"), bench("mlp")
    case = mlp.Case((8, 8, 8, 8), 4, "adam", precision="tf32")
    assert case.agree == 3 * 2**-10
    assert mlp.Case((8, 8), 4, "adam", precision="float32").agree == turns.AGREE
    falling, near = [3.0, 2.98, 2.97], [3.005, 2.985, 2.975]
    assert turns.check({"a": falling, "b": near}, case.agree) < case.agree
    with pytest.raises(turns.DisagreementError, match="differ at step 1"):
        turns.check({"a": falling, "b": near})
    still = [3.0, 2.995, 2.99]
    assert turns.astray({"a": falling, "b": falling, "c": still}, 0.01) == []
    with pytest.raises(turns.DisagreementError, match=r"c moves the loss 0\.33 times as far"):
        turns.check({"a": falling, "b": falling, "c": still}, 0.01)


def test_cases_of_a_dry_run_stay_apart(bench):
    gpu = bench("gpu")
    cases = *gpu.STEPS, *gpu.MORE_STEPS, *gpu.LOOPS, *gpu.PHYSICS
    assert len({gpu.tiny(case) for case in cases}) == len(set(cases)) == len(cases)
    assert len({str(gpu.tiny(case)) for case in gpu.STEPS}) == len(gpu.STEPS)


def test_children_are_shown_the_gpu_or_not(bench, monkeypatch):
    process, precision = bench("process"), bench("precision")
    hidden = process.environment(2)
    assert (hidden["JAX_PLATFORMS"], hidden["CUDA_VISIBLE_DEVICES"]) == ("cpu", "-1")
    monkeypatch.setenv(precision.DEVICE, "gpu")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    shown = process.environment(2)
    assert (shown["JAX_PLATFORMS"], shown["CUDA_VISIBLE_DEVICES"]) == ("cuda,cpu", "0")
    assert shown["XLA_PYTHON_CLIENT_PREALLOCATE"] == "false"
    assert shown["OMP_NUM_THREADS"] == "2"


def test_who_finds_no_gpu_and_what_comes_too_late_is_left_out(bench):
    gpu, programs = bench("gpu"), bench("programs")
    settings = bench("run").Settings(
        cores=1, rounds=3, seconds=0, starts=1, chains=1, frameworks=("jax",), interpreters={},
        device="some GPU", until=-math.inf,
    )  # fmt: skip
    chosen = {"jax": programs.MLP_GPU["jax"]}
    for tiny, reason in (
        (False, "jax is left out: its framework finds no GPU"),
        (True, "left out, for the time was up: 2-2-2, batch 4, float32, gradient descent"),
    ):
        body, notes, _, raw = gpu.run(
            "Step", "mlp on a GPU", chosen, gpu.LOOPS[:1], replace(settings, tiny=tiny)
        )
        assert reason in notes
        assert "Nothing was timed." in body
        assert raw["cases"] == []


def test_new_sections_come_before_what_is_written_by_hand(bench, tmp_path):
    report, page = bench("report"), tmp_path / "page.md"
    report.write(page, "one", "First", "1")
    page.write_text(page.read_text() + "\n## By hand\n\nwords\n")
    report.write(page, "two", "Second", "2")
    report.write(page, "one", "First", "new")
    text = page.read_text()
    places = [text.index(w) for w in ("## First", "new", "## Second", "<!-- end two", "## By hand")]
    assert places == sorted(places)
    assert text.endswith("<!-- end two -->\n\n## By hand\n\nwords\n")
