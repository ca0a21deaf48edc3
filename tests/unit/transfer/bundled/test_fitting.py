from __future__ import annotations

import torch
from safetensors.torch import load_file
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn
from torchvision.models import shufflenet_v2_x0_5

from triptych.data.named import load_digits_images
from triptych.images.preprocessing import Preprocessing
from triptych.transfer.bundled.card import FOLDER, read_card
from triptych.transfer.bundled.fitting import build_network

CARD = read_card()


def probe_digits(network: nn.Module, preprocessing: Preprocessing) -> float:
    """Measure a logistic regression on the frozen embeddings of every second digit, on a stratified 30 % of them.

    The embeddings are standardised first: those of an untrained trunk are tiny, and should not lose by that.
    """
    digits = load_digits_images("digits")
    transform, labels = preprocessing.build(), digits.labels[::2]
    inputs = torch.stack([transform(digits.images[row]) for row in range(0, len(digits.labels), 2)])
    network.fc = nn.Identity()
    network.eval()
    with torch.inference_mode():
        embeddings = torch.cat([network(batch) for batch in inputs.split(64)]).numpy()
    assert embeddings.shape == (899, 1024)
    parts = train_test_split(embeddings, labels, test_size=0.3, stratify=labels, random_state=0)
    fit_x, test_x, fit_y, test_y = parts
    probe = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1000))
    return float(probe.fit(fit_x, fit_y).score(test_x, test_y))


def test_weights_load_strictly_into_the_network() -> None:
    network = shufflenet_v2_x0_5(num_classes=CARD["classes"])
    state = load_file(FOLDER / CARD["weights"])
    network.load_state_dict(state, strict=True)
    assert sum(parameter.numel() for parameter in network.parameters()) == CARD["parameters"]
    assert {value.dtype for value in state.values() if value.is_floating_point()} == {torch.float32}
    assert all(value.isfinite().all() for value in state.values())


def test_frozen_trunk_transfers_to_digits_and_an_untrained_one_does_not() -> None:
    preprocessing = Preprocessing.from_json(CARD["preprocessing"])
    network = build_network(seed=1)
    network.load_state_dict(load_file(FOLDER / CARD["weights"]), strict=True)
    trained = probe_digits(network, preprocessing)
    untrained = probe_digits(build_network(seed=1), preprocessing)
    assert trained >= 0.97
    assert trained - untrained >= 0.1
