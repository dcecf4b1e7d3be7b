"""The table of op cases: op type -> cases, put together from the families' `cases_*.py`."""

from __future__ import annotations

import importlib
from pathlib import Path

from tests.ops.case import Case


def _gather() -> dict[str, list[Case]]:
    table: dict[str, list[Case]] = {}
    for file in sorted(Path(__file__).parent.glob("cases_*.py")):
        for name, cases in importlib.import_module(f"tests.ops.{file.stem}").CASES.items():
            if name in table:
                raise ValueError(f"{file.name} has cases for {name!r}; another family has too.")
            table[name] = list(cases)
    return table


CASES = _gather()
