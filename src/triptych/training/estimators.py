"""The two multilayer perceptrons as scikit-learn estimators, for pipelines and grid searches.

>>> from sklearn.datasets import load_iris
>>> from sklearn.pipeline import make_pipeline
>>> from sklearn.preprocessing import StandardScaler
>>> x, species = load_iris(return_X_y=True)
>>> classifier = make_pipeline(StandardScaler(), NumpyMLPClassifier(hidden_units=(10,), random_state=0))
>>> bool(classifier.fit(x, species).score(x, species) > 0.95)
True
"""

from __future__ import annotations

import hashlib
import numbers
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets, unique_labels
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from triptych.config.fields import describe_first_error
from triptych.config.trainers import MLPConfig
from triptych.errors import ConfigError
from triptych.networks.minibatches import Examples, Weights
from triptych.system.threads import limit_blas_threads
from triptych.training.checkpoints import CheckpointFile
from triptych.training.epochs import EpochMetrics
from triptych.training.examples import weigh_examples
from triptych.training.loop import choose_epoch, fit_network, train_and_measure_epoch
from triptych.training.mlp import build_mlp

FLOATS = (np.float64, np.float32)


class _MLPClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn ships no types
    """The base of both estimators; most parameters are fields of `triptych.config.trainers.MLPConfig`."""

    network: ClassVar[str]

    def __init__(  # noqa: PLR0913 - scikit-learn's convention: every setting is a parameter
        self,
        *,
        hidden_units: tuple[int, ...] = (100,),
        activation: str = "relu",
        loss: str = "cross_entropy",
        loss_reduction: str = "sum",
        learning_rate: float = 0.05,
        schedule: str = "constant",
        momentum: float = 0.9,
        weight_decay: float = 1e-4,
        dropout: float = 0.0,
        input_dropout: float = 0.0,
        batch_size: int = 32,
        epochs: int = 50,
        initialisation: str = "he_normal",
        validation_fraction: float = 0.0,
        monitor: str = "val_loss",
        patience: int = 0,
        keep_best_epoch: bool = False,
        threads: int = 1,
        checkpoint_file: str | Path | None = None,
        checkpoint_epochs: int = 10,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.hidden_units = hidden_units
        self.activation = activation
        self.loss = loss
        self.loss_reduction = loss_reduction
        self.learning_rate = learning_rate
        self.schedule = schedule
        self.momentum = momentum
        self.weight_decay = weight_decay
        self.dropout = dropout
        self.input_dropout = input_dropout
        self.batch_size = batch_size
        self.epochs = epochs
        self.initialisation = initialisation
        self.validation_fraction = validation_fraction
        self.monitor = monitor
        self.patience = patience
        self.keep_best_epoch = keep_best_epoch
        self.threads = threads
        self.checkpoint_file = checkpoint_file
        self.checkpoint_epochs = checkpoint_epochs
        self.random_state = random_state

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> _MLPClassifier:  # noqa: N803 - scikit-learn's names
        """Train a new network, or continue from `checkpoint_file` if it has a checkpoint of the same training.

        Args:
            X: (n, features) float; float32 is trained in float32, all other dtypes in float64.
            y: (n,) labels of any type.
            sample_weight: (n,) how much each row counts, 0 or more; divided by the mean over the training set, so that
                the learning rate keeps its meaning. Rows that are held out count alike.

        Raises:
            CheckpointError: the checkpoint belongs to other data, settings or another seed.
            ConfigError: a parameter is out of range; a `ValueError`.
            DivergenceError: a step or the training loss is not finite.
            ValueError: scikit-learn rejects the data.
        """
        features, names = validate_data(self, X, y, dtype=FLOATS)
        check_classification_targets(names)
        self.classes_, labels = np.unique(names, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(
                "This solver needs samples of at least 2 classes in the data, but the data contains only one class: "
                f"{self.classes_[0]!r}"
            )
        own = _check_weights(sample_weight, features)
        seed = self._begin(features.dtype)
        train, validation = self._split(Examples(features, labels.astype(np.int64), own), seed)
        train = replace(train, weights=weigh_examples(train.labels, "none", train.weights))
        checkpoint = self._find_checkpoint(features, labels, own, seed)
        with limit_blas_threads(self.threads):
            fit_network(
                self.network_,
                self._settings,
                train,
                validation,
                rng=self._rng,
                on_epoch=self.curve_.append,
                checkpoint=checkpoint,
            )
        return self

    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> _MLPClassifier:  # noqa: N803
        """Train for one more epoch, on the given data and with a constant learning rate.

        Args:
            X: (n, features) float.
            y: (n,) labels, each one of the classes.
            classes: all possible labels; required in the first call.
            sample_weight: (n,) how much each row counts, 0 or more; divided by its mean.

        Raises:
            ConfigError: a parameter is out of range; a `ValueError`.
            DivergenceError: a step or the training loss is not finite.
            ValueError: scikit-learn rejects the data.
        """
        first = not hasattr(self, "network_")
        features, names = validate_data(self, X, y, dtype=FLOATS, reset=first)
        check_classification_targets(names)
        self._check_classes(classes)
        unknown = np.setdiff1d(names, self.classes_)
        if len(unknown):
            raise ValueError(f"y has labels that are not in classes: {unknown!r}; classes has {self.classes_!r}")
        own = _check_weights(sample_weight, features)
        if first:
            self._begin(features.dtype)
        dtype = self.network_.layers[0][0].dtype
        labels = np.searchsorted(self.classes_, names)
        train = Examples(features.astype(dtype, copy=False), labels, weigh_examples(labels, "none", own))
        settings = self._settings.model_copy(update={"schedule": "constant"})
        with limit_blas_threads(self.threads):
            epoch = self.n_iter_ + 1
            self.curve_.append(train_and_measure_epoch(self.network_, settings, train, None, epoch, self._rng))
        return self

    def predict_proba(self, X: Any) -> NDArray[np.floating[Any]]:  # noqa: N803
        """Return class probabilities, (n, classes), in the order of `classes_`."""
        check_is_fitted(self, "network_")
        features = validate_data(self, X, dtype=FLOATS, reset=False)
        probabilities: NDArray[np.floating[Any]] = self.network_.predict_proba(features)
        return probabilities

    def predict(self, X: Any) -> NDArray[Any]:  # noqa: N803
        """Return the most probable label of each row, (n,)."""
        probabilities = self.predict_proba(X)
        labels: NDArray[Any] = self.classes_[probabilities.argmax(axis=1)]
        return labels

    @property
    def loss_curve_(self) -> list[float]:
        """The training loss after each epoch."""
        return [metrics.train_loss for metrics in self.curve_]

    @property
    def n_iter_(self) -> int:
        """The number of epochs trained."""
        return len(self.curve_)

    @property
    def best_epoch_(self) -> int:
        """The epoch whose weights are kept, from 1."""
        return choose_epoch(self.curve_, self._settings)

    def _begin(self, dtype: np.dtype[Any]) -> int:
        """Check the parameters and build a new network; return the seed."""
        names = set(MLPConfig.model_fields) & set(self.get_params(deep=False))
        values = {name: getattr(self, name) for name in names}
        try:
            self._settings = MLPConfig.model_validate(values | {"dtype": dtype.name})
        except ValidationError as error:
            raise ConfigError(f"{type(self).__name__}: {describe_first_error(MLPConfig, error)}") from error
        seed = self._choose_seed()
        self._rng = np.random.default_rng(seed)
        self.network_ = build_mlp(self.network, self._settings, self.n_features_in_, len(self.classes_), self._rng)
        self.curve_: list[EpochMetrics] = []
        return seed

    def _choose_seed(self) -> int:
        """Return `random_state` if it is an integer, or else draw a seed from it."""
        if isinstance(self.random_state, numbers.Integral):
            return int(self.random_state)
        return int(check_random_state(self.random_state).randint(2**31))

    def _check_classes(self, classes: Any) -> None:
        """Set the classes in the first call; later calls must repeat or omit them."""
        known = hasattr(self, "classes_")
        if classes is None:
            if not known:
                raise ValueError("classes must be passed on the first call to partial_fit.")
            return
        given = unique_labels(classes)
        if known and not np.array_equal(given, self.classes_):
            raise ValueError(
                f"`classes={classes!r}` is not the same as on last call to partial_fit, was: {self.classes_!r}"
            )
        self.classes_ = given

    def _split(self, examples: Examples, seed: int) -> tuple[Examples, Examples | None]:
        if not self.validation_fraction:
            return examples, None
        rows = np.arange(len(examples))
        train, held_out = train_test_split(
            rows, test_size=self.validation_fraction, stratify=examples.labels, random_state=seed
        )
        validation = Examples(examples.features[held_out], examples.labels[held_out])
        return Examples(examples.features[train], examples.labels[train], examples.weights_of(train)), validation

    def _find_checkpoint(
        self, features: NDArray[Any], labels: NDArray[Any], weights: Weights | None, seed: int
    ) -> CheckpointFile | None:
        if self.checkpoint_file is None or not self.checkpoint_epochs:
            return None
        digest = hashlib.sha256(np.ascontiguousarray(features).tobytes() + labels.tobytes())
        digest.update(b"" if weights is None else weights.tobytes())
        digest.update(f"{self._settings.model_dump_json()} {self.validation_fraction} {seed} {self.network}".encode())
        return CheckpointFile(Path(self.checkpoint_file), digest.hexdigest(), self.checkpoint_epochs)


def _check_weights(sample_weight: Any, features: NDArray[Any]) -> Weights | None:
    """Return the weights of rows as scikit-learn checks them, (n,) float64; None if there are none."""
    if sample_weight is None:
        return None
    weights: Weights = _check_sample_weight(sample_weight, features, dtype=np.float64, ensure_non_negative=True)
    return weights


class NumpyMLPClassifier(_MLPClassifier):
    """The multilayer perceptron written by hand in NumPy, as a scikit-learn estimator.

    Args:
        hidden_units: units of each hidden layer.
        activation: of the hidden layers: "sigmoid", "tanh" or "relu".
        loss: "squared_error" or "cross_entropy".
        loss_reduction: "sum" or "mean" of the squared error over the outputs.
        learning_rate: initial learning rate.
        schedule: of the learning rate: "constant", "linear" or "cosine".
        momentum: as in `torch.optim.SGD`.
        weight_decay: as in `torch.optim.SGD`.
        dropout: probability of dropping a hidden unit in a step.
        input_dropout: probability of dropping an input in a step.
        batch_size: examples per step.
        epochs: maximum number of epochs.
        initialisation: "normal", "uniform_fan_in", "glorot_uniform" or "he_normal".
        validation_fraction: fraction of the data held out to choose the epoch, stratified by class.
        monitor: "val_loss" or "val_accuracy".
        patience: stop after this many epochs without improvement; 0 never stops early.
        keep_best_epoch: whether to keep the weights of the best epoch on the held-out data instead of the last.
        threads: threads of the matrix products.
        checkpoint_file: an `.npz` file to save the training to, and to continue it from exactly; requires an integer
            `random_state`.
        checkpoint_epochs: epochs between checkpoints.
        random_state: seed of the initial weights, the order of the batches and dropout.

    Attributes:
        classes_: (classes,) the labels, sorted.
        n_features_in_: number of features.
        network_: the `NumpyMLP`.
        curve_: the metrics of every epoch, `triptych.training.epochs.EpochMetrics`.

    >>> classifier = NumpyMLPClassifier(hidden_units=(4,), random_state=0)
    >>> classifier.fit([[0.0], [0.1], [0.9], [1.0]], ["low", "low", "high", "high"]).predict([[0.2], [0.8]])
    array(['low', 'high'], dtype='<U4')
    """

    network = "triptych.networks.numpy_mlp:NumpyMLP"


class TorchMLPClassifier(_MLPClassifier):
    """The same network in PyTorch; with the same parameters and seed it repeats `NumpyMLPClassifier` up to rounding.

    >>> classifier = TorchMLPClassifier(hidden_units=(4,), random_state=0)
    >>> classifier.fit([[0.0], [0.1], [0.9], [1.0]], ["low", "low", "high", "high"]).predict([[0.2], [0.8]])
    array(['low', 'high'], dtype='<U4')
    """

    network = "triptych.networks.torch_mlp:TorchMLP"
