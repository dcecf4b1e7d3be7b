"""Child processes: pinned to cores, thread counts fixed, each answer waited for only so long."""

import json
import os
import select
import subprocess
import sys
import tempfile
from pathlib import Path

from precision import on_gpu

HERE = Path(__file__).parent
THREADS = (
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "NPROC",
)  # fmt: skip

CPU = {"CUDA_VISIBLE_DEVICES": "-1", "JAX_PLATFORMS": "cpu"}
GPU = {  # JAX is to find one or to fail, and to leave the others memory
    "JAX_PLATFORMS": "cuda,cpu",
    "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
}


class ChildError(Exception):
    """A child died, hung or reported an error; the message says which and how."""


def cpus(cores):
    """Numbers of the CPUs that `cores` pinned cores are: the last that we may use."""
    ours = sorted(os.sched_getaffinity(0))
    if len(ours) < cores:
        raise SystemExit(f"--cores {cores}: this process may use only {len(ours)}")
    return ours[-cores:]


def environment(cores):
    """The environment of a child on `cores` cores, and on the CPU or on a GPU."""
    return dict(
        os.environ,
        HEADRACE_CACHE="off",  # every start compiles, as the rivals' do
        **dict.fromkeys(THREADS, str(cores)),
        **(GPU if on_gpu() else CPU),
        KERAS_BACKEND="tensorflow",
        TF_CPP_MIN_LOG_LEVEL="2",
    )


def spawn(arguments, python, cores, log, bufsize=-1) -> subprocess.Popen[bytes]:
    """Start a Python process on `cores` cores, its stderr in `log`."""
    here = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus(cores))  # which the child inherits
    try:
        return subprocess.Popen(
            [python or sys.executable, *map(str, arguments)],
            env=environment(cores),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            bufsize=bufsize,
        )
    finally:
        os.sched_setaffinity(0, here)


def tail(log, lines=3):
    """Give the last lines of a child's stderr as one."""
    log.seek(0)
    return " | ".join(log.read().decode(errors="replace").split("\n")[-lines - 1 :]).strip(" |")


def missing(module, python=None):
    """Tell whether an interpreter cannot find a module."""
    code = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({module!r}) is None)"
    return subprocess.run([python or sys.executable, "-c", code]).returncode != 0


def fresh(script, *arguments, python=None, cores=1, timeout=600):
    """Run `script` in a process of its own; give the JSON of its last line of output."""
    with tempfile.TemporaryFile() as log:
        child = spawn([HERE / script, *arguments], python, cores, log)
        try:
            output, _ = child.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            raise ChildError(f"{script} was not done after {timeout} s") from None
        finally:
            child.kill()
            child.wait()
        if child.returncode:
            raise ChildError(f"{script} ended with status {child.returncode}: {tail(log)}")
        return json.loads(output.decode().splitlines()[-1])


class Worker:
    """A `worker.py`, or another script that is asked as it is, and the conversation with it."""

    def __init__(self, problem, name, python=None, cores=1, script="worker.py"):
        """Start it for a problem and a program of `programs.py`."""
        self.name, self.problem = name, problem
        self.log = tempfile.TemporaryFile()  # noqa: SIM115  (as long-lived as the child)
        self.child = spawn(
            [HERE / script, problem, name, cores], python, cores, self.log, bufsize=0
        )
        stdin, stdout = self.child.stdin, self.child.stdout
        assert stdin is not None
        assert stdout is not None  # for `spawn` asks for pipes
        self.requests, self.answers = stdin, stdout

    def ask(self, do, timeout=300, **request):
        """Send one request and wait for its answer."""
        if self.log.closed:
            raise ChildError(f"{self.name} has ended")
        try:
            self.requests.write(json.dumps({"do": do, **request}).encode() + b"\n")
        except BrokenPipeError:
            raise self._ended(f"has died: {tail(self.log)}") from None
        if not select.select([self.answers], [], [], timeout)[0]:
            raise self._ended(f"did not answer {do!r} within {timeout} s")
        line = self.answers.readline()
        if not line:
            raise self._ended(f"died at {do!r}: {tail(self.log)}")
        answer = json.loads(line)
        if "error" in answer:
            raise ChildError(f"{self.name} failed at {do!r}: {answer['error']}")
        return answer

    def _ended(self, words):
        self.close()
        return ChildError(f"{self.name} {words}")

    def alive(self):
        """Tell whether the process can still be asked."""
        return self.child.poll() is None

    def close(self):
        """End the process."""
        self.child.kill()
        self.child.wait()
        for file in (self.requests, self.answers, self.log):
            file.close()
