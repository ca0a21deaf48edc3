from __future__ import annotations

import hashlib

from triptych.transfer.bundled.card import FOLDER, read_card

CARD = read_card()


def test_card_names_the_bytes_of_the_weights() -> None:
    content = (FOLDER / CARD["weights"]).read_bytes()
    assert hashlib.sha256(content).hexdigest() == CARD["sha256"]


def test_texts_agree_with_the_card() -> None:
    text = (FOLDER / "CARD.md").read_text(encoding="utf-8")
    assert CARD["sha256"] in text
    assert CARD["command"] in text
    assert f"{100 * CARD['test_accuracy']:.2f} %" in text
    assert f"{100 * CARD['validation_accuracy']:.2f} %" in text
