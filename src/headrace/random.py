"""`tf.random`: numbers from seeds, the same ones as TensorFlow's."""

from headrace.ops.random import categorical, get_seed, multinomial
from headrace.ops.random import random_normal as normal
from headrace.ops.random import random_shuffle as shuffle
from headrace.ops.random import random_uniform as uniform
from headrace.ops.random import set_random_seed, truncated_normal
