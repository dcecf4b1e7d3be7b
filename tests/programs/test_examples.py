"""The programs in examples/, run as a user runs them, and the data that they read."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


def run_example(name, out, *flags):
    """What the example prints, when it writes to the folder `out`."""
    command = [sys.executable, EXAMPLES / f"{name}.py", "--out", out, *flags]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def accuracies(printed):
    """The percentages that follow the word accuracy, in order, as fractions."""
    return [float(percent) / 100 for percent in re.findall(r"accuracy +([\d.]+)%", printed)]


def assert_png(path):
    """A whole PNG: its signature at the start, its last chunk at the end."""
    data = path.read_bytes()
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    assert data.endswith(b"IEND\xaeB`\x82")


def test_digits_mlp_reads_97_percent_of_held_out_digits(tmp_path):
    train, test = accuracies(run_example("digits_mlp", tmp_path / "new" / "folder"))
    assert train > 0.99
    assert test >= 0.97
    assert_png(tmp_path / "new" / "folder" / "curves.png")
    assert_png(tmp_path / "new" / "folder" / "mistakes.png")


def test_digits_mlp_repeats_itself_to_the_bit(tmp_path):
    first, second = (run_example("digits_mlp", tmp_path, "--epochs", "1") for _ in range(2))
    losses = re.compile(r"loss.*")
    assert losses.findall(first) == losses.findall(second) != []


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
