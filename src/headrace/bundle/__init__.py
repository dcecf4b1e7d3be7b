"""TensorFlow's checkpoint files ("tensor bundles"), read and written. Knows nothing of graphs.

prefix.index                 a sorted table: a header, then for each tensor its type, shape, and
                             where its bytes are
prefix.data-00000-of-00001   the bytes of the tensors
"""

from headrace.bundle.first_format import open_checkpoint
from headrace.bundle.reader import BundleReader, Reader
from headrace.bundle.writer import BundleWriter, merge

__all__ = ["BundleReader", "BundleWriter", "Reader", "merge", "open_checkpoint"]
