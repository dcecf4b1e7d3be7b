"""The command `headrace`: looks into the files of a training run. Each subcommand has a module."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

import headrace
from headrace import errors
from headrace.cli import checkpoint

TROUBLE = 2  # as diff says it; and argparse, of a command line that it does not understand
_INTERRUPTED = 130  # what shells say of SIGINT


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line (by default the program's own); its exit status."""
    parser = argparse.ArgumentParser(
        prog="headrace", description="Look into the files of a training run."
    )
    parser.add_argument("--version", action="version", version=f"headrace {headrace.__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    checkpoint.add_to(commands)
    options = parser.parse_args(arguments)
    try:
        status = options.run(options)
        sys.stdout.flush()
    except (errors.OpError, OSError) as error:
        if isinstance(error, BrokenPipeError):  # the reader, `head` say, has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        else:
            print(f"headrace: {error}", file=sys.stderr)
        return TROUBLE
    except KeyboardInterrupt:
        return _INTERRUPTED
    return status
