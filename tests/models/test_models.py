"""The choice of an architecture by name, and the list of all."""

import pytest

from olhar.errors import UserError
from olhar.models import AUTOENCODERS, DECODERS, DENOISERS, MODELS, TEXTS, describe, encoder


@pytest.mark.parametrize(
    ("name", "args", "words"),
    [
        ("resnet81", {}, "did you mean 'resnet18'"),
        ("resnet18", {"stm": "small"}, "did you mean 'stem'"),
        ("resnet18", {"stem": "smal"}, "did you mean 'small'"),
        ("resnet18", {"skip": "perhaps"}, "true or false"),
        ("mlp", {"hidden": "wide"}, "64,128"),
        ("linear", {"hidden": 3}, "it has none"),
    ],
)
def test_a_wrong_word_names_the_nearest(name, args, words):
    with pytest.raises(UserError, match=words):
        encoder(name, 3, (32, 32), **args)


def test_arguments_may_come_as_text():
    assert encoder("mlp", 1, (8, 8), hidden="32,16").channels == (16,)
    assert encoder("resnet18", 3, (32, 32), width="8", stem="small", skip="false").channels[-1] == 64


def test_arguments_override_the_table():
    assert encoder("cnn-tiny", 1, (8, 8), pools=1).strides == (1, 2, 2)


def test_the_list_names_every_model_with_its_size():
    rows = {row.name: row for row in describe()}
    assert list(rows) == [*MODELS, *DECODERS, *AUTOENCODERS, *TEXTS, *DENOISERS]
    assert {row.kind for row in rows.values()} == {"model", "decoder", "autoencoder", "text encoder", "denoiser"}
    assert rows["resnet18"].parameters == 11_689_512
    assert rows["linear"].parameters == 3 * 224 * 224 * 1000 + 1000
    assert all(row.summary.endswith(".") for row in rows.values())
    assert rows["pyramid"].parameters == 476_288
    assert [rows[name].figure for name in ("cnn", "pyramid", "vae")] == ["2.3", "2.10", "2.11"]
