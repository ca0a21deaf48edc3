from __future__ import annotations

from scipy.sparse import csr_array

from triptych.evaluation.page.matrices import tabulate_confusions, tabulate_difference

NAMES = ("ant", "bee", "a wasp whose name is far too long for a column")


def test_a_matrix_shows_every_count_but_zeros_and_the_fraction_of_the_true_class() -> None:
    matrix = tabulate_confusions(csr_array([[3, 1, 0], [0, 5, 0], [0, 0, 0]]), NAMES, "a panel")
    assert matrix.title == "a panel"
    assert [len(name) <= 24 for name in matrix.classes] == [True, True, True]
    assert [[cell.text for cell in row] for row in matrix.rows] == [["3", "1", ""], ["", "5", ""], ["", "", ""]]
    assert [[cell.strength for cell in row] for row in matrix.rows] == [[75, 25, 0], [0, 100, 0], [0, 0, 0]]


def test_more_correct_images_and_fewer_confusions_are_better() -> None:
    first, second = csr_array([[4, 1, 0], [2, 3, 0], [0, 0, 5]]), csr_array([[2, 3, 0], [1, 4, 0], [0, 0, 5]])
    matrix = tabulate_difference(first, second, NAMES, "one minus other")
    assert [[(cell.text, cell.kind) for cell in row] for row in matrix.rows] == [
        [("+2", "better"), ("−2", "better"), ("", "")],  # noqa: RUF001
        [("+1", "worse"), ("−1", "worse"), ("", "")],  # noqa: RUF001
        [("", ""), ("", ""), ("", "")],
    ]
    assert {cell.strength for row in matrix.rows for cell in row} == {100, 50, 0}
