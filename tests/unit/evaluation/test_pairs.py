from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from triptych.evaluation.pairs import Pair, build_pair_rows, compare_pairs, decide, explain_luck

IMAGES = 200


def fail(*repeats: range) -> dict[int, np.ndarray]:
    """Return for each repeat which of the images are classified correctly: all but these."""
    return {number: ~np.isin(np.arange(IMAGES), wrong) for number, wrong in enumerate(repeats)}


def compare(correct: Mapping[str, Mapping[int, np.ndarray]]) -> tuple[tuple[Pair, ...], str]:
    """Return the pairs and the verdict of panels that are given in the order of their ranking."""
    pairs = compare_pairs(correct, list(correct), 0.95)
    best = next(iter(correct))
    return pairs, decide(best, float(np.mean([*correct[best].values()])), pairs, f"{IMAGES} test images", 0.95)


def test_the_verdict_names_the_winner_and_whose_difference_could_be_chance() -> None:
    once = {"best": fail(range(0)), "near": fail(range(2)), "far": fail(range(60))}
    pairs, verdict = compare(once)
    assert [pair.separated for pair in pairs] == [False, True, True]
    assert verdict == (
        "This training of best leads with 1.0000 on 200 test images, but its lead over near could be chance; "
        "it is significantly better than far. "
        "Each panel was trained once: repeats=5 compares methods instead of single trainings."
    )
    twice = {
        label: fail(*[range(len(right) - right.sum()) for right in repeats.values()] * 2)
        for label, repeats in once.items()
    }
    assert compare(twice)[1] == (
        "best leads with 1.0000 on 200 test images, but its lead over near could be chance; "
        "it is significantly better than far."
    )
    del once["near"]
    [won], verdict = compare(once)
    assert verdict.startswith(
        "This training of best wins with 1.0000 on 200 test images, 30.00 points ahead of far (95 % interval "
        f"{100 * won.adjusted_low:+.2f} to {100 * won.adjusted_high:+.2f}, p = "
    )
    assert "no other panel" in decide("best", 1.0, [], "4 test images", 0.95)


@pytest.mark.parametrize("repeats", [1, 3])
def test_equals_are_level_and_nobody_leads(repeats: int) -> None:
    equals = {"one": fail(*[range(5)] * repeats), "other": fail(*[range(3, 8)] * repeats)}
    [pair], verdict = compare(equals)
    assert (pair.paired.difference, pair.separated) == (0.0, False)
    names = "These trainings of one and other" if repeats == 1 else "one and other"
    assert verdict.startswith(f"{names} are level with 0.9750 on 200 test images.")
    _, verdict = compare({**equals, "near": fail(*[range(9)] * repeats), "far": fail(*[range(90)] * repeats)})
    assert verdict.startswith(
        f"{names} are level with 0.9750 on 200 test images; their lead over near could be chance; "
        "they are significantly better than far."
    )
    for word in ("leads", "wins"):
        assert word not in verdict


def test_of_panels_that_share_the_lead_only_those_are_better_that_are_shown_to_be() -> None:
    shaky = fail(range(0), range(0), range(100, 130))
    thrice = {name: fail(*[range(wrong)] * 3) for name, wrong in (("steady", 10), ("far", 30), ("last", 150))}
    _, verdict = compare({"steady": thrice["steady"], "shaky": shaky, "far": thrice["far"], "last": thrice["last"]})
    assert verdict == (
        "steady and shaky are level with 0.9500 on 200 test images; they are significantly better than last; "
        "steady is significantly better than far."
    )


def test_panels_that_agree_on_every_image_are_one_hypothesis() -> None:
    alone = {"best": fail(range(3)), "twin": fail(range(3, 15)), "other": fail(range(15, 35))}
    with_twin = {"best": alone["best"], "twin": alone["twin"], "copy": alone["twin"], "other": alone["other"]}
    pairs, verdict = compare(alone)
    adjusted = {frozenset((pair.first, pair.second)): pair.adjusted_p_value for pair in pairs}
    more, verdict_with_twin = compare(with_twin)
    for pair in more:
        names = frozenset({"twin" if name == "copy" else name for name in (pair.first, pair.second)})
        assert pair.adjusted_p_value == pytest.approx(adjusted.get(names, 1.0))
        assert pair.paired.agree == (names == {"twin"})
    assert " twin and copy agree on every test image." in verdict_with_twin
    assert "agree" not in verdict
    level = compare({"twin": alone["twin"], "copy": alone["twin"]})[1]
    assert level.startswith(
        "These trainings of twin and copy are level with 0.9400 on 200 test images. "
        "twin and copy agree on every test image."
    )


