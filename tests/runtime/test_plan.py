"""Random programs of reads and writes, against the rule said naively.

A read sees the last write that it depends on, by data or control edges, else the value at the
start of the run. Writes of a variable chain in the order of their making. Fetching a variable
gives its value after the run.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.graph import Graph
from headrace.ops import array, math, state
from headrace.ops.constant import constant, placeholder
from headrace.runtime.plan import check_plan, make_plan
from headrace.runtime.session import Session
from headrace.shapes import TensorShape
from tests.runtime.toys import on_host

VARIABLES = 3
RUNS = 4  # NumPy, then XLA

kinds = st.sampled_from(["read", "assign", "add", "sub", "compute", "host", "place"])
numbers = st.integers(0, 30)
lines = st.tuples(kinds, numbers, numbers, numbers, st.lists(numbers, max_size=2))
programs = st.lists(lines, min_size=1, max_size=12)
picks = st.lists(numbers, min_size=1, max_size=4)


@dataclass
class Line:
    """A node of a program: what the naive rule needs of it, and the tensor or operation it is."""

    kind: str
    variable: int | None
    operands: list[int]
    control: list[int]
    element: object  # Tensor; Operation if it has no value
    value: object = None  # the tensor to take as an operand


class Program:
    """A program in both forms."""

    def __init__(self, kinds, text, fetches, fetched_variables, fed):
        self.graph = Graph()
        self.lines: list[Line] = []
        with self.graph.as_default():
            shape, dtype = TensorShape(()), np.int64
            self.variables = [
                state.var_handle(shape=shape, dtype=dtype) if resource
                else state.variable_v2(shape=shape, dtype=dtype)
                for resource in kinds
            ]  # fmt: skip
            self.resource = kinds
            self.initial = [
                (state.assign_variable if r else state.assign_op)(v, np.int64(10 * i + 1))
                for i, (v, r) in enumerate(zip(self.variables, kinds, strict=True))
            ]
            for line in text:
                self._append(*line)
        self.fetched = sorted({f % len(self.lines) for f in fetches})
        self.fetched_variables = sorted({f % VARIABLES for f in fetched_variables})
        values = [
            i for i, line in enumerate(self.lines) if line.kind in ("compute", "host", "read")
        ]
        self.fed = sorted({values[f % len(values)] for f in fed}) if values else []
        self.fed += [i for i, line in enumerate(self.lines) if line.kind == "place"]

    def _append(self, kind, a, b, c, control):
        lines = self.lines
        control = sorted({i % len(lines) for i in control}) if lines else []
        v = a % VARIABLES
        operands = [x % len(lines) for x in (b, c)] if lines else []
        operands = [i for i in operands if lines[i].value is not None]
        with self.graph.control_dependencies([lines[i].element for i in control]):
            if kind == "place":
                element = placeholder(np.int64, ())
                lines.append(Line(kind, None, [], [], element, element))
                return
            given = [lines[i].value for i in operands]
            if kind in ("compute", "host"):
                while len(given) < 2:
                    given.append(constant(np.int64(len(lines))))
                if kind == "host":
                    operands, given = operands[:1], given[:1]
                element = math.add(*given) if kind == "compute" else on_host(given[0])
                lines.append(Line(kind, None, operands, control, element, element))
                return
            variable, resource = self.variables[v], self.resource[v]
            if kind == "read":
                element = (
                    state.read_variable(variable, dtype=np.int64) if resource
                    else array.identity(variable)
                )  # fmt: skip
                lines.append(Line(kind, v, [], control, element, element))
                return
            operands = operands[:1]
            by = given[0] if operands else constant(np.int64(len(lines)))
            make = {
                "assign": (state.assign_op, state.assign_variable),
                "add": (state.assign_add_op, state.assign_add_variable),
                "sub": (state.assign_sub_op, state.assign_sub_variable),
            }[kind][resource]
            element = make(variable, by)
            lines.append(Line(kind, v, operands, control, element, None if resource else element))

    # -- the naive rule --------------------------------------------------------------------------

    def expected(self, start, feeds):
        """The values of the fetched lines and variables, and of all variables afterwards."""
        lines, fed = self.lines, set(self.fed)

        def before(i):
            return [o for o in lines[i].operands if o not in fed] + lines[i].control

        def ancestors(roots):
            found, stack = set(), list(roots)
            while stack:
                i = stack.pop()
                if i not in found:
                    found.add(i)
                    stack += before(i)
            return found

        needed = ancestors(
            i for i in self.fetched if i not in fed or lines[i].kind in ("assign", "add", "sub")
        )
        writes = ("assign", "add", "sub")
        after, latest = {}, {}  # value after a write; the last write of a variable

        def seen_behind(roots, v):
            seen = [
                j for j in ancestors(roots) if lines[j].kind in writes and lines[j].variable == v
            ]
            return after[max(seen)] if seen else start[v]

        def operand(reader, i):
            """Line i as `reader` sees it: a ref is read when it is used."""
            if i in fed:
                return feeds[i]
            if lines[i].kind in writes:
                return seen_behind(before(reader), lines[i].variable)
            return value[i]

        value = {}
        for i in sorted(needed):
            line = lines[i]
            given = [operand(i, o) for o in line.operands]
            if line.kind in ("compute", "host"):
                while len(given) < (2 if line.kind == "compute" else 1):
                    given.append(i)
                value[i] = sum(given)
            elif line.kind == "read":
                value[i] = seen_behind(before(i), line.variable)
            elif line.kind in writes:
                previous = latest.get(line.variable)
                old = start[line.variable] if previous is None else after[previous]
                by = given[0] if given else i
                after[i] = {"assign": by, "add": old + by, "sub": old - by}[line.kind]
                latest[line.variable] = i
        end = [after[latest[v]] if v in latest else start[v] for v in range(VARIABLES)]
        fetched = []
        for i in self.fetched:
            if i in fed:
                fetched.append(feeds[i])
            elif lines[i].kind in writes:
                seen = seen_behind([i], lines[i].variable)
                fetched.append(None if lines[i].value is None else seen)
            else:
                fetched.append(value[i])
        return fetched, [end[v] for v in self.fetched_variables], end

    # -- the session -----------------------------------------------------------------------------

    def check(self, session):
        """One run of it in the session, from where the variables stand."""
        start = self.values(session)
        feeds = {i: 1000 + 7 * i for i in self.fed}
        fetched, variables, end = self.expected(start, feeds)
        # A handle has no value to fetch: what stands for the variable is a ref, or its operation.
        refs = [v for v in self.fetched_variables if not self.resource[v]]
        found, found_variables = session.run(
            ([self.lines[i].element for i in self.fetched], [self.variables[v] for v in refs]),
            {self.lines[i].element: feeds[i] for i in self.fed},
        )
        assert found == fetched
        of = dict(zip(self.fetched_variables, variables, strict=True))
        assert found_variables == [of[v] for v in refs]
        assert self.values(session) == end

    def values(self, session):
        """What the variables hold, without a run."""
        return [int(session._state.get(v.op)) for v in self.variables]


arguments = (
    st.lists(st.booleans(), min_size=VARIABLES, max_size=VARIABLES),
    programs, picks, st.lists(numbers, max_size=2), st.lists(numbers, max_size=2),
)  # fmt: skip


@settings(max_examples=300, deadline=None, derandomize=True)
@given(*arguments)
def test_numpy_obeys_the_rule(kinds, text, fetches, variables, fed):
    program = Program(kinds, text, fetches, variables, fed)
    with Session(graph=program.graph) as session:
        session.run(program.initial)
        program.check(session)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(*arguments)
def test_both_tiers_obey_the_rule(kinds, text, fetches, variables, fed):
    program = Program(kinds, text, fetches, variables, fed)
    with Session(graph=program.graph) as session:
        session.run(program.initial)
        for _ in range(RUNS):
            program.check(session)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(*arguments)
def test_segments_alternate_and_keep_the_law(kinds, text, fetches, variables, fed):
    program = Program(kinds, text, fetches, variables, fed)
    elements = [program.lines[i].element for i in program.fetched]
    elements = [getattr(e, "op", e) for e in elements]
    plan = make_plan(elements, [program.lines[i].element for i in program.fed])
    check_plan(plan)
    hosts = [segment.host for segment in plan.segments]
    assert hosts == [bool(i % 2) != hosts[0] for i in range(len(hosts))] if hosts else True
    # A step comes after what it depends on.
    position = {id(step): i for i, step in enumerate(plan.steps)}
    for step in plan.steps:
        assert all(position[id(d)] < position[id(step)] for d in step.depends)


def test_law_refuses_a_name_used_before_it_is_bound():
    with Graph().as_default():
        x = placeholder(np.float32, (2,))
        y = math.add(math.add(x, x), x)
    plan = make_plan([y], [x])
    plan.segments[0].steps.reverse()
    with pytest.raises(AssertionError, match="before it is bound"):
        check_plan(plan)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    st.lists(st.booleans(), min_size=VARIABLES, max_size=VARIABLES),
    programs,
    st.lists(st.tuples(picks, st.lists(numbers, max_size=2)), min_size=2, max_size=3),
    st.permutations([0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2]),
)
def test_programs_that_take_turns_obey_the_rule(kinds, text, forms, turns):
    """Several fetches of one graph in one session: what one wrote the others see, on any tier."""
    program = Program(kinds, text, [0], [], [])
    with Session(graph=program.graph) as session:
        session.run(program.initial)
        for turn in turns:
            fetches, variables = forms[turn % len(forms)]
            program.fetched = sorted({f % len(program.lines) for f in fetches})
            program.fetched_variables = sorted({v % VARIABLES for v in variables})
            program.check(session)
