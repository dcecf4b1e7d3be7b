"""The command `headrace`, as a user types it."""

from __future__ import annotations

import re
import subprocess
import sys

import ml_dtypes
import numpy as np
import pytest

from headrace import __version__
from headrace.bundle import BundleWriter
from headrace.cli import main
from headrace.train.checkpoint_state import update_checkpoint_state


def save(path, **values):
    """A checkpoint of these values."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with BundleWriter(str(path)) as writer:
        for name, value in values.items():
            writer.add(name, np.asarray(value))
        writer.finish()
    return str(path)


@pytest.fixture
def headrace(capsys):
    """Runs the command: its status, the lines that it printed, and what it said of trouble."""

    def run(*arguments):
        capsys.readouterr()
        status = main(list(map(str, arguments)))
        out, err = capsys.readouterr()
        return status, out.splitlines(), err

    return run


def in_shell(*arguments):
    command = [sys.executable, "-m", "headrace", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def section(lines, title):
    """The rows under a title, split into cells."""
    start = lines.index(f"{title}:") + 1
    return [re.split(r" {2,}", line.strip()) for line in lines[start : lines.index("", start)]]


# -- listing ---------------------------------------------------------------------------------------


def test_variables_are_listed_with_types_shapes_and_sizes(headrace, tmp_path):
    path = save(
        tmp_path / "model-7",
        w=np.ones((300, 200), np.float32),
        b=np.zeros(3, np.float64),
        h=np.ones(2, ml_dtypes.bfloat16),
        step=np.int64(7),
        words=np.array([b"abc", b"de"], object),
        none=np.zeros((0, 4), bool),
    )
    status, lines, err = headrace("checkpoint", path)
    assert (status, err) == (0, "")
    assert lines == [
        path,
        "",
        "name   type      shape      size",
        "b      float64   [3]        24 B",
        "h      bfloat16  [2]        4 B",
        "none   bool      [0,4]      0 B",
        "step   int64     []         8 B",
        "w      float32   [300,200]  234.4 KiB",
        "words  string    [2]        5 B",
        "",
        "6 variables, 60,008 elements, 234.4 KiB",
    ]


@pytest.mark.parametrize("tail", ["", ".index", ".data-00000-of-00001", ".meta"])
def test_a_checkpoint_may_be_named_by_any_of_its_files(headrace, tmp_path, tail):
    path = save(tmp_path / "model-7", w=np.ones(3))
    (tmp_path / "model-7.meta").write_bytes(b"")
    status, lines, _ = headrace("checkpoint", path + tail)
    assert status == 0
    assert lines[0] == path
    assert lines[-1] == "1 variable, 3 elements, 24 B"


def test_of_a_folder_the_latest_is_taken(headrace, tmp_path):
    for step in (1, 2, 3):
        path = save(tmp_path / f"model-{step}", step=np.int64(step))
        if step < 3:
            update_checkpoint_state(str(tmp_path), path)
    assert headrace("checkpoint", tmp_path)[1][0] == str(tmp_path / "model-2")


@pytest.mark.parametrize(
    ("size", "words"),
    [(1023, "1023 B"), (1024, "1.0 KiB"), (1536, "1.5 KiB"), (1048575, "1.0 MiB"),
     (1048576, "1.0 MiB"), (123456789, "117.7 MiB")],
)  # fmt: skip
def test_sizes_are_in_the_unit_that_fits(headrace, tmp_path, size, words):
    path = save(tmp_path / "m", v=np.zeros(size, np.int8))
    assert headrace("checkpoint", path)[1][3].endswith(f"[{size}]  {words}")


def test_values_are_printed(headrace, tmp_path):
    path = save(tmp_path / "m", v=np.arange(3), w=np.array([b"a"], object), x=np.zeros(9))
    assert headrace("checkpoint", path, "--values", "w", "--values", "v")[1] == [
        "w string [1]",
        "[b'a']",
        "v int64 [3]",
        "[0 1 2]",
    ]


# -- comparing -------------------------------------------------------------------------------------


def test_equal_checkpoints(headrace, tmp_path):
    values = {
        "w": np.array([1.0, np.nan, np.inf, -0.0], np.float32),
        "h": np.array([np.nan, 2], ml_dtypes.bfloat16),
        "words": np.array([b"a", b""], object),
        "none": np.zeros((0, 3)),
        "c": np.array([complex(np.nan, 1)]),
    }
    a, b = save(tmp_path / "a", **values), save(tmp_path / "b", **values)
    status, lines, err = headrace("checkpoint", a, b)
    assert (status, err) == (0, "")
    assert lines == [f"A: {a}", f"B: {b}", "", "All values are equal: 5 variables."]


def test_differences_of_all_kinds(headrace, tmp_path):
    w = np.arange(6, dtype=np.float32).reshape(2, 3)
    a = save(tmp_path / "a", w=w, k=np.ones(2, np.int32), t=np.ones(2), old=np.int64(0), same=1.0)
    w = w + np.float32([[0, 0, 0.5], [0, 0, 1]])
    b = save(
        tmp_path / "b", w=w, k=np.ones(3, np.int32), t=np.ones(2, np.float32),
        new=np.zeros((4, 5), bool), same=1.0,
    )  # fmt: skip
    status, lines, _ = headrace("checkpoint", a, b)
    assert status == 1
    assert section(lines, "only in A") == [["old", "int64", "[]"]]
    assert section(lines, "only in B") == [["new", "bool", "[4,5]"]]
    assert section(lines, "shape or type differs") == [
        ["k", "int32", "[2]", "in A,", "int32", "[3]", "in B"],
        ["t", "float64", "[2]", "in A,", "float32", "[2]", "in B"],
    ]
    assert section(lines, "values differ") == [
        ["name", "type", "shape", "elements", "difference", "relative"],
        ["w", "float32", "[2,3]", "2 of 6", "1", "0.2"],
    ]
    assert lines[-1] == "5 of 6 variables differ; equal: 1."


@pytest.mark.parametrize(
    ("a", "b", "shown"),
    [
        (np.int64([2**53]), np.int64([2**53 + 1]), ["1 of 1", "1", "1.11e-16"]),
        (np.int64([-(2**63)]), np.int64([2**63 - 1]), ["1 of 1", str(2**64 - 1), "2"]),
        (np.uint8([0, 200]), np.uint8([100, 0]), ["2 of 2", "200", "1"]),
        (np.float64([1.0, np.inf]), np.float64([1.5, 2.0]), ["2 of 2", "inf", "inf"]),
        (np.float32([1.0, np.nan]), np.float32([1.5, 2.0]), ["2 of 2", "nan", "nan"]),
        (np.float16([6e4]), np.float16([-6e4]), ["1 of 1", "1.2e+05", "2"]),
        (np.array([1.0], ml_dtypes.bfloat16), np.array([2.0], ml_dtypes.bfloat16),
         ["1 of 1", "1", "0.5"]),
        (np.complex64([3 + 4j]), np.complex64([0]), ["1 of 1", "5", "1"]),
        (np.array([True, False]), np.array([True, True]), ["1 of 2", "–", "–"]),
        (np.array([b"a", b"b"], object), np.array([b"a", b"c"], object), ["1 of 2", "–", "–"]),
    ],
)  # fmt: skip
def test_the_greatest_difference_is_right_in_every_type(headrace, tmp_path, a, b, shown):
    status, lines, _ = headrace("checkpoint", save(tmp_path / "a", v=a), save(tmp_path / "b", v=b))
    assert status == 1
    assert section(lines, "values differ")[1][3:] == shown


def test_differences_far_apart_are_all_found(headrace, tmp_path):
    a = np.zeros(3 << 20, np.int32)
    b = a.copy()
    b[[5, 1 << 20, -1]] = 1, -4, 2
    _, lines, _ = headrace("checkpoint", save(tmp_path / "a", v=a), save(tmp_path / "b", v=b))
    assert section(lines, "values differ")[1][3:] == ["3 of 3,145,728", "4", "1"]


# -- trouble ---------------------------------------------------------------------------------------


def test_of_a_wrong_name_the_nearest_are_said(headrace, tmp_path):
    for name in ("model-10", "model-20", "other"):
        save(tmp_path / name, v=1.0)
    status, lines, err = headrace("checkpoint", tmp_path / "modle-10")
    assert (status, lines) == (2, [])
    assert err == (
        f"headrace: There is no checkpoint {tmp_path}/modle-10. "
        f"{tmp_path} has model-10, model-20 and others.\n"
    )


def test_a_folder_without_a_latest_one_says_what_it_has(headrace, tmp_path):
    assert headrace("checkpoint", tmp_path)[2].endswith(f"There is none in {tmp_path}.\n")
    save(tmp_path / "model-1", v=1.0)
    status, _, err = headrace("checkpoint", tmp_path)
    assert status == 2
    assert "has no file `checkpoint`" in err
    assert f"{tmp_path} has model-1." in err


@pytest.mark.parametrize(
    ("state", "words"),
    [("model_checkpoint_path: 'gone-9'", "match files for checkpoint"),
     ("nonsense", "Checkpoint ignored"), ("", "Invalid checkpoint state")],
)  # fmt: skip
def test_a_state_file_that_does_not_help(headrace, tmp_path, state, words):
    save(tmp_path / "model-1", v=1.0)
    (tmp_path / "checkpoint").write_text(state)
    status, _, err = headrace("checkpoint", tmp_path)
    assert status == 2
    assert words in err
    assert f"{tmp_path} has model-1." in err


def test_a_folder_that_is_not_there(headrace, tmp_path):
    status, _, err = headrace("checkpoint", tmp_path / "gone" / "model-1")
    assert status == 2
    assert f"{tmp_path}/gone: No such file or directory" in err


def test_a_broken_file_is_found(headrace, tmp_path):
    a, b = (save(tmp_path / name, v=np.arange(9.0), w=1.0) for name in "ab")
    data = tmp_path / "b.data-00000-of-00001"
    raw = bytearray(data.read_bytes())
    raw[3] ^= 1
    data.write_bytes(raw)
    status, _, err = headrace("checkpoint", a, b)
    assert status == 2
    assert f"v in {data} is broken" in err
    index = tmp_path / "a.index"
    index.write_bytes(index.read_bytes()[:30])
    status, lines, err = headrace("checkpoint", a)
    assert (status, lines) == (2, [])
    assert "too short" in err


def test_a_variable_that_is_not_there(headrace, tmp_path):
    path = save(tmp_path / "m", weights=1.0)
    status, lines, err = headrace("checkpoint", path, "--values", "weihgts")
    assert (status, lines) == (2, [])
    assert "Nearest to weihgts: weights" in err


def test_values_are_of_one_checkpoint(headrace, tmp_path):
    path = save(tmp_path / "m", v=1.0)
    status, _, err = headrace("checkpoint", path, path, "--values", "v")
    assert status == 2
    assert "one checkpoint" in err


# -- the process -----------------------------------------------------------------------------------


def test_status_and_streams_of_the_process(tmp_path):
    a, b = save(tmp_path / "a", v=1.0), save(tmp_path / "b", v=2.0)
    for arguments, status in (((a,), 0), ((a, a), 0), ((a, b), 1), ((a, tmp_path / "c"), 2)):
        done = in_shell("checkpoint", *arguments)
        assert done.returncode == status
        assert bool(done.stderr) == (status == 2)
        assert bool(done.stdout) == (status != 2)
    usage = in_shell("checkpoint")
    assert usage.returncode == 2
    assert usage.stderr.startswith("usage: headrace checkpoint")
    assert in_shell("--version").stdout == f"headrace {__version__}\n"
    assert "checkpoint" in in_shell("--help").stdout


def test_jax_is_not_loaded(tmp_path):
    path = save(tmp_path / "a", v=1.0)
    code = (
        "import sys; from headrace.cli import main; main(sys.argv[1:]); "
        "sys.exit(any(name.partition('.')[0] in ('jax', 'jaxlib') for name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code, "checkpoint", path, path], timeout=120)
    assert done.returncode == 0


def test_a_reader_that_has_seen_enough_is_no_trouble(tmp_path):
    path = save(tmp_path / "m", **{f"variable_{i:06}": np.float32(i) for i in range(20_000)})
    command = [sys.executable, "-m", "headrace", "checkpoint", path]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().decode().strip() == path
        process.stdout.close()
        assert process.stderr.read() == b""
