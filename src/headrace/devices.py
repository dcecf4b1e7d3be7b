"""Device names: `/gpu:0` and `/job:worker/task:1/device:GPU:0`."""

from __future__ import annotations

import re

_DEVICE_PART = re.compile(r"(job|replica|task|device|cpu|gpu|tpu|xla_cpu|xla_gpu)\b:?(.*)", re.I)


def _parse_device(name: str) -> dict[str, str]:
    parts: dict[str, str] = {}
    for piece in name.split("/"):
        if not piece:
            continue
        match = _DEVICE_PART.fullmatch(piece)
        if match is None:
            raise ValueError(f"Unknown attribute {piece!r} is encountered while parsing {name!r}.")
        key, value = match[1].lower(), match[2]
        if key in ("job", "replica", "task"):
            parts[key] = value
        elif key == "device":
            kind, _, number = value.partition(":")
            parts["device"] = f"{kind.upper()}:{number or '*'}"
        else:
            parts["device"] = f"{key.upper()}:{value or '*'}"
    return parts


def canonical_device(name: str) -> str:
    """`/gpu:0` as `/device:GPU:0`; ValueError for what is no device name."""
    parts = _parse_device(name)
    keys = ("job", "replica", "task", "device")
    return "".join(f"/{k}:{parts[k]}" for k in keys if k in parts)


def merge_devices(outer: str, inner: str) -> str:
    """The inner device's parts over the outer's."""
    if not outer or not inner:
        return canonical_device(inner or outer)
    parts = {**_parse_device(outer), **_parse_device(inner)}
    return canonical_device("".join(f"/{k}:{v}" for k, v in parts.items()))
