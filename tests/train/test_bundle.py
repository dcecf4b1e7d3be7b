"""Checkpoint files by themselves: what is written is read, kills and broken files do no harm."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import textwrap
from contextlib import suppress

import ml_dtypes
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headrace import errors
from headrace.bundle import BundleReader, BundleWriter, files, merge, open_checkpoint, slices, table
from headrace.bundle.protos import message

DTYPES = [
    np.float32, np.float64, np.float16, ml_dtypes.bfloat16, np.int8, np.int16, np.int32, np.int64,
    np.uint8, np.uint16, np.uint32, np.uint64, np.bool_, np.complex64, np.complex128,
]  # fmt: skip
SHAPES = [(), (0,), (1,), (3, 0, 2), (5,), (2, 3, 4)]


def strings(*values):
    made = np.empty(len(values), object)
    made[:] = values
    return made


def write(prefix, tensors):
    with BundleWriter(str(prefix)) as writer:
        for name, array in tensors.items():
            writer.add(name, array)
        writer.finish()


def read(prefix):
    with BundleReader(str(prefix)) as reader:
        return {name: reader.read(name) for name in reader.names()}


def assert_same(ours, theirs):
    assert list(ours) == sorted(theirs)
    for name, array in ours.items():
        assert array.dtype == np.asarray(theirs[name]).dtype
        assert array.shape == np.shape(theirs[name])
        if array.dtype == object:
            assert array.ravel().tolist() == np.ravel(theirs[name]).tolist()
        else:
            assert array.tobytes() == np.ascontiguousarray(theirs[name]).tobytes()


# -- what is written is read -----------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: np.dtype(d).name)
def test_every_type_and_shape(tmp_path, dtype):
    rng = np.random.default_rng(0)
    tensors = {f"t{i}": rng.integers(0, 2, shape).astype(dtype) for i, shape in enumerate(SHAPES)}
    write(tmp_path / "m", tensors)
    assert_same(read(tmp_path / "m"), tensors)


def test_strings(tmp_path):
    tensors = {
        "none": np.empty((0, 2), object),
        "one": np.array(b"\0\xff", object),
        "many": strings(b"", b"a", b"b" * 127, b"c" * 128, b"d" * 70_000).reshape(5, 1),
    }
    write(tmp_path / "m", tensors)
    assert_same(read(tmp_path / "m"), tensors)


def test_arrays_that_lie_otherwise_in_memory(tmp_path):
    x = np.arange(24.0).reshape(4, 6)
    tensors = {"turned": x.T, "strided": x[::2, ::-3], "broadcast": np.broadcast_to(x, (2, 4, 6))}
    write(tmp_path / "m", tensors)
    assert_same(read(tmp_path / "m"), tensors)


def test_more_than_one_chunk_and_more_than_one_block(tmp_path):
    rng = np.random.default_rng(0)
    tensors = {f"layer_{i}/{'w' * 200}": rng.random(3) for i in range(3000)}
    tensors["big"] = rng.integers(0, 255, (1 << 23) + 12345, np.uint8)
    write(tmp_path / "m", tensors)
    assert_same(read(tmp_path / "m"), tensors)


def test_names_are_any_text(tmp_path):
    tensors = {name: np.array(i) for i, name in enumerate(("a/b:0", "é", "x" * 5000, "\udcff"))}
    write(tmp_path / "m", tensors)
    assert_same(read(tmp_path / "m"), tensors)


def test_the_same_tensors_are_the_same_files(tmp_path):
    tensors = {"a": np.arange(3), "b": np.ones((2, 2))}
    for name in ("x", "y"):
        write(tmp_path / name, tensors)
    for tail in ("index", "data-00000-of-00001"):
        assert (tmp_path / f"x.{tail}").read_bytes() == (tmp_path / f"y.{tail}").read_bytes()


def test_a_name_is_taken_once(tmp_path):
    with BundleWriter(str(tmp_path / "m")) as writer:
        writer.add("a", np.zeros(2))
        with pytest.raises(errors.InvalidArgumentError, match="Adding duplicate key: a"):
            writer.add("a", np.zeros(2))
    assert os.listdir(tmp_path) == []


def test_an_unfinished_one_leaves_nothing(tmp_path):
    write(tmp_path / "m", {"a": np.zeros(2)})
    before = sorted(os.listdir(tmp_path))
    with BundleWriter(str(tmp_path / "m")) as writer:
        writer.add("a", np.ones(1 << 20))
    assert sorted(os.listdir(tmp_path)) == before
    assert_same(read(tmp_path / "m"), {"a": np.zeros(2)})


def test_the_directory_is_made_but_not_its_parent(tmp_path):
    write(tmp_path / "new" / "m", {"a": np.zeros(2)})
    assert_same(read(tmp_path / "new" / "m"), {"a": np.zeros(2)})
    with pytest.raises(errors.NotFoundError, match="No such file or directory"):
        BundleWriter(str(tmp_path / "no" / "such" / "m"))


def test_a_missing_name_says_what_there_is(tmp_path):
    write(tmp_path / "m", {"dense/kernel": np.zeros((2, 3)), "dense/bias": np.zeros(3)})
    with BundleReader(str(tmp_path / "m")) as reader, pytest.raises(errors.NotFoundError) as caught:
        reader.read("dense/kernels")
    text = str(caught.value)
    assert text.startswith("Key dense/kernels not found in checkpoint\n")
    assert "dense/kernel: float64 [2, 3]" in text
    assert "Nearest to dense/kernels: dense/kernel" in text


def test_missing_files(tmp_path):
    with pytest.raises(errors.NotFoundError, match="Failed to find any matching files for"):
        open_checkpoint(str(tmp_path / "m"))
    write(tmp_path / "m", {"a": np.zeros(2)})
    os.remove(tmp_path / "m.data-00000-of-00001")
    with pytest.raises(errors.NotFoundError, match="data-00000-of-00001; No such file"):
        read(tmp_path / "m")


# -- parts -----------------------------------------------------------------------------------------

WHOLE = np.arange(35, dtype=np.float32).reshape(7, 5)


def write_parts(prefix, cuts, name="w"):
    with BundleWriter(str(prefix)) as writer:
        for box in cuts:
            writer.add_slice(name, WHOLE.shape, box, WHOLE[slices.index(box)])
        writer.finish()


def test_parts_are_read_as_a_whole_and_as_other_parts(tmp_path):
    write_parts(tmp_path / "m", [((0, 3), (0, 5)), ((3, 2), (0, 5)), ((5, 2), (0, 5))])
    with BundleReader(str(tmp_path / "m")) as reader:
        assert reader.names() == ["w"]
        assert reader.shapes == {"w": (7, 5)}
        np.testing.assert_array_equal(reader.read("w"), WHOLE)
        for box in (((2, 3), (0, -1)), ((0, -1), (4, 1)), ((6, 1), (1, 2)), ((3, 2), (0, 5))):
            wanted = WHOLE[slices.index(slices.within(box, (7, 5)))]
            np.testing.assert_array_equal(reader.read_slice("w", box), wanted)


def test_parts_of_strings(tmp_path):
    words = np.array([[b"a", b"bb"], [b"ccc", b""]], object)
    with BundleWriter(str(tmp_path / "m")) as writer:
        for i in range(2):
            writer.add_slice("s", (2, 2), ((i, 1), (0, 2)), words[i : i + 1])
        writer.finish()
    assert read(tmp_path / "m")["s"].tolist() == words.tolist()


def test_a_whole_is_read_in_parts(tmp_path):
    write(tmp_path / "m", {"w": WHOLE})
    with BundleReader(str(tmp_path / "m")) as reader:
        np.testing.assert_array_equal(reader.read_slice("w", ((2, 3), (0, -1))), WHOLE[2:5])


@pytest.mark.parametrize(
    "cuts",
    [
        [((0, 3), (0, 5))],  # a hole
        [((0, 4), (0, 5)), ((3, 3), (0, 5))],  # one overlaps the other, which makes up for a hole
    ],
)
def test_parts_that_are_not_the_whole(tmp_path, cuts):
    write_parts(tmp_path / "m", cuts)
    with pytest.raises(errors.InvalidArgumentError, match="Does not have sufficient slices for"):
        read(tmp_path / "m")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("5", "Need least two elements"),
        ("a 0,1", "Non numerical dimension"),
        ("5 0;1", "Expected a pair of numbers or '-'"),
        ("5 0,0", "Expected non-negative start and positive length"),
        ("5 -1,2", "Expected non-negative start and positive length"),
        ("5 4,2", "out of bounds"),
        ("5 2 0,1", "Mismatching ranks"),
    ],
)
def test_specs_that_are_none(spec, message):
    with pytest.raises(errors.InvalidArgumentError, match=message):
        slices.parse_spec(spec)


numbers = st.integers(-1, 1 << 40)
boxes = st.lists(st.tuples(numbers, numbers), min_size=1, max_size=2).map(tuple)


@given(st.tuples(st.binary(max_size=4), boxes), st.tuples(st.binary(max_size=4), boxes))
def test_keys_are_in_the_order_of_what_they_say(a, b):
    def order(row):
        return row[0], len(row[1]), row[1]

    assert (slices.slice_key(*a) < slices.slice_key(*b)) == (order(a) < order(b))


def test_merging_makes_one_of_several(tmp_path):
    (tmp_path / "t").mkdir()
    half = [((0, 4), (0, 5)), ((4, 3), (0, 5))]
    for i in range(2):
        with BundleWriter(str(tmp_path / "t" / f"part{i}")) as writer:
            writer.add(f"v{i}", np.full(3, i))
            writer.add_slice("w", (7, 5), half[i], WHOLE[slices.index(half[i])])
            writer.finish()
    merge([str(tmp_path / "t" / f"part{i}") for i in range(2)], str(tmp_path / "m"))
    assert_same(read(tmp_path / "m"), {"v0": np.full(3, 0), "v1": np.full(3, 1), "w": WHOLE})
    assert os.listdir(tmp_path / "t") == []
    assert sorted(p.name for p in tmp_path.glob("m*")) == [
        "m.data-00000-of-00002", "m.data-00001-of-00002", "m.index",
    ]  # fmt: skip


def test_merging_refuses_what_is_there_twice(tmp_path):
    for i in range(2):
        write(tmp_path / f"part{i}", {"v": np.zeros(2)})
    with pytest.raises(errors.InvalidArgumentError, match="Duplicate tensor keyed by v"):
        merge([str(tmp_path / f"part{i}") for i in range(2)], str(tmp_path / "m"))


# -- kills -----------------------------------------------------------------------------------------

KILLS = """
    import os, signal, sys
    import numpy as np
    from headrace.bundle import BundleReader, BundleWriter, files

    def save(prefix, value):
        with BundleWriter(prefix) as writer:
            writer.add("a", np.full(1000, value))
            writer.add("b", np.full(3, value))
            writer.finish()

    def load(prefix):
        with BundleReader(prefix) as reader:
            a, b = reader.read("a"), reader.read("b")
        assert len(set(a.tolist() + b.tolist())) == 1, "a mixture"
        return int(b[0])

    def killed_at(n, after, prefix, value):
        calls = 0
        def counted(function):
            def call(*args, **kwargs):
                nonlocal calls
                calls += 1
                if calls == n and not after:
                    os.kill(os.getpid(), signal.SIGKILL)
                result = function(*args, **kwargs)
                if calls == n:
                    os.kill(os.getpid(), signal.SIGKILL)
                return result
            return call
        pid = os.fork()
        if not pid:
            for name in ("replace", "link", "unlink", "fsync"):
                setattr(os, name, counted(getattr(os, name)))
            save(prefix, value)
            os._exit(0)
        return os.waitpid(pid, 0)[1] != 0

    prefix, value, kills = sys.argv[1], 0, 0
    for saved_before in (False, True):
        for after in (False, True):
            n = 1
            while True:
                for path in os.listdir(os.path.dirname(prefix)):
                    os.unlink(os.path.join(os.path.dirname(prefix), path))
                if saved_before:
                    save(prefix, value)
                known = {value} if saved_before else set()
                killed = killed_at(n, after, prefix, value + 1)
                kills += killed
                if not os.path.exists(files.index_name(prefix)):
                    assert not saved_before and killed, "the checkpoint is gone"
                else:
                    assert load(prefix) in known | {value + 1}, "not a checkpoint that was saved"
                value += 2
                save(prefix, value)
                assert load(prefix) == value
                left = sorted(os.listdir(os.path.dirname(prefix)))
                assert [p for p in left if "index.tempstate" not in p] == [
                    "m.data-00000-of-00001", "m.index"], left
                if not killed:
                    break
                n += 1
    print(kills)
