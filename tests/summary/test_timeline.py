"""Timeline: what ran, when and where, for Chrome's trace viewer."""

from __future__ import annotations

import itertools
import json

import pytest

import headrace as tf
from headrace.timeline import Timeline


def traced_run():
    """The RunMetadata of a run of three ops."""
    x = tf.placeholder(tf.float32, (None, 3), name="x")
    product = tf.matmul(x, tf.get_variable("w", (3, 4)), name="product")
    y = tf.nn.relu(tf.add(product, 1.0, name="sum"), name="y")
    metadata = tf.RunMetadata()
    options = tf.RunOptions(trace_level=tf.RunOptions.FULL_TRACE)
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        session.run(y, {x: [[1, 2, 3]]}, options=options, run_metadata=metadata)
    return metadata


def bars(text):
    return [e for e in json.loads(text)["traceEvents"] if e["ph"] == "X"]


def stats_of(*rows):
    """StepStats of one device: rows of name, label, start, duration, bytes of its outputs."""
    stats = tf.RunMetadata().step_stats
    device = stats.dev_stats.add(device="/job:localhost/replica:0/task:0/device:CPU:0")
    for name, label, start, duration, *sizes in rows:
        node = device.node_stats.add(node_name=name, timeline_label=label)
        node.all_start_micros, node.all_end_rel_micros = start, duration
        for size in sizes:
            given = node.output.add().tensor_description.allocation_description
            given.requested_bytes, given.allocator_name = size, "heap"
    return stats


def test_bars_of_a_run_are_its_ops_in_order():
    made = bars(Timeline(traced_run().step_stats).generate_chrome_trace_format())
    ops = {bar["args"]["name"]: bar["name"] for bar in made}
    assert {"product": "MatMul", "sum": "AddV2", "y": "Relu"}.items() <= ops.items()
    by_name = {bar["args"]["name"]: bar for bar in made}
    assert by_name["y"]["args"]["input0"].removesuffix(":0") == "sum"
    in_time = [by_name[name] for name in ("product", "sum", "y")]
    for before, after in itertools.pairwise(in_time):
        assert before["ts"] + before["dur"] <= after["ts"]
    assert all(bar["cat"] == "Op" and bar["dur"] >= 1 for bar in in_time)


def test_processes_are_named():
    events = json.loads(Timeline(traced_run().step_stats).generate_chrome_trace_format())
    names = {
        e["pid"]: e["args"]["name"] for e in events["traceEvents"] if e["name"] == "process_name"
    }
    device = "/job:localhost/replica:0/task:0/device:CPU:0"
    assert names == {0: "Allocators", 1: f"{device} Compute", 2: f"{device} Tensors"}


def test_ops_that_overlap_lie_in_lanes():
    stats = stats_of(
        ("a", "a = A()", 10, 5), ("b", "b = B()", 12, 9), ("c", "c = C()", 16, 2),
        ("d", "d = D()", 21, 1),
    )  # fmt: skip
    made = bars(Timeline(stats).generate_chrome_trace_format())
    assert [(b["name"], b["tid"]) for b in made] == [("A", 0), ("B", 1), ("C", 0), ("D", 0)]


def test_arrows_lead_from_lane_to_lane_and_can_be_left_out():
    stats = stats_of(("a", "a = A()", 10, 5, 4), ("b", "b = B(a)", 12, 2), ("c", "c = C(a)", 20, 2))
    events = Timeline(stats).analyze_step_stats().chrome_trace.events
    arrows = [e for e in events if e.get("cat") == "DataFlow"]
    assert [(e["ph"], e["name"], e["ts"], e["tid"], e["id"]) for e in arrows] == [
        ("s", "a", 15, 0, 0),
        ("t", "a", 12, 1, 0),
    ]
    assert "DataFlow" not in Timeline(stats).generate_chrome_trace_format(show_dataflow=False)


def test_memory_is_counted_until_the_last_use():
    stats = stats_of(
        ("a", "a = A()", 10, 5, 100), ("b", "b = B(a)", 16, 4, 30), ("c", "c = C(b)", 21, 9)
    )
    analysis = Timeline(stats).analyze_step_stats()
    events = analysis.chrome_trace.events
    counters = [(e["ts"], e["args"]["heap"]) for e in events if e["ph"] == "C"]
    assert counters == [(10, 100), (16, 130), (19, 30), (29, 0)]
    most = analysis.allocator_maximums["heap"]
    assert (most.timestamp, most.num_bytes, most.tensors) == (16, 130, {"a", "b"})


def test_a_node_that_ran_twice_has_two_tensors():
    stats = stats_of(("a", "a = A()", 10, 5, 100), ("a", "a = A()", 20, 5, 100))
    events = Timeline(stats).analyze_step_stats().chrome_trace.events
    tensors = [(e["ph"], e["id"]) for e in events if e.get("cat") == "Tensor"]
    assert tensors == [("N", 0), ("O", 0), ("N", 1), ("O", 1), ("D", 0), ("D", 1)]
    assert [e["args"]["heap"] for e in events if e["ph"] == "C"] == [100, 0, 100, 0]


def test_a_timeline_can_be_asked_again_and_changes_nothing():
    stats = traced_run().step_stats
    before = stats.SerializeToString()
    timeline = Timeline(stats, graph=tf.get_default_graph())
    first = timeline.generate_chrome_trace_format(show_memory=True)
    assert timeline.generate_chrome_trace_format(show_memory=True) == first
    assert stats.SerializeToString() == before


def test_an_empty_run_is_an_empty_trace():
    text = Timeline(tf.RunMetadata().step_stats).generate_chrome_trace_format()
    assert [e["args"]["name"] for e in json.loads(text)["traceEvents"]] == ["Allocators"]


def test_what_is_no_step_stats_is_refused():
    with pytest.raises(TypeError, match="not RunMetadata: give its step_stats"):
        Timeline(tf.RunMetadata())
    with pytest.raises(TypeError, match=r"must be a StepStats proto, not dict\."):
        Timeline({})
    with pytest.raises(ValueError, match="schedule, gpu, all; got 'fast'"):
        Timeline(tf.RunMetadata().step_stats).generate_chrome_trace_format(op_time="fast")
