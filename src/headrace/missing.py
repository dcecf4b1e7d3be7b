"""What to say when a program asks for a TensorFlow name that is not here: what to use instead."""

from __future__ import annotations

_RENAMED = {
    "mul": "multiply", "sub": "subtract", "neg": "negative", "pack": "stack", "unpack": "unstack",
    "select": "where", "concat_v2": "concat", "batch_matmul": "matmul", "inv": "reciprocal",
    "batch_svd": "svd", "batch_cholesky": "cholesky", "batch_matrix_inverse": "matrix_inverse",
    "complex_abs": "abs", "histogram_summary": "summary.histogram",
    "scalar_summary": "summary.scalar", "merge_all_summaries": "summary.merge_all",
}  # fmt: skip

_INSTEAD = {
    "layers": "write the layer with tf.get_variable and tf.matmul, as examples/digits_mlp.py does",
    "cond": "tf.where chooses between values, and Python's `if` when the graph is built",
    "case": "tf.where chooses between values, and Python's `if` when the graph is built",
    "while_loop": "a Python loop writes the steps out in the graph",
    "data": "feed arrays by feed_dict",
    "flags": "Python's argparse",
    "app": "Python's argparse, and a call of your main function",
    "gfile": "Python's open and pathlib",
    "estimator": "write the training loop, as examples/digits_mlp.py does",
    "metrics": "compute them with tf.reduce_mean of tf.equal, or in NumPy from what run returns",
    "GradientTape": "tf.gradients: headrace defines a graph and then runs it",
    "function": "tf.Session.run: headrace compiles what it runs by itself",
    "enable_eager_execution": "tf.Session.run: headrace defines a graph and then runs it",
    "SparseTensor": "tf.IndexedSlices, or a dense tensor",
}

_TO_COME = {
    "layers", "cond", "case", "while_loop", "data", "flags", "app", "gfile",
    "estimator", "metrics", "SparseTensor", "image", "io", "python_io",
    "FixedLenFeature", "VarLenFeature", "decode_raw", "decode_csv",
    "parse_single_example", "sparse_placeholder", "conv2d",
    "max_pool", "avg_pool", "rnn_cell", "dynamic_rnn", "static_rnn", "nce_loss",
    "sampled_softmax_loss",
    "Example", "Feature", "Features", "Int64List", "FloatList", "BytesList", "feature_column",
}  # fmt: skip


def explain(module: str, name: str) -> str:
    """The message of the AttributeError for `module.name`."""
    text = f"headrace has no {module}.{name}"
    if name in _RENAMED:
        return f"{text}. TensorFlow 1 calls it tf.{_RENAMED[name]}."
    if name in _TO_COME:
        text += " yet"
    return f"{text}. Use instead: {_INSTEAD[name]}." if name in _INSTEAD else f"{text}."