"""


def test_a_kill_at_any_step_leaves_the_old_or_the_new(tmp_path):
    command = [sys.executable, "-c", textwrap.dedent(KILLS), str(tmp_path / "m")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 30


def test_without_links_the_checkpoint_is_whole_too(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError(1, "no links here")

    monkeypatch.setattr(os, "link", refuse)
    for i in range(4):
        write(tmp_path / "m", {"a": np.full(3, i)})
        assert_same(read(tmp_path / "m"), {"a": np.full(3, i)})
        assert len(os.listdir(tmp_path)) == 2


def test_a_full_disk_leaves_the_old(tmp_path, monkeypatch):
    write(tmp_path / "m", {"a": np.zeros(2)})
    real = os.fsync
    for n in range(1, 4):
        calls = 0

        def fails(handle, n=n):
            nonlocal calls
            calls += 1
            if calls == n:
                raise OSError(28, "No space left on device")
            real(handle)

        monkeypatch.setattr(os, "fsync", fails)
        if n < 3:
            with pytest.raises(errors.ResourceExhaustedError, match="No space left on device"):
                write(tmp_path / "m", {"a": np.ones(2)})
            wanted = np.zeros(2)
        else:  # the index was there already, under other names of the data
            write(tmp_path / "m", {"a": np.ones(2)})
            wanted = np.ones(2)
        assert_same(read(tmp_path / "m"), {"a": wanted})
        assert len(os.listdir(tmp_path)) == 2


# -- broken files ----------------------------------------------------------------------------------

TENSORS = {
    "a": np.arange(40.0),
    "b/c": np.array(5, np.int32),
    "empty": np.zeros((0, 3), np.float32),
    "words": strings(b"one", b"", b"three" * 50),
}
fuzz = settings(
    max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture
def whole(tmp_path):
    """A prefix, and the bytes of a good checkpoint's two files."""
    prefix = tmp_path / "m"
    with BundleWriter(str(prefix)) as writer:
        for name, array in TENSORS.items():
            writer.add(name, array)
        for start, size in ((0, 2), (2, 2), (4, 3)):
            writer.add_slice("w", (7, 5), ((start, size), (0, 5)), WHOLE[start : start + size])
        writer.finish()
    return prefix, [(tmp_path / f"m.{t}").read_bytes() for t in ("index", "data-00000-of-00001")]


