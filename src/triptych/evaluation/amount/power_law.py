"""A power law, error(n) = a + b * n^-c with a, b >= 0, fitted to the errors at several amounts of training data.

It describes most learning curves (Hestness et al., "Deep learning scaling is predictable, empirically", 2017; Viering,
Loog, "The shape of learning curves: a review", 2022), and its weighted least squares predict what more labels would
bring (Figueroa et al., "Predicting sample size required for classification performance", 2012).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

# The least squares are solved exactly for each of these exponents c, and the best one is taken. Curves that were
# measured have exponents below 1; a tenth of the smallest could not be told from no slope at all.
EXPONENTS = np.geomspace(0.05, 2.0, 800)


@dataclass(frozen=True)
class PowerLaws:
    """Power laws, one for each of m series of errors.

    Attributes:
        limits: (m,) float64, the error a that no amount of data takes away.
        slopes: (m,) float64, b in the unit `unit`: the part of the error at `unit` images that data take away.
        exponents: (m,) float64, c.
        unit: number of images.
    """

    limits: Floats
    slopes: Floats
    exponents: Floats
    unit: float

    def predict(self, images: float) -> Floats:
        """Return the error of each law with a number of training images, (m,) float64, at most 1."""
        scaled = (images / self.unit) ** -self.exponents
        return np.minimum(self.limits + self.slopes * scaled, 1.0)


def fit_power_laws(images: ArrayLike, errors: ArrayLike, weights: ArrayLike) -> PowerLaws:
    """Return the power laws with the least weighted sum of squares.

    For a given exponent the problem is linear in a and b, which is solved in closed form, with bounds; there is no
    start from which an iteration could fail.

    Args:
        images: (sizes,), the amounts of training data, above 0.
        errors: (m, sizes), the errors of m series, 0..1.
        weights: (sizes,), above 0.

    >>> n = np.array([100, 200, 400, 800])
    >>> law = fit_power_laws(n, [0.02 + 0.1 * (n / 800) ** -0.5], np.ones(4))
    >>> bool(abs(law.predict(1600)[0] - (0.02 + 0.1 * 2**-0.5)) < 1e-3)
    True
    """
    amounts, series, share = (np.asarray(values, dtype=np.float64) for values in (images, errors, weights))
    unit, share = float(amounts.max()), share / share.sum()
    terms = (amounts / unit) ** -EXPONENTS[:, None]  # (exponents, sizes)
    mean_terms, mean_errors = terms @ share, series @ share
    weighted = (terms * share).T  # (sizes, exponents)
    products, squares = series @ weighted, (terms**2) @ share  # (m, exponents), (exponents,)
    covariances = products - mean_errors[:, None] * mean_terms
    slopes = np.maximum(covariances / (squares - mean_terms**2), 0.0)
    limits = mean_errors[:, None] - slopes * mean_terms
    slopes = np.where(limits < 0, products / squares, slopes)
    limits = np.maximum(limits, 0.0)
    # The weighted sum of squares, without the part that does not depend on the fit.
    losses = limits**2 + 2 * limits * slopes * mean_terms + slopes**2 * squares
    losses -= 2 * (limits * mean_errors[:, None] + slopes * products)
    best, rows = losses.argmin(axis=1), np.arange(len(series))
    return PowerLaws(limits[rows, best], slopes[rows, best], EXPONENTS[best], unit)
