"""How far a figure that was measured on some images can be trusted."""

from __future__ import annotations

from scipy.stats import binomtest


def wilson_interval(right: int, images: int, confidence_level: float) -> tuple[float, float]:
    """Return Wilson's score interval of an accuracy (Wilson 1927; `scipy.stats.binomtest`).

    >>> low, high = wilson_interval(right=8, images=10, confidence_level=0.95)
    >>> round(low, 4), round(high, 4)
    (0.4902, 0.9433)
    """
    interval = binomtest(right, images).proportion_ci(confidence_level, method="wilson")
    return float(interval.low), float(interval.high)