def mutate(data, draw):
    data = bytearray(data)
    kind = draw(st.sampled_from(["flip", "cut", "insert", "zero"]))
    at = draw(st.integers(0, len(data) - 1))
    if kind == "flip":
        data[at] ^= 1 << draw(st.integers(0, 7))
    elif kind == "cut":
        del data[at:]
    elif kind == "insert":
        data[at:at] = draw(st.binary(min_size=1, max_size=8))
    else:
        data[at : at + draw(st.integers(1, 64))] = b""
    return bytes(data)


@fuzz
@given(st.data())
def test_a_mutated_file_is_refused_or_does_not_matter(whole, data):
    prefix, contents = whole
    which = data.draw(st.integers(0, 1))
    contents = list(contents)
    contents[which] = mutate(contents[which], data.draw)
    for tail, content in zip(("index", "data-00000-of-00001"), contents, strict=True):
        with open(f"{prefix}.{tail}", "wb") as file:
            file.write(content)
    try:
        found = read(prefix)
    except (errors.DataLossError, errors.NotFoundError):
        return
    assert_same(found, {**TENSORS, "w": WHOLE})


@fuzz
@given(st.data())
def test_an_index_that_lies_is_refused(whole, data):
    """Entries with other contents, but with good checksums."""
    prefix, (index, _) = whole
    with open(f"{prefix}.index", "wb") as file:
        file.write(index)
    with open(f"{prefix}.index", "rb") as file:
        rows = dict(table.Table(file, "index"))
    key = data.draw(st.sampled_from(sorted(rows)))
    entry = message("BundleEntryProto" if key else "BundleHeaderProto").FromString(rows[key])
    if data.draw(st.booleans()):
        rows[key] = mutate(rows[key], data.draw) if rows[key] else b"x"
    else:
        field = data.draw(st.sampled_from(["dtype", "shard_id", "offset", "size"] if key else
                                          ["num_shards", "endianness"]))  # fmt: skip
        setattr(entry, field, data.draw(st.sampled_from([-1, 0, 1, 7, 20, 1 << 30])))
        if key and data.draw(st.booleans()):
            size = data.draw(st.sampled_from([-1, 0, 1, 40, 1 << 62]))
            entry.shape.dim.add(size=size)
        rows[key] = entry.SerializeToString()
    if data.draw(st.booleans()):
        del rows[data.draw(st.sampled_from(sorted(rows)))]
    with open(f"{prefix}.index", "wb") as file:
        file.write(table.write_table(sorted(rows.items())))
    try:
        found = read(prefix)
    except errors.OpError:
        return
    good = {**TENSORS, "w": WHOLE}
    for name, array in found.items():
        if name in good and array.dtype == good[name].dtype and array.shape == good[name].shape:
            assert array.tolist() == good[name].tolist()


