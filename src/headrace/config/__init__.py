"""`tf.config`: what is set for the whole process."""

from typing import Any as _Any

from headrace.config import experimental
from headrace.missing import explain as _explain


def __getattr__(name: str) -> _Any:
    raise AttributeError(_explain("tf.config", name))
