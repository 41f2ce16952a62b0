"""COCO's average precision beside its own program, and by hand where the answer is plain."""

import contextlib
import io

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from olhar.metrics_detection import (
    Answers,
    BoxPrecision,
    Truth,
    accumulate,
    best_threshold,
    by_class,
)

CLASSES = 3


def scene(seed: int, crowds: bool) -> tuple[Answers, Truth]:
    """Some objects of all sizes, answers near them or anywhere, scores that often tie."""
    draw = np.random.default_rng(seed)
    m, extra = int(draw.integers(0, 12)), int(draw.integers(0, 130 if seed % 7 == 0 else 8))
    corner = draw.integers(0, 300, (m, 2))
    real = np.concatenate([corner, corner + draw.integers(4, 160, (m, 2))], 1).astype(np.float32)
    labels = draw.integers(0, CLASSES, m)
    copies = np.repeat(np.arange(m), draw.integers(0, 3, m))
    near = real[copies] + draw.integers(-8, 9, (len(copies), 4)) * draw.integers(0, 2, (len(copies), 1))
    corner = draw.integers(0, 300, (extra, 2))
    boxes = np.concatenate([near, np.concatenate([corner, corner + draw.integers(4, 160, (extra, 2))], 1)])
    boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2] + 1)
    called = np.concatenate([labels[copies], draw.integers(0, CLASSES, extra)])
    scores = draw.integers(1, 64, len(boxes)) / 64
    order = draw.permutation(len(boxes))
    answers = Answers(boxes[order].astype(np.float32), scores[order].astype(np.float32), called[order])
    return answers, Truth(real, labels, draw.random(m) < (0.2 if crowds else 0))


def pycocotools(images: list[tuple[Answers, Truth]]) -> COCOeval:
    def corner(box: np.ndarray) -> list[float]:
        return [float(box[0]), float(box[1]), float(box[2] - box[0]), float(box[3] - box[1])]

    truth, answers = [], []
    for image, (found, real) in enumerate(images, 1):
        for box, label, crowd in zip(real.boxes, real.labels, real.ignored, strict=True):
            x, y, w, h = corner(box)
            truth.append({"id": len(truth) + 1, "image_id": image, "category_id": int(label) + 1, "area": w * h})
            truth[-1] |= {"bbox": [x, y, w, h], "iscrowd": int(crowd)}
        for box, score, label in zip(found.boxes, found.scores, found.labels, strict=True):
            row = {"image_id": image, "category_id": int(label) + 1, "bbox": corner(box), "score": float(score)}
            answers.append(row)
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {
            "images": [{"id": i} for i in range(1, len(images) + 1)],
            "annotations": truth,
            "categories": [{"id": k + 1} for k in range(CLASSES)],
        }
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(answers), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation


@pytest.mark.parametrize("crowds", [False, True])
def test_the_figures_are_those_of_pycocotools(crowds: bool) -> None:
    images = [scene(seed, crowds) for seed in range(40)]
    theirs = pycocotools(images)
    curves = accumulate(by_class(images, CLASSES))
    # theirs is [T R K S M] with the limits of 1, 10 and 100 answers last, and -1 where there is nothing
    expected = theirs.eval["precision"][..., -1].transpose(3, 0, 1, 2)
    np.testing.assert_allclose(np.nan_to_num(curves.precision, nan=-1), expected, atol=1e-9)
    expected = theirs.eval["recall"][..., -1].transpose(2, 0, 1)
    np.testing.assert_allclose(np.nan_to_num(curves.recall, nan=-1), expected, atol=1e-9)
    metric = BoxPrecision(CLASSES)
    for start in range(0, 40, 16):  # in batches, as an evaluation goes
        part = images[start : start + 16]
        metric.update([a for a, _ in part], [t for _, t in part])
    ours = metric.compute()
    names = ("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large")
    assert [ours[name] for name in names] == pytest.approx(theirs.stats[:6].tolist(), abs=1e-6)
    assert ours["recall"] == pytest.approx(theirs.stats[8], abs=1e-6)
    per_class = [curves.average_precision(label=k) for k in range(CLASSES)]
    assert np.mean(per_class) == pytest.approx(theirs.stats[0], abs=1e-6)
    assert 0 < ours["ap"] < ours["ap50"] < 1


