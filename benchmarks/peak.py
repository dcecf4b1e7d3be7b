"""The machine's own peak in float32: fused multiply-adds alone, and the best matrix product.

`peak.py CORES` times a loop of nothing but vector FMAs, whose sums stay in registers.
"""

import ctypes
import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from precision import set_jax, set_torch

SUMS, REPEATS = 12, 100  # more independent sums than an FMA's latency times the FMAs of a cycle
PRODUCTS = ("jax", "tensorflow", "torch", "numpy")  # whose matrix products to try


def listing(lanes):
    """LLVM's text of `spin(turns, x)`: in each turn SUMS FMAs of `lanes` floats."""
    vector = f"<{lanes} x float>"
    numbers = range(SUMS)
    each = {
        "seeds": "%s{0} = insertelement {v} %m, float {0}.0, i32 0",
        "sums": "%a{0} = phi {v} [ %s{0}, %entry ], [ %b{0}, %loop ]",
        "steps": "%b{0} = call {v} @llvm.fma.v{n}f32({v} %m, {v} %a{0}, {v} %m)",
    }
    text = {
        name: "\n".join(line.format(i, v=vector, n=lanes) for i in numbers)
        for name, line in each.items()
    }
    added = "\n".join(  # so that no sum is idle
        f"%t{i} = fadd {vector} {f'%t{i - 1}' if i > 1 else '%b0'}, %b{i}" for i in numbers[1:]
    )
    return f"""
declare {vector} @llvm.fma.v{lanes}f32({vector}, {vector}, {vector})
define float @spin(i64 %turns, float %x) "prefer-vector-width"="512" {{
entry:
  %one = insertelement {vector} undef, float %x, i32 0
  %m = shufflevector {vector} %one, {vector} undef, <{lanes} x i32> zeroinitializer
  {text["seeds"]}
  br label %loop
loop:
  %turn = phi i64 [ 0, %entry ], [ %next, %loop ]
  {text["sums"]}
  {text["steps"]}
  %next = add i64 %turn, 1
  %more = icmp ult i64 %next, %turns
  br i1 %more, label %loop, label %done
done:
  {added}
  %result = extractelement {vector} %t{SUMS - 1}, i32 0
  ret float %result
}}"""


def fma(cores, turns=4_000_000):
    """The best rate of FMAs on so many threads at once, in FLOP/s."""
    from llvmlite import binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    features = llvm.get_host_cpu_features()
    lanes = 16 if features.get("avx512f") else 8 if features.get("avx2") else 4
    module = llvm.parse_assembly(listing(lanes))
    machine = llvm.Target.from_default_triple().create_target_machine(
        cpu=llvm.get_host_cpu_name(), features=features.flatten(), opt=2
    )
    engine = llvm.create_mcjit_compiler(module, machine)
    engine.finalize_object()
    # called through ctypes, which lets other threads run meanwhile
    spin = ctypes.CFUNCTYPE(ctypes.c_float, ctypes.c_int64, ctypes.c_float)(
        engine.get_function_address("spin")
    )
    best = 0.0
    with ThreadPoolExecutor(cores) as threads:
        for _ in range(REPEATS):
            start = time.perf_counter()
            list(threads.map(lambda _: spin(turns, 0.5), range(cores)))
            spent = time.perf_counter() - start
            best = max(best, cores * turns * SUMS * lanes * 2 / spent)
    return best


def product(name, n=2048, precision=""):
    """How framework `name` multiplies two matrices [n, n], of float32: a call does it once."""
    a = np.random.default_rng(0).standard_normal((n, n)).astype(np.float32)
    if name == "tensorflow":
        import tensorflow.compat.v1 as tf

        with tf.Graph().as_default() as graph:
            x = tf.Variable(a)
            run, init = tf.matmul(x, x).op, tf.global_variables_initializer()
        session = tf.Session(graph=graph)
        session.run(init)
        return lambda: session.run(run)
    if name == "jax":
        import jax

        set_jax(precision)
        x, multiply = jax.device_put(a), jax.jit(lambda x: x @ x)
        x = x.astype("bfloat16") if precision == "bfloat16" else x
        return lambda: multiply(x).block_until_ready()
    if name == "torch":
        import torch

        device = set_torch(precision)
        x = torch.from_numpy(a).to(device)
        x = x.to(torch.bfloat16) if precision == "bfloat16" else x

        def multiply():
            x @ x
            if device.type == "cuda":
                torch.cuda.synchronize()

        return multiply
    return lambda: a @ a


def measured(settings, workers):
    """The peak in FLOP/s, words of how it was found, and what could not be tried."""
    from process import ChildError, fresh

    rates, notes = {}, []
    try:
        rates["a loop of FMAs"] = fresh("peak.py", settings.cores, cores=settings.cores)["flops"]
    except ChildError as e:
        notes.append(f"the loop of FMAs is left out: {e}")
    for name in PRODUCTS:
        if name in workers:
            try:
                rates[f"the matrix product of {name}"] = workers[name].ask("peak")["flops"]
            except ChildError as e:
                notes.append(str(e))
    if not rates:
        return 0, "", notes
    best = max(rates, key=lambda way: rates[way])
    words = f"Percent: of the peak, {rates[best] / 1e9:.0f} GFLOP/s in float32 by {best}"
    others = [way for way in rates if way != best]
    if others:
        next_best = max(others, key=lambda way: rates[way])
        words += f" ({rates[next_best] / 1e9:.0f} by {next_best})"
    return rates[best], words + ".", notes


if __name__ == "__main__":
    print(json.dumps({"flops": fma(int(sys.argv[1]))}))
