"""`headrace checkpoint` of what TensorFlow wrote, in both of its formats."""

import numpy as np
import pytest

from headrace.cli import main


@pytest.mark.parametrize("version", ["V1", "V2"])
@pytest.mark.parametrize("sharded", [False, True])
def test_checkpoints_of_tensorflow(tf, capsys, tmp_path, sharded, version):
    paths = []
    for scale in (1, 2):
        with tf.Graph().as_default(), tf.Session() as session:
            tf.Variable(np.arange(6, dtype=np.float32).reshape(2, 3) * scale, name="w")
            tf.Variable(["a", "bcd"], name="words")
            parts = tf.fixed_size_partitioner(2)
            tf.get_variable("v", (4, 2), initializer=tf.ones_initializer(), partitioner=parts)
            session.run(tf.global_variables_initializer())
            saver = tf.train.Saver(
                write_version=getattr(tf.train.SaverDef, version), sharded=sharded
            )
            (tmp_path / str(scale)).mkdir()
            paths.append(saver.save(session, str(tmp_path / str(scale) / "m")))
    assert main(["checkpoint", paths[0]]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines[3:6]] == [
        ["v", "float32", "[4,2]", "32", "B"],
        ["w", "float32", "[2,3]", "24", "B"],
        ["words", "string", "[2]", "4", "B"],
    ]
    assert main(["checkpoint", str(tmp_path / "1"), paths[0]]) == 0
    assert main(["checkpoint", *paths]) == 1
    out = capsys.readouterr().out
    assert "w     float32  [2,3]  5 of 6    5           0.5" in out
    assert "1 of 3 variables differ" in out