def one(boxes: list[list[float]], scores: list[float], labels: list[int]) -> Answers:
    return Answers(np.array(boxes, np.float32).reshape(-1, 4), np.array(scores), np.array(labels, int))


def real(boxes: list[list[float]], labels: list[int], ignored: list[bool] | None = None) -> Truth:
    crowd = np.array(ignored if ignored is not None else [False] * len(boxes), bool)
    return Truth(np.array(boxes, np.float32).reshape(-1, 4), np.array(labels, int), crowd)


BOX = [10.0, 10.0, 60.0, 60.0]


def figures(*images: tuple[Answers, Truth]) -> dict[str, float]:
    metric = BoxPrecision(CLASSES)
    metric.update([a for a, _ in images], [t for _, t in images])
    return metric.compute()


def test_all_found_and_nothing_else_is_1() -> None:
    result = figures((one([BOX], [0.3], [1]), real([BOX], [1])))
    assert [result[name] for name in ("ap", "ap50", "ap75", "f1", "recall")] == pytest.approx([1] * 5)
    assert result["threshold"] == pytest.approx(0.15)
    assert np.isnan(result["ap_small"])


def test_one_of_two_found_is_half_of_the_recalls() -> None:
    result = figures((one([BOX], [0.9], [0]), real([BOX, [100, 100, 150, 150]], [0, 0])))
    assert result["ap"] == pytest.approx(51 / 101)  # recalls 0, 0.01 ... 0.5
    assert result["recall"] == pytest.approx(0.5)


def test_a_second_answer_for_one_object_is_a_mistake() -> None:
    once = one([BOX, [100, 100, 150, 150]], [0.9, 0.7], [0, 0])
    twice = one([BOX, BOX, [100, 100, 150, 150]], [0.9, 0.8, 0.7], [0, 0, 0])
    truth = real([BOX, [100, 100, 150, 150]], [0, 0])
    assert figures((once, truth))["ap50"] == pytest.approx(1)
    assert figures((twice, truth))["ap50"] == pytest.approx((51 + 50 * 2 / 3) / 101)


def test_what_lies_on_a_crowd_is_no_mistake() -> None:
    crowd = [100.0, 100.0, 300.0, 300.0]
    answers = one([crowd, [110, 110, 150, 150], [160, 160, 200, 200], BOX], [0.9, 0.8, 0.7, 0.6], [0, 0, 0, 0])
    assert figures((answers, real([BOX, crowd], [0, 0], [False, True])))["ap"] == pytest.approx(1)
    assert figures((answers, real([BOX, crowd], [0, 0])))["ap"] < 0.9


def test_an_image_without_objects_counts_by_its_false_alarms() -> None:
    empty = real([], [])
    right = (one([BOX], [0.5], [0]), real([BOX], [0]))
    assert figures(right, (one([], [], []), empty))["ap"] == pytest.approx(1)
    assert figures(right, (one([BOX], [0.9], [0]), empty))["ap"] == pytest.approx(0.5)


def test_nothing_to_find_has_no_figures() -> None:
    result = figures((one([BOX], [0.9], [0]), real([], [])))
    assert np.isnan(result["ap"])
    assert (result["threshold"], result["f1"]) == (0.5, 0.0)


def test_the_threshold_has_the_greatest_f1() -> None:
    # surest first: right, right, wrong, right, wrong, wrong; 4 objects: F1 after each 2/5, 4/6, 4/7, 6/8, 6/9, 6/10
    boxes = [[100.0 * i, 0, 100.0 * i + 50, 50] for i in range(7)]
    answers = one([boxes[i] for i in (0, 1, 5, 2, 5, 6)], [0.9, 0.8, 0.7, 0.6, 0.4, 0.3], [0] * 6)
    images = [(answers, real([boxes[i] for i in (0, 1, 2, 3)], [0] * 4))]
    threshold, f1 = best_threshold(by_class(images, CLASSES))
    assert (threshold, f1) == (pytest.approx(0.5), pytest.approx(0.75))
