"""Array namespaces: kernels are written against `xp`, which is `xp.numpy` or `xp.xla`."""