def test_the_adjusted_interval_agrees_with_the_decision() -> None:
    rng = np.random.default_rng(0)
    for _ in range(6):
        shares = np.sort(rng.uniform(0.8, 0.99, 5))[::-1]
        correct = {str(n): dict(enumerate(rng.random((2, IMAGES)) < share)) for n, share in enumerate(shares)}
        ranked = sorted(correct, key=lambda label: -np.mean([*correct[label].values()]))
        for pair in compare_pairs(correct, ranked, 0.95):
            assert pair.separated == (pair.adjusted_low > 0.0)
            assert pair.adjusted_low <= pair.paired.low <= pair.paired.high <= pair.adjusted_high
            assert pair.paired.difference >= 0.0


def test_a_difference_is_over_the_repeats_that_both_have_and_points_the_right_way() -> None:
    both = {"one": fail(range(10), range(90), range(90)), "other": {0: fail(range(30))[0]}}
    [pair] = compare_pairs(both, ["other", "one"], 0.95)
    assert (pair.first, pair.second, pair.paired.repeats) == ("one", "other", 1)
    assert pair.paired.difference == pytest.approx(0.1)
    assert compare_pairs({"one": fail(range(1)), "other": {7: fail(range(1))[0]}}, ["one", "other"], 0.95) == ()


def test_images_of_one_group_count_as_one() -> None:
    correct = {"one": fail(range(0)), "other": fail(range(20))}
    [alone] = compare_pairs(correct, ["one", "other"], 0.95)
    [grouped] = compare_pairs(correct, ["one", "other"], 0.95, np.repeat(np.arange(IMAGES // 20), 20))
    assert (alone.separated, grouped.separated) == (True, False)


def test_the_table_of_pairs_leaves_out_what_one_training_cannot_show() -> None:
    once, _ = compare({"one": fail(range(2)), "other": fail(range(9))})
    twice, _ = compare({"one": fail(range(2), range(4)), "other": fail(range(9), range(3, 10))})
    [row] = build_pair_rows(once)
    [with_seeds] = build_pair_rows(twice)
    assert set(with_seeds) - set(row) == {"P(first better) on new seeds"}
    assert (row["points"], row["only one correct"]) == ("+3.50", "7 : 0")
    assert with_seeds["P(first better) on new seeds"].endswith(" %")


def test_the_lead_by_chance_is_that_of_equally_good_panels() -> None:
    rng = np.random.default_rng(0)
    leads, said = [], []
    for _ in range(60):
        drawn = {str(label): {0: right} for label, right in enumerate(rng.random((4, IMAGES)) < 0.9)}
        ranked = sorted(drawn, key=lambda label: -drawn[label][0].mean())
        accuracies = [drawn[label][0].mean() for label in ranked]
        leads.append(100 * (accuracies[0] - np.mean(accuracies)))
        caveats = explain_luck(ranked[0], compare_pairs(drawn, ranked, 0.95))
        said += [float(caveat.partition(" good is ")[2].split()[0]) for caveat in caveats]
    assert np.mean(said) == pytest.approx(np.mean(leads), rel=0.15)


def test_twins_and_losers_do_not_lead_by_chance() -> None:
    panels = {"best": fail(range(3)), "twin": fail(range(3)), "far": fail(range(90))}
    assert explain_luck("best", compare(panels)[0]) == []
    [caveat] = explain_luck("best", compare({**panels, "near": fail(range(5))})[0])
    text = "the best of 2 panels that could be equally good (those that agree on every test image count as one) is 0."
    assert caveat.startswith(text)
    [apart] = explain_luck("near", compare({"near": fail(range(5)), "other": fail(range(2, 9))})[0])
    assert apart.startswith("the best of 2 panels that could be equally good is ")
