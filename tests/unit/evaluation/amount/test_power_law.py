from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import curve_fit

from triptych.evaluation.amount.power_law import fit_power_laws

IMAGES = np.array([125, 177, 250, 354, 500, 707, 1000])


@pytest.mark.parametrize(("limit", "slope", "exponent"), [(0.02, 0.1, 0.5), (0.0, 0.05, 0.3), (0.1, 0.2, 1.0)])
def test_a_known_power_law_is_recovered(limit: float, slope: float, exponent: float) -> None:
    errors = limit + slope * (IMAGES / 1000) ** -exponent
    law = fit_power_laws(IMAGES, [errors], np.ones(7))
    assert law.exponents[0] == pytest.approx(exponent, rel=0.03)
    assert law.limits[0] == pytest.approx(limit, abs=0.005)
    assert law.predict(4000)[0] == pytest.approx(limit + slope * 4**-exponent, abs=0.001)


def test_the_fit_is_that_of_scipy() -> None:
    rng = np.random.default_rng(0)
    weights = IMAGES / 1000
    errors = 0.03 + 0.08 * (IMAGES / 1000) ** -0.6 + rng.normal(0, 0.002, 7)
    law = fit_power_laws(IMAGES, [errors], weights)

    def curve(images: np.ndarray, limit: float, slope: float, exponent: float) -> np.ndarray:
        return limit + slope * (images / 1000) ** -exponent

    bounds = ([0, 0, 0.05], [1, 1, 2])
    found, _ = curve_fit(curve, IMAGES, errors, p0=(0.01, 0.1, 0.5), sigma=weights**-0.5, bounds=bounds)
    assert law.predict(2000)[0] == pytest.approx(curve(np.array(2000), *found), abs=1e-4)


def test_errors_that_do_not_fall_have_no_slope() -> None:
    law = fit_power_laws(IMAGES, [np.full(7, 0.3), np.linspace(0.2, 0.3, 7)], np.ones(7))
    assert law.slopes == pytest.approx([0.0, 0.0])
    assert law.predict(10_000) == pytest.approx([0.3, 0.25])
