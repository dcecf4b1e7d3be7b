"""`tf.contrib.opt`: optimizers from elsewhere."""

from typing import Any as _Any

from headrace.contrib.opt.external_optimizer import (
    ExternalOptimizerInterface,
    ScipyOptimizerInterface,
)
from headrace.missing import explain as _explain


def __getattr__(name: str) -> _Any:
    raise AttributeError(_explain("tf.contrib.opt", name))
