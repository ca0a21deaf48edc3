from __future__ import annotations

import numpy as np

from triptych.networks.minibatches import shuffle_minibatches


def test_every_example_is_in_one_batch_of_an_epoch() -> None:
    batches = list(shuffle_minibatches(23, 5, np.random.default_rng(0)))
    assert [len(batch) for batch in batches] == [5, 5, 5, 5, 3]
    assert sorted(np.concatenate(batches).tolist()) == list(range(23))
