"""Multinomial logistic regression on pixels: scikit-learn solves it, two arrays are what is kept."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from triptych.networks.classifiers.contract import Arrays, Labels, Rows
from triptych.networks.numpy_functions import inplace_softmax

if TYPE_CHECKING:
    from sklearn.linear_model import LogisticRegression as Solved

    from triptych.config.trainers import LogisticRegressionConfig


class LogisticRegression:
    """A linear map from pixels to the logits of the classes, and their softmax.

    Attributes:
        weight: (classes, inputs) float32.
        bias: (classes,) float32.
        iterations: iterations of the solver.
    """

    def __init__(self, weight: NDArray[np.float32], bias: NDArray[np.float32], iterations: int = 0) -> None:
        """Keep the arrays."""
        self.weight, self.bias, self.iterations = weight, bias, iterations
        self.names = {"iterations": iterations}

    @classmethod
    def fit(cls, rows: Rows, labels: Labels, classes: int, settings: LogisticRegressionConfig) -> Self:  # noqa: ARG003
        """Minimise the penalised cross-entropy by L-BFGS, in float64; see `PixelClassifier.fit`."""
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression as Solver

        solver = Solver(C=1.0 / (settings.weight_decay * len(labels)), max_iter=settings.max_iterations)
        with warnings.catch_warnings():
            # Then `iterations` is the maximum, which a reader of the run sees.
            warnings.simplefilter("ignore", ConvergenceWarning)
            solver.fit(rows.astype(np.float64), labels)
        weight, bias = list_logits(solver)
        return cls(weight.astype(np.float32), bias.astype(np.float32), int(solver.n_iter_.max()))

    @property
    def dtype(self) -> str:
        """Number format of the rows that it takes."""
        return "float32"

    def predict_proba(self, rows: Rows) -> Rows:
        """Return class probabilities, (n, classes) float32."""
        logits: Rows = rows @ self.weight.T + self.bias
        inplace_softmax(logits)
        return logits

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the weight and the bias."""
        return {"weight": self.weight, "bias": self.bias}

    @classmethod
    def from_arrays(cls, arrays: Arrays, **names: Any) -> Self:
        """Return the classifier with this weight and bias."""
        return cls(arrays["weight"], arrays["bias"], **names)


def list_logits(solved: Solved) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the weight (classes, inputs) and the bias (classes,) of the logits that scikit-learn found.

    Of two classes scikit-learn gives the difference alone; half of it to each side is the same softmax.
    """
    weight, bias = solved.coef_, solved.intercept_
    return (weight, bias) if len(weight) > 1 else (np.vstack([-weight, weight]) / 2, np.hstack([-bias, bias]) / 2)