@fuzz
@given(st.binary(max_size=200))
def test_anything_as_an_index(tmp_path, content):
    body = content + b"\0"
    block = body + struct.pack("<I", table.mask(table.google_crc32c.value(body)))
    handle = table.varint(0) + table.varint(len(content))
    footer = (handle * 2).ljust(40, b"\0") + struct.pack("<Q", 0xDB4775248B80FB57)
    for data in (content, content + footer, block + footer):
        (tmp_path / "m.index").write_bytes(data)
        with pytest.raises(errors.OpError):
            read(tmp_path / "m")


@pytest.mark.parametrize("shape", [(0, 3, 1 << 62), (0, 1 << 40, 1 << 40), (0,) * 70, (-1,)])
def test_no_array_has_such_a_shape(tmp_path, shape):
    write(tmp_path / "m", {"a": np.zeros(0)})
    with open(tmp_path / "m.index", "rb") as file:
        rows = dict(table.Table(file, "index"))
    entry = message("BundleEntryProto").FromString(rows[b"a"])
    entry.shape.Clear()
    for n in shape:
        entry.shape.dim.add(size=n)
    rows[b"a"] = entry.SerializeToString()
    (tmp_path / "m.index").write_bytes(table.write_table(sorted(rows.items())))
    with pytest.raises(errors.DataLossError, match="Invalid tensor shape: a"):
        read(tmp_path / "m")


