"""Multinomial logistic regression on pixels, solved by scikit-learn and kept as two arrays."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from triptych.networks.classifiers.contract import Arrays, Labels, Rows, Weights
from triptych.networks.numpy_functions import inplace_softmax

if TYPE_CHECKING:
    from sklearn.linear_model import LogisticRegression as Solved

    from triptych.config.trainers import LogisticRegressionConfig


class LogisticRegression:
    """A linear map from pixels to class logits, followed by a softmax.

    Attributes:
        weight: (classes, inputs) float32.
        bias: (classes,) float32.
        iterations: iterations that the solver took.

    >>> classifier = LogisticRegression(np.zeros((2, 3), np.float32), np.zeros(2, np.float32))
    >>> classifier.predict_proba(np.ones((1, 3), np.float32))
    array([[0.5, 0.5]], dtype=float32)
    """

    def __init__(self, weight: NDArray[np.float32], bias: NDArray[np.float32], iterations: int = 0) -> None:
        """Keep the arrays."""
        self.weight, self.bias, self.iterations = weight, bias, iterations
        self.names = {"iterations": iterations}

    @classmethod
    def fit(
        cls,
        rows: Rows,
        labels: Labels,
        classes: int,
        settings: LogisticRegressionConfig,
        weights: Weights | None = None,
    ) -> Self:
        """Minimise the penalised, perhaps weighted cross-entropy with L-BFGS in float64; see `PixelClassifier.fit`."""
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression as Solver

        penalty = inverse_penalty(settings.weight_decay, len(labels), classes)
        solver = Solver(C=penalty, max_iter=settings.max_iterations)
        with warnings.catch_warnings():
            # `iterations`, which is logged, then equals the maximum.
            warnings.simplefilter("ignore", ConvergenceWarning)
            solver.fit(rows.astype(np.float64), labels, sample_weight=weights)
        weight, bias = extract_layer(solver)
        return cls(weight.astype(np.float32), bias.astype(np.float32), int(solver.n_iter_.max()))

    @property
    def dtype(self) -> str:
        """Dtype of the rows."""
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


def inverse_penalty(weight_decay: float, images: int, classes: int) -> float:
    """Return scikit-learn's C for a weight decay; C applies to the sum of the losses, weight decay to their mean.

    For two classes scikit-learn has one column w and penalises w²/2. The layer has the columns w/2 and -w/2, whose
    penalty is half of that, so that C is twice as large. Biases are not penalised.

    Without weight decay C is 1, scikit-learn's default: unpenalised weights grow without bound if the classes are
    linearly separable, as the embeddings of most small data sets are.

    >>> [inverse_penalty(0.01, 200, classes=3), inverse_penalty(0.01, 200, classes=2), inverse_penalty(0.0, 200, 3)]
    [0.5, 1.0, 1.0]
    """
    return (2.0 if classes == 2 else 1.0) / (weight_decay * images) if weight_decay else 1.0


def extract_layer(solved: Solved) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the weight (classes, inputs) and the bias (classes,) that scikit-learn found.

    For two classes scikit-learn has only the difference of the logits; plus and minus half of it give the same softmax.
    """
    weight, bias = solved.coef_, solved.intercept_
    return (weight, bias) if len(weight) > 1 else (np.vstack([-weight, weight]) / 2, np.hstack([-bias, bias]) / 2)
