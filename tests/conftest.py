"""What all tests share: a graph of their own, and the law of plans."""

from __future__ import annotations

import os

import pytest

import headrace as tf
from headrace import graph
from headrace.node import pop_session
from headrace.runtime import plan, program

os.environ.setdefault("HEADRACE_CACHE", "off")  # each test run compiles for itself


@pytest.fixture(autouse=True, scope="session")
def lawful_plans():
    """Every plan that any test makes is checked (`check_plan`)."""

    def make_lawful_plan(fetches, feeds):
        made = plan.make_plan(fetches, feeds)
        plan.check_plan(made)
        return made

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(program, "make_plan", make_lawful_plan)
        yield


@pytest.fixture(autouse=True)
def fresh_default_graph():
    """A default graph of the test's own, and no scope or session that an earlier one left open."""
    graph._graphs.stack.clear()
    while tf.get_default_session() is not None:
        pop_session(tf.get_default_session())
    tf.reset_default_graph()
