"""The programs in examples/, run as a user runs them, and the data that they read."""

import re
import shutil
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

import headrace as tf

EXAMPLES = Path(__file__).parents[2] / "examples"


def run_example(name, out, *flags, folder=EXAMPLES, status=0):
    """What the example prints, when it writes to the folder `out`."""
    command = [sys.executable, folder / f"{name}.py", "--out", out, *map(str, flags)]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=300)
    assert done.returncode == status, done.stderr
    return done.stdout if status == 0 else done.stderr


def logged(folder):
    """What an example logged in a folder: {tag: [(step, value), ...]}, and how many graphs."""
    values, graphs = {}, 0
    for file in sorted(folder.glob("events.*")):
        for event in tf.train.summary_iterator(file):
            graphs += event.WhichOneof("what") == "graph_def"
            for value in event.summary.value:
                values.setdefault(value.tag, []).append((event.step, value.simple_value))
    return values, graphs


def accuracies(printed):
    """The percentages that follow the word accuracy, in order, as fractions."""
    return [float(percent) / 100 for percent in re.findall(r"accuracy +([\d.]+)%", printed)]


def assert_png(path):
    """A whole PNG: its signature at the start, its last chunk at the end."""
    data = path.read_bytes()
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    assert data.endswith(b"IEND\xaeB`\x82")


def test_digits_mlp_reads_97_percent_of_held_out_digits_and_shows_it(tmp_path):
    out = tmp_path / "new" / "folder"
    printed = run_example("digits_mlp", out)
    train, test = accuracies(printed)
    assert train > 0.99
    assert test >= 0.97
    assert_png(out / "curves.png")
    assert_png(out / "mistakes.png")
    for part, reached in (("training", train), ("held_out", test)):
        values, graphs = logged(out / part)
        assert graphs == 1
        assert values.keys() == {"loss", "accuracy"}
        for curve in values.values():
            assert [step for step, _ in curve] == list(range(1, 61))
        assert values["accuracy"][-1][1] == pytest.approx(reached, abs=1e-4)
        assert values["loss"][-1][1] < values["loss"][0][1] / 2
    assert tf.train.latest_checkpoint(out) == str(out / "model-60")
    assert printed.splitlines()[-1].endswith(f"-m tensorboard.main --logdir {out}")
    assert find_spec("tensorboard.main") is not None


def test_digits_mlp_repeats_itself_to_the_bit(tmp_path):
    for out in ("a", "b"):
        run_example("digits_mlp", tmp_path / out, "--epochs", 2)
    a, b = (tf.train.load_checkpoint(tmp_path / out) for out in ("a", "b"))
    names = a.get_variable_to_shape_map()
    assert len(names) == 22
    for name in names:
        np.testing.assert_array_equal(a.get_tensor(name), b.get_tensor(name), err_msg=name)


def test_digits_mlp_goes_on_where_it_was(tmp_path):
    """Without dropout, whose random numbers are not saved, a stop in between changes nothing but
    how the first step after it is rounded: that one is NumPy's, and not XLA's."""
    shutil.copytree(EXAMPLES / "data", tmp_path / "data")
    source = (EXAMPLES / "digits_mlp.py").read_text(encoding="utf-8")
    assert source.count("KEEP = 0.7") == 1
    (tmp_path / "plain.py").write_text(source.replace("KEEP = 0.7", "KEEP = 1.0"), "utf-8")
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    run_example("plain", whole, "--epochs", 4, folder=tmp_path)
    run_example("plain", parts, "--epochs", 2, folder=tmp_path)
    printed = run_example("plain", parts, "--epochs", 4, folder=tmp_path)
    assert f"going on from {parts / 'model-2'}\n" in printed
    assert "network, 2 epochs in" in printed
    a, b = (tf.train.load_checkpoint(out) for out in (whole, parts))
    assert a.get_tensor("epochs_done") == b.get_tensor("epochs_done") == 4
    for layer in ("hidden1", "hidden2", "logits"):
        np.testing.assert_allclose(
            a.get_tensor(f"{layer}/w"), b.get_tensor(f"{layer}/w"), rtol=0, atol=2e-6
        )
    for part in ("training", "held_out"):
        (a, _), (b, _) = logged(whole / part), logged(parts / part)
        np.testing.assert_allclose(a["loss"], b["loss"], rtol=1e-4)
    assert_png(parts / "curves.png")


def test_digits_mlp_that_is_done_says_how_to_go_on(tmp_path):
    first = run_example("digits_mlp", tmp_path, "--epochs", 1)
    again = run_example("digits_mlp", tmp_path, "--epochs", 1)
    assert "all 1 epochs were done before: --epochs 2 goes on" in again
    losses = re.compile(r"loss.*")
    assert losses.findall(first) == losses.findall(again) != []
    refused = run_example("digits_mlp", tmp_path, "--epochs", 1, "--seed", 5, status=2)
    assert f"{tmp_path} is of --seed 0: choose another --out" in refused


def test_digits_mlp_stopped_by_ctrl_c_goes_on(tmp_path):
    command = [sys.executable, EXAMPLES / "digits_mlp.py", "--out", tmp_path, "--epochs", "100000"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8"
    ) as process:
        try:
            stop = time.monotonic() + 120
            while tf.train.latest_checkpoint(tmp_path) in (None, str(tmp_path / "model-1")):
                assert process.poll() is None, process.stderr
                assert time.monotonic() < stop
                time.sleep(0.05)
            process.send_signal(signal.SIGINT)
            printed, errors = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 130, errors
    saved = tf.train.latest_checkpoint(tmp_path)
    assert f"stopped: the same command goes on from {saved}\n" in printed
    done = int(saved.rpartition("-")[2])
    assert done >= 2
    printed = run_example("digits_mlp", tmp_path, "--epochs", done + 3)
    assert f"going on from {saved}\n" in printed
    assert tf.train.latest_checkpoint(tmp_path) == str(tmp_path / f"model-{done + 3}")
    values, _ = logged(tmp_path / "held_out")
    assert sorted({step for step, _ in values["loss"]}) == list(range(1, done + 4))


def test_triangle_needs_the_activation(tmp_path):
    printed = run_example("triangle", tmp_path)
    sigmoid, linear, always_outside = accuracies(printed)
    assert sigmoid >= 0.98
    assert linear < always_outside + 0.05
    difference = re.search(r"by (\S+) at most", printed)
    assert difference is not None
    assert float(difference[1]) < 1e-5
    assert_png(tmp_path / "triangle.png")


@pytest.mark.parametrize("name", ["digits_mlp", "triangle"])
def test_the_import_is_all_that_is_new(name):
    source = (EXAMPLES / f"{name}.py").read_text(encoding="utf-8")
    assert re.findall(r"^.*headrace\b.*$", source.partition('"""\n\n')[2], re.MULTILINE) == [
        "import headrace as tf"
    ]


def test_digits_are_the_published_ones():
    table = np.loadtxt(EXAMPLES / "data" / "digits.csv.gz", delimiter=",", skiprows=1, dtype=int)
    pixels, labels = table[:, :64], table[:, 64]
    assert pixels.shape == (1797, 64)
    assert (pixels.min(), pixels.max()) == (0, 16)
    assert np.bincount(labels).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert len(np.unique(pixels, axis=0)) == 1797
    assert pixels.sum() == 561718  # as scikit-learn's copy has it
