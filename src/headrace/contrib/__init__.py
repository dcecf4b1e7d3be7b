"""`tf.contrib`: the parts of TensorFlow 1's contributed code that programs came to rely on."""

from typing import Any as _Any

from headrace.contrib import opt
from headrace.missing import explain as _explain


def __getattr__(name: str) -> _Any:
    raise AttributeError(_explain("tf.contrib", name))
