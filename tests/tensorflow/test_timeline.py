"""Chrome traces of the same StepStats, by TensorFlow's Timeline and by ours."""

from __future__ import annotations

import json
import random

import pytest

from headrace import protos
from headrace.timeline import Timeline


@pytest.fixture
def theirs(tf):
    return pytest.importorskip("tensorflow.python.client.timeline").Timeline


def add_node(device, name, label, start, duration, sizes=(), allocator="cpu"):
    node = device.node_stats.add(
        node_name=name, timeline_label=label, all_start_micros=start, all_end_rel_micros=duration
    )
    for slot, size in enumerate(sizes):
        tensor = node.output.add(slot=slot).tensor_description
        tensor.dtype = 1
        tensor.shape.dim.add(size=size)
        tensor.allocation_description.requested_bytes = 4 * size
        tensor.allocation_description.allocator_name = allocator


def two_devices():
    """Ops that overlap, one on another device, kernels, a transfer, labels of odd forms."""
    stats = protos.RunMetadata().step_stats
    cpu = stats.dev_stats.add(device="/job:localhost/replica:0/task:0/device:CPU:0")
    add_node(cpu, "a", "a = Const()", 100, 10, [3])
    add_node(cpu, "b", "b = Split(a, a)", 105, 20, [3, 5])
    add_node(cpu, "c", "c = Foo(b, b:1, gone)", 126, 2, [7])
    add_node(cpu, "odd", "no label", 127, 2)
    add_node(cpu, "RecvTensor", "[3] edge_9_c from /job to /job", 127, 3)
    gpu = stats.dev_stats.add(device="/job:localhost/replica:0/task:0/device:GPU:0")
    add_node(gpu, "d", "d = Bar(c/_3, c/_4)", 131, 2, [9], "GPU_0_bfc")
    add_node(gpu, "e", "e = Bar(d)", 140, 2, [9], "GPU_0_bfc")
    stream = stats.dev_stats.add(device="/device:GPU:0/stream:all")
    add_node(stream, "ignored", "void gemm(float) [1] @@d:Bar#id=4", 133, 5)
    add_node(stream, "ignored", "void gemm(float) [2] @@d:Bar#id=4", 139, 6)
    add_node(stream, "e:Bar", "scale", 146, 3)
    add_node(stream, "nameless", "# @@x:y#", 150, 3)
    return stats


def at_random(seed):
    numbers = random.Random(seed)
    stats = protos.RunMetadata().step_stats
    names = []
    for i in range(numbers.randint(1, 3)):
        device = stats.dev_stats.add(device=f"/job:w/device:CPU:{i}")
        for j in range(numbers.randint(0, 25)):
            name = f"n{i}_{j}"
            inputs = numbers.choices(names, k=numbers.randint(0, 3)) if names else []
            label = f"{name} = Op{j % 4}({', '.join(inputs)})"
            sizes = [numbers.randint(1, 99) for _ in range(numbers.randint(0, 2))]
            start = 1000 + 10 * j + numbers.randint(-30, 30)
            add_node(device, name, label, start, numbers.randint(0, 60), sizes, f"heap{j % 2}")
            names += [name, f"{name}:1"][: len(sizes)]
    return stats


@pytest.mark.parametrize("op_time", ["schedule", "gpu", "all"])
@pytest.mark.parametrize("show_memory", [False, True])
@pytest.mark.parametrize("show_dataflow", [False, True])
def test_traces_are_equal(theirs, show_dataflow, show_memory, op_time):
    stats = two_devices()
    ours = Timeline(stats).generate_chrome_trace_format(show_dataflow, show_memory, op_time)
    expected = theirs(stats).generate_chrome_trace_format(show_dataflow, show_memory, op_time)
    assert json.loads(ours) == json.loads(expected)
    assert ours == expected


@pytest.mark.parametrize("seed", range(20))
def test_traces_of_random_stats_are_equal(theirs, seed):
    stats = at_random(seed)
    ours = Timeline(stats).analyze_step_stats()
    expected = theirs(stats).analyze_step_stats()
    assert json.loads(ours.chrome_trace.format_to_string()) == json.loads(
        expected.chrome_trace.format_to_string()
    )
    assert ours.allocator_maximums == expected.allocator_maximums


def test_analysis_has_theirs_fields(theirs):
    stats = two_devices()
    ours, expected = (made(stats).analyze_step_stats() for made in (Timeline, theirs))
    assert ours._fields == expected._fields
    assert list(ours.allocator_maximums) == list(expected.allocator_maximums) != []
    for name, most in expected.allocator_maximums.items():
        assert ours.allocator_maximums[name]._asdict() == most._asdict()


def test_a_real_trace_of_tensorflow_reads_alike(tf, theirs):
    x = tf.placeholder(tf.float32, (None, 3))
    y = tf.nn.relu(tf.matmul(x, tf.ones((3, 4))) + 1.0)
    metadata = tf.RunMetadata()
    options = tf.RunOptions(trace_level=tf.RunOptions.FULL_TRACE)
    with tf.Session() as session:
        session.run(y, {x: [[1, 2, 3]]}, options=options, run_metadata=metadata)
    ours = Timeline(metadata.step_stats).generate_chrome_trace_format(show_memory=True)
    assert json.loads(ours) == json.loads(
        theirs(metadata.step_stats).generate_chrome_trace_format(show_memory=True)
    )
    assert '"op": "Relu"' in ours
