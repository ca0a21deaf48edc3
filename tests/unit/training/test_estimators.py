from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.datasets import load_digits, load_iris
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from triptych.errors import CheckpointError, DivergenceError
from triptych.training.estimators import NumpyMLPClassifier, TorchMLPClassifier

CLASSIFIERS = (NumpyMLPClassifier, TorchMLPClassifier)
# Weights for the rows of `draw_data`.
WEIGHTS = np.linspace(0.0, 3.0, 90)


# Every check of scikit-learn's is expected to pass; its array-API check skips itself unless SCIPY_ARRAY_API is set.
@parametrize_with_checks([classifier() for classifier in CLASSIFIERS])  # type: ignore[untyped-decorator]  # no types
def test_scikit_learns_own_checks(estimator: Any, check: Any) -> None:
    check(estimator)


def draw_data(rows: int = 90, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return three classes with names."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, size=rows)
    return np.eye(4)[labels] + rng.normal(size=(rows, 4)) * 0.3, np.array(["ant", "bee", "wasp"])[labels]


@pytest.mark.parametrize("classifier", CLASSIFIERS)
def test_labels_may_be_strings_and_probabilities_follow_classes(classifier: Any) -> None:
    x, species = draw_data()
    fitted = classifier(hidden_units=(10,), random_state=0).fit(x, species)
    assert fitted.classes_.tolist() == ["ant", "bee", "wasp"]
    assert fitted.score(x, species) > 0.95
    probabilities = fitted.predict_proba(x)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0)
    assert (fitted.classes_[probabilities.argmax(axis=1)] == fitted.predict(x)).all()
    assert fitted.n_iter_ == len(fitted.loss_curve_) == fitted.epochs
    assert fitted.loss_curve_[-1] < fitted.loss_curve_[0]


@pytest.mark.parametrize(("dtype", "weights"), [(np.float32, None), (np.float64, None), (np.float64, WEIGHTS)])
def test_both_classifiers_are_twins(dtype: Any, weights: np.ndarray | None) -> None:
    x, species = draw_data()
    probabilities = [
        classifier(hidden_units=(8, 5), dropout=0.1, epochs=20, random_state=3)
        .fit(x.astype(dtype), species, sample_weight=weights)
        .predict_proba(x.astype(dtype))
        for classifier in CLASSIFIERS
    ]
    assert probabilities[0].dtype == probabilities[1].dtype == dtype
    tolerance = {np.float32: 1e-3, np.float64: 1e-9}[dtype]
    np.testing.assert_allclose(probabilities[0], probabilities[1], rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("classifier", CLASSIFIERS)
def test_it_works_in_a_grid_search_over_a_pipeline(classifier: Any) -> None:
    x, y = load_iris(return_X_y=True)
    pipeline = make_pipeline(StandardScaler(), classifier(epochs=15, random_state=0))
    name = f"{classifier.__name__.lower()}__hidden_units"
    search = GridSearchCV(clone(pipeline), {name: [(4,), (16,)]}, cv=3).fit(x, y)
    assert search.best_score_ > 0.9
    assert search.best_params_[name] in {(4,), (16,)}


@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["alike", "weighted"])
@pytest.mark.parametrize("classifier", CLASSIFIERS)
def test_partial_fits_are_the_epochs_of_a_fit(classifier: Any, weights: np.ndarray | None) -> None:
    x, species = draw_data()
    whole = classifier(hidden_units=(6,), epochs=4, random_state=1).fit(x, species, sample_weight=weights)
    parts = classifier(hidden_units=(6,), epochs=4, random_state=1)
    for _ in range(4):
        parts.partial_fit(x, species, classes=np.unique(species), sample_weight=weights)
    np.testing.assert_array_equal(parts.predict_proba(x), whole.predict_proba(x))
    assert parts.loss_curve_ == whole.loss_curve_


@pytest.mark.parametrize("classifier", CLASSIFIERS)
def test_the_scale_of_weights_does_not_count(classifier: Any) -> None:
    x, species = draw_data()
    small, large = (
        classifier(epochs=3, validation_fraction=0.5, random_state=1).fit(x, species, sample_weight=scale * WEIGHTS)
        for scale in (0.25, 4.0)
    )
    assert small.loss_curve_ == large.loss_curve_
    np.testing.assert_array_equal(small.predict_proba(x), large.predict_proba(x))
    with pytest.raises(ValueError, match="Negative values in data passed to `sample_weight`"):
        classifier().fit(x, species, sample_weight=-WEIGHTS)


@pytest.mark.parametrize("classifier", CLASSIFIERS)
def test_partial_fit_says_what_it_cannot_use(classifier: Any) -> None:
    x, species = draw_data()
    with pytest.raises(ValueError, match="classes must be passed on the first call to partial_fit"):
        classifier().partial_fit(x, species)
    started = classifier(hidden_units=(4,)).partial_fit(x, species, classes=["ant", "bee", "wasp"])
    with pytest.raises(ValueError, match=r"y has labels that are not in classes: .*'fly'"):
        started.partial_fit(x[:1], ["fly"])
    with pytest.raises(ValueError, match="is not the same as on last call"):
        started.partial_fit(x, species, classes=["ant", "bee"])


