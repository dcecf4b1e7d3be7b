"""Compiled computations are kept on disk: a second start of a program does not compile."""

import os
import subprocess
import sys

PROGRAM = """
import numpy as np
import headrace as tf

x = tf.placeholder(tf.float32, (None, 4))
h = x
for i in range(4):
    h = tf.tanh(h @ tf.get_variable(f"w{i}", (4, 4), initializer=tf.ones_initializer()))
step = tf.train.AdamOptimizer(0.1).minimize(tf.reduce_mean(h))
with tf.Session() as session:
    session.run(tf.global_variables_initializer())
    for _ in range(3):
        session.run(step, {x: np.eye(4)})
    print(session.run(tf.trainable_variables()[0]).tobytes().hex())
"""


def start(cache):
    environment = {**os.environ, "HEADRACE_CACHE": str(cache)}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True
    )
    assert not done.stderr
    return done.stdout


def entries(cache):
    return sorted(p.name for p in cache.glob("*-cache"))


def test_second_start_takes_what_the_first_one_compiled(tmp_path):
    cache = tmp_path / "cache"
    first = start(cache)
    kept = entries(cache)
    assert kept
    used = [(cache / name.replace("-cache", "-atime")).stat().st_mtime_ns for name in kept]
    assert start(cache) == first
    assert entries(cache) == kept
    again = [(cache / name.replace("-cache", "-atime")).stat().st_mtime_ns for name in kept]
    assert all(b > a for a, b in zip(used, again, strict=True))


def test_cache_can_be_off(tmp_path):
    environment = {**os.environ, "HEADRACE_CACHE": "off", "XDG_CACHE_HOME": str(tmp_path)}
    subprocess.run([sys.executable, "-c", PROGRAM], env=environment, check=True, timeout=120)
    assert not list(tmp_path.iterdir())


def test_folder_that_cannot_be_written_is_done_without(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    assert start(blocked / "cache")
