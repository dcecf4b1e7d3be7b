"""`tf.logging`."""

import logging
import subprocess
import sys

import pytest

import headrace as tf


@pytest.fixture
def alone(monkeypatch):
    """To be called for the other handlers, pytest's, to be gone, as they are in a plain program."""
    logger = tf.get_logger()
    level = logger.level

    def leave_our_own():
        ours = [h for h in logger.handlers if type(h).__module__ == "headrace.logging"]
        assert len(ours) == 1
        monkeypatch.setattr(logger, "handlers", ours)
        monkeypatch.setattr(logging.getLogger(), "handlers", [])

    yield leave_our_own
    logger.setLevel(level)


def test_warnings_are_seen_and_no_less(alone, capsys):
    alone()
    assert tf.logging.get_verbosity() == tf.logging.WARN
    tf.logging.debug("d")
    tf.logging.info("i")
    tf.logging.warn("w %d", 1)
    tf.logging.warning("w")
    tf.logging.error("e %s", "x")
    tf.logging.fatal("f")
    tf.logging.TaskLevelStatusMessage("t")
    tf.logging.flush()
    said = capsys.readouterr().err.splitlines()
    assert said == [
        "WARNING:headrace:w 1", "WARNING:headrace:w", "ERROR:headrace:e x", "CRITICAL:headrace:f",
        "ERROR:headrace:t",
    ]  # fmt: skip


def test_verbosity(alone, capsys):
    alone()
    tf.logging.set_verbosity(tf.logging.INFO)
    tf.logging.debug("d")
    tf.logging.info("i")
    tf.logging.set_verbosity("DEBUG")
    tf.logging.debug("d")
    tf.logging.set_verbosity(tf.logging.FATAL)
    tf.logging.error("e")
    assert capsys.readouterr().err.splitlines() == ["INFO:headrace:i", "DEBUG:headrace:d"]
    with pytest.raises(ValueError, match="Unknown level: 'LOUD'"):
        tf.logging.set_verbosity("LOUD")


def test_levels_and_conditions(alone, capsys):
    alone()
    for i in range(5):
        tf.logging.log_every_n(tf.logging.ERROR, "every %d", 2, i)
        tf.logging.log_first_n(tf.logging.ERROR, "first %d", 2, i)
        tf.logging.log_if(tf.logging.ERROR, "if %d", i == 3, i)
    tf.logging.log(tf.logging.WARN, "log %s", "x")
    tf.logging.vlog(tf.logging.INFO, "not seen")
    said = [line.removeprefix("ERROR:headrace:") for line in capsys.readouterr().err.splitlines()]
    assert said == [
        "every 0", "first 0", "first 1", "every 2", "if 3", "every 4", "WARNING:headrace:log x",
    ]  # fmt: skip


def test_records_say_where_they_come_from(caplog):
    tf.logging.error("here")
    tf.logging.log_first_n(tf.logging.ERROR, "here", 1)
    assert {record.filename for record in caplog.records} == {"test_logging.py"}


def test_nothing_is_said_twice():
    code = """if True:
        import logging
        import headrace as tf
        tf.logging.warn("once")
        logging.basicConfig(format="root %(message)s")
        tf.logging.warn("by the root")
        tf.get_logger().propagate = False
        tf.logging.warn("by ours again")
        handler = logging.StreamHandler()
        tf.get_logger().addHandler(handler)
        tf.logging.warn("by the program's")
        tf.get_logger().setLevel(logging.ERROR)
        tf.logging.warn("not at all")
    """
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.stderr.splitlines() == [
        "WARNING:headrace:once", "root by the root", "WARNING:headrace:by ours again",
        "by the program's",
    ]  # fmt: skip
