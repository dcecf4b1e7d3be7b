"""What a program made and got, in a form in which two frameworks can be compared."""

import re

import numpy as np

# What TensorFlow 2 puts before the words of a kernel.
AROUND = ("Graph execution", "Detected at node", "Node:", "Original stack", "{{", " ", "\t")


def nodes(graph):
    """Name, type, inputs and attributes of each node; constants by value."""
    listed = []
    for node in graph.as_graph_def().node:
        attrs = {
            key: str(value) for key, value in node.attr.items()
            if key not in ("value", "allowed_devices", "_has_manual_control_dependencies")
        }  # fmt: skip
        listed.append((node.name, node.op, list(node.input), attrs))
    return listed


def told(error):
    """Class and first line of what the kernel said, with queues' running numbers left out."""
    text = getattr(error, "message", None) or str(error)
    lines = [line for line in text.splitlines() if line and not line.startswith(AROUND)]
    return type(error).__name__, re.sub(r"'_\d+_", "'", lines[0])


def attempt(function, *args):
    try:
        return function(*args)
    except Exception as error:
        return told(error)


def plain(value):
    """The value with arrays of strings as lists."""
    if isinstance(value, list):
        return [plain(v) for v in value]
    return value.tolist() if isinstance(value, np.ndarray) and value.dtype.kind == "O" else value
