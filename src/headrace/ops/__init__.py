"""The ops, one file a family: each op whole, with kernel, static type, gradient and function."""
