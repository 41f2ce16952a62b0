"""Answers that are wrong in a known way, each."""

import numpy as np

from olhar.inspection.box_errors import above, errors
from olhar.metrics_detection import Answers, Truth

TRUTH = Truth(
    np.array([[0, 0, 10, 10], [20, 0, 30, 10], [40, 0, 50, 10], [60, 0, 70, 10], [80, 0, 100, 20]], float),
    np.array([0, 1, 0, 1, 0]),
    np.array([False, False, False, False, True]),
)
ANSWERS = Answers(
    np.array(
        [
            [0, 0, 10, 9],  # on the first
            [0, 1, 10, 10],  # on it again, less sure
            [20, 0, 30, 10],  # on the second, called otherwise
            [46, 0, 56, 10],  # beside the third: IoU 1/4
            [0, 40, 10, 50],  # on nothing
            [82, 2, 90, 10],  # in the crowd
            [60, 0, 70, 10],  # on the fourth, hardly believed
        ],
        float,
    ),
    np.array([0.9, 0.8, 0.7, 0.6, 0.55, 0.5, 0.1]),
    np.array([0, 0, 0, 0, 1, 0, 1]),
)


def test_each_answer_is_wrong_in_one_way():
    found = errors(above(ANSWERS, 0.3), TRUTH)
    assert found.counts == {
        "right": 1,
        "missed": 1,
        "wrong class": 1,
        "badly placed": 1,
        "duplicate": 1,
        "background": 1,
    }
    assert (found.objects, found.answers) == (4, 5)
    assert found.f1 == 2 / 9


def test_with_all_answers_nothing_is_missed():
    found = errors(ANSWERS, TRUTH)
    assert found.counts["missed"] == 0
    assert found.counts["right"] == 2


def test_an_image_without_anything():
    nothing = Truth(np.zeros((0, 4)), np.zeros(0, int), np.zeros(0, bool))
    silent = Answers(np.zeros((0, 4)), np.zeros(0), np.zeros(0, int))
    assert errors(silent, nothing).f1 == 1
    assert errors(ANSWERS, nothing).counts["background"] == 7
    assert errors(silent, TRUTH).counts["missed"] == 4