def test_a_table_can_not_ask_for_any_memory(tmp_path):
    long = b"k" * 4000
    entries = [b"\0" + table.varint(len(long)) + b"\0" + long]
    entries += [table.varint(len(long) + i) + b"\1\0a" for i in range(3000)]
    restarts = struct.pack("<II", 0, 1)
    with pytest.raises(IndexError, match="keys are too long"):
        list(table._entries(b"".join(entries) + restarts))


# -- compressed blocks -----------------------------------------------------------------------------


def test_snappy():
    assert table.unsnap(b"\0") == b""
    assert table.unsnap(b"\x05\x10hello") == b"hello"
    # a literal of 2, then a copy of 8 from 2 before: it repeats what it makes itself
    assert table.unsnap(b"\x0a\x04ab\x11\x02") == b"ab" * 5
    assert table.unsnap(b"\x06\x04ab" + bytes([3 << 2 | 2]) + b"\x02\0") == b"ababab"
    assert table.unsnap(b"\x06\x04ab" + bytes([3 << 2 | 3]) + b"\x02\0\0\0") == b"ababab"
    assert table.unsnap(table.varint(100) + bytes([60 << 2, 99]) + b"x" * 100) == b"x" * 100
    for bad in (b"\x05\x10hell", b"\x04\x10hello", b"\x06\x10hello", b"\x0a\x04ab\x11\x03",
                b"\xff\xff\xff\x7f\x10hello", b"", b"\x0a\x04ab\x11"):  # fmt: skip
        with pytest.raises((IndexError, ValueError)):
            table.unsnap(bad)


@fuzz
@given(st.binary(max_size=60))
def test_anything_as_snappy(data):
    with suppress(IndexError, ValueError):
        assert len(table.unsnap(data)) <= 64 * len(data)


def test_a_compressed_index_is_read(tmp_path, monkeypatch):
    def snap(body):
        literals = (body[i : i + 60] for i in range(0, len(body), 60))
        return table.varint(len(body)) + b"".join(bytes([len(p) - 1 << 2]) + p for p in literals)

    write(tmp_path / "m", TENSORS)
    finish = table._Block.finish
    monkeypatch.setattr(table._Block, "finish", lambda self: snap(finish(self)))
    monkeypatch.setattr(table, "_UNCOMPRESSED", 1)
    with BundleWriter(str(tmp_path / "c")) as writer:
        for name, array in TENSORS.items():
            writer.add(name, array)
        writer.finish()
    monkeypatch.undo()
    assert_same(read(tmp_path / "c"), TENSORS)


def test_a_table_finds_keys_one_by_one(tmp_path):
    rows = [(b"%06d" % i, b"v" * (i % 300)) for i in range(0, 9000, 3)]
    (tmp_path / "t").write_bytes(table.write_table(rows))
    with open(tmp_path / "t", "rb") as file:
        made = table.Table(file, "t")
        assert list(made) == rows
        assert len(made._blocks) > 1
        for key, value in rows[::97]:
            assert made.get(key) == value
            assert made.get(key + b"x") is None
        assert made.get(b"z") is None


def test_file_names():
    assert files.data_name("p", 3, 12) == "p.data-00003-of-00012"
    assert files.index_name("p") == "p.index"