@pytest.mark.parametrize("classifier", CLASSIFIERS)
@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda x, y: (np.where(x > 1.5, np.nan, x), y), "contains NaN"),
        (lambda x, y: (x * np.inf, y), "contains NaN|contains infinity"),
        (lambda x, y: (x[:, 0], y), "Expected 2D array, got 1D array"),
        (lambda x, y: (x[:0], y[:0]), r"Found array with 0 sample\(s\)"),
        (lambda x, y: (x, y[:-1]), "inconsistent numbers of samples"),
        (lambda x, y: (x, np.full(len(y), "ant")), "the data contains only one class: .*'ant'"),
        (lambda x, y: (np.full(x.shape, "many", dtype=object), y), "could not convert string to float"),
        (lambda x, y: (x, np.linspace(0.0, 1.0, len(y))), "Unknown label type"),
    ],
    ids=["nan", "infinity", "1d", "empty", "lengths", "one-class", "object", "regression"],
)
def test_bad_data_gets_scikit_learns_own_words(classifier: Any, spoil: Any, words: str) -> None:
    with np.errstate(invalid="ignore"):
        x, y = spoil(*draw_data())
    with pytest.raises(ValueError, match=words):
        classifier().fit(x, y)


@pytest.mark.parametrize("classifier", CLASSIFIERS)
def test_prediction_needs_a_fit_and_as_many_features(classifier: Any) -> None:
    x, species = draw_data()
    with pytest.raises(NotFittedError):
        classifier().predict(x)
    fitted = classifier(hidden_units=(4,), epochs=2).fit(x, species)
    with pytest.raises(ValueError, match=r"X has 3 features, but .* is expecting 4 features"):
        fitted.predict(x[:, :3])


@pytest.mark.parametrize("classifier", CLASSIFIERS)
@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"epochs": 0}, r"Classifier: epochs = 0 is not allowed"),
        ({"activation": "softsign"}, r"activation = 'softsign' is not allowed: input should be 'sigmoid', 'tanh'"),
        ({"patience": 3}, "need a validation set"),
    ],
)
def test_bad_parameters_are_named_in_a_line(classifier: Any, parameters: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words) as raised:
        classifier(**parameters).fit(*draw_data())
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("classifier", CLASSIFIERS)
def test_divergence_is_an_error(classifier: Any) -> None:
    with pytest.raises(DivergenceError, match=r"step \d+ of epoch \d of 50: the learning rate 1e\+30"):
        classifier(learning_rate=1e30, random_state=0).fit(*draw_data(300))


def test_it_stops_early_on_a_part_held_out() -> None:
    x, species = draw_data(60)
    fitted = NumpyMLPClassifier(
        learning_rate=0.5, validation_fraction=0.3, patience=4, keep_best_epoch=True, random_state=0
    ).fit(x, species)
    assert fitted.n_iter_ == fitted.best_epoch_ + 4 < 50


@pytest.mark.parametrize("classifier", CLASSIFIERS)
def test_fit_continues_from_a_checkpoint_of_the_same_training_alone(classifier: Any, tmp_path: Path) -> None:
    x, species = draw_data()
    given_parameters = {"hidden_units": (5,), "epochs": 6, "random_state": 0}
    expected = classifier(**given_parameters).fit(x, species)
    with_file = classifier(**given_parameters, checkpoint_file=tmp_path / "state.npz", checkpoint_epochs=4)
    for _ in range(2):
        np.testing.assert_array_equal(with_file.fit(x, species).predict_proba(x), expected.predict_proba(x))
        assert with_file.loss_curve_ == expected.loss_curve_
    for other in ({"X": x + 1.0}, {"sample_weight": WEIGHTS}):
        with pytest.raises(CheckpointError, match="other data, settings or seed"):
            with_file.fit(**{"X": x, "y": species, **other})


@settings(max_examples=20)
@given(
    labels=st.lists(st.sampled_from(["a", "b", "c d", "é"]), min_size=2, max_size=30).filter(
        lambda names: len(set(names)) > 1
    ),
    features=st.integers(1, 5),
    batch_size=st.integers(1, 40),
    classifier=st.sampled_from(CLASSIFIERS),
)
def test_any_labels_shapes_and_batches(labels: list[str], features: int, batch_size: int, classifier: Any) -> None:
    x = np.random.default_rng(0).normal(size=(len(labels), features))
    fitted = classifier(hidden_units=(3,), batch_size=batch_size, epochs=2).fit(x, labels)
    assert fitted.predict_proba(x).shape == (len(labels), len(set(labels)))
    assert set(fitted.predict(x)) <= set(labels)


def test_the_digits_are_learnt_as_well_as_scikit_learn_does() -> None:
    from sklearn.neural_network import MLPClassifier

    x, digit = load_digits(return_X_y=True)
    x = x / 16.0
    ours = NumpyMLPClassifier(epochs=30, random_state=0).fit(x[:1200], digit[:1200]).score(x[1200:], digit[1200:])
    theirs = MLPClassifier(max_iter=300, random_state=0).fit(x[:1200], digit[:1200]).score(x[1200:], digit[1200:])
    assert ours > theirs - 0.02
