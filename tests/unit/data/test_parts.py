from __future__ import annotations

import pytest

from triptych.data.parts import name_part, name_parts

SPELLINGS = {
    "train": "train Train TRAINING training_set seg_train train_images trainset train-data train2017 trn TrainImages",
    "validation": "val valid Validation val_images dev eval valset images_val devset",
    "test": "test TESTING test_set seg_test testdata test1 tst test-images",
}
TOGETHER = {
    "asl_alphabet_train asl_alphabet_test": {"asl_alphabet_train": "train", "asl_alphabet_test": "test"},
    "ISIC_2019_Training_Input ISIC_2019_Test_Input": {
        "ISIC_2019_Training_Input": "train",
        "ISIC_2019_Test_Input": "test",
    },
    "Kaggle_train Kaggle_val notes": {"Kaggle_train": "train", "Kaggle_val": "validation"},
    "steam_train freight_train": {},
    "train_station test_tube": {},
    "express_train": {},
}


@pytest.mark.parametrize("part", SPELLINGS)
def test_parts_are_known_in_the_spellings_of_public_data_sets(part: str) -> None:
    assert {name: name_part(name) for name in SPELLINGS[part].split()} == dict.fromkeys(SPELLINGS[part].split(), part)


@pytest.mark.parametrize("name", ["trainers", "contest", "validity", "test_train", "set", "images", "2017"])
def test_other_words_are_no_parts(name: str) -> None:
    assert name_part(name) is None


@pytest.mark.parametrize(("names", "parts"), TOGETHER.items())
def test_names_that_share_all_other_words_are_parts_together(names: str, parts: dict[str, str]) -> None:
    assert name_parts(names.split()) == parts
