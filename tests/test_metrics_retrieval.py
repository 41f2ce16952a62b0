"""Recall, median rank and chance: by hand, by a sort, and for who knows nothing."""

import math

import pytest
import torch
from torch.nn.functional import normalize

from olhar.metrics_retrieval import Retrieval, name_keys


def filled(image, text, owner, caption=None, parts=1):
    metric = Retrieval()
    keys, captions = torch.arange(len(image)) + 7, torch.arange(len(text)) if caption is None else caption
    for own in torch.arange(len(text)).chunk(parts):
        shown = keys[owner[own]].unique()
        metric.update(image[shown - 7], text[own], shown, keys[owner[own]], captions[own])
    return {name: float(value) for name, value in metric.compute().items()}


def test_ranks_are_those_of_a_sort():
    generator = torch.Generator().manual_seed(0)
    image, text = (normalize(torch.randn(40, 6, generator=generator), dim=1) for _ in range(2))
    text = normalize(text + image, dim=1)
    found = filled(image, text, torch.arange(40), parts=3)
    similarity = image @ text.T
    for way, matrix in (("image_to_text", similarity), ("text_to_image", similarity.T)):
        ranks = torch.tensor([matrix[i].argsort(descending=True).tolist().index(i) + 1 for i in range(40)])
        for k in (1, 5, 10):
            assert found[f"{way}_recall_{k}"] == pytest.approx(float((ranks <= k).float().mean()))
        assert found[f"{way}_median_rank"] == float(ranks.median())
    assert found["recall_5_chance"] == pytest.approx(5 / 40)
    assert found["mean_recall_chance"] == pytest.approx((1 + 5 + 10) / 3 / 40)


def test_several_captions_an_image_and_captions_that_repeat():
    """Images 0 and 1 share caption b; image 0 also has caption a, and image 2 only c."""
    image = torch.eye(3)
    vectors = {"a": torch.tensor([0.6, 0.0, 0.8]), "b": torch.tensor([0.8, 0.6, 0.0]), "c": torch.tensor([0.0, 0, 1])}
    text = torch.stack([vectors[name] for name in "abbc"])
    found = filled(image, text, torch.tensor([0, 0, 1, 2]), torch.tensor([0, 1, 1, 2]))
    # images: 0 finds b first, 1 finds b first, 2 finds c first
    assert found["image_to_text_recall_1"] == 1
    # captions: a finds image 2 before its own; b and c their own
    assert found["text_to_image_recall_1"] == pytest.approx(2 / 3)
    # three captions: two of them right for image 0, one for the others; three images: 1, 2 and 1
    image_chance, text_chance = (2 / 3 + 1 / 3 + 1 / 3) / 3, (1 / 3 + 2 / 3 + 1 / 3) / 3
    assert found["recall_1_chance"] == pytest.approx((image_chance + text_chance) / 2)
    assert found["recall_5_chance"] == 1


def test_the_same_vector_for_all_is_a_guess():
    same = normalize(torch.ones(21, 4), dim=1)
    found = filled(same, same, torch.arange(21))
    assert found["image_to_text_recall_1"] == 0
    assert found["text_to_image_median_rank"] == 11


def test_names_have_keys_of_their_own():
    keys = name_keys(["a.png", "b.png", "a.png"])
    assert keys[0] == keys[2] != keys[1]
    assert math.log2(abs(int(keys[0]))) > 40


def test_what_is_found_is_put_in_order_by_a_closer_look():
    """Vectors that are all alike, and parts that tell everything: only the order of the shortlist is left to them."""
    same, own = normalize(torch.ones(21, 4), dim=1), torch.eye(21)[:, None]
    metric = Retrieval(lambda patches, words: torch.einsum("npe,tle->nt", patches, words))
    keys = torch.arange(21)
    for part in (slice(0, 9), slice(9, 21)):
        metric.update(same[part], same[part], keys[part], keys[part], keys[part], own[part], own[part])
    found = {name: float(value) for name, value in metric.compute().items()}
    assert found["mean_recall"] == 1
    assert found["mean_recall_before"] < 0.4
