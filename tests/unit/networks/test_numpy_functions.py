from __future__ import annotations

import numpy as np

from triptych.networks.numpy_functions import ACTIVATIONS


def test_a_sigmoid_does_not_overflow() -> None:
    z = np.array([[-1e4, 0.0, 1e4]], dtype=np.float32)
    with np.errstate(all="raise"):
        ACTIVATIONS["sigmoid"].inplace_apply(z)
    np.testing.assert_array_equal(z, [[0.0, 0.5, 1.0]])
