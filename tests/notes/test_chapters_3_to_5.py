"""Chapters 3 to 5 of the notes, attention, text and images, diffusion: the worked numbers; the errata N9 to N12."""

import math

import pytest
import torch
import torch.nn.functional as F
from compare import close, printed
from diffusers import DDPMScheduler
from open_clip.loss import ClipLoss
from torch import Tensor, nn

from olhar.data.text import Tokenizer
from olhar.errors import UserError
from olhar.inspection.particles import Mixture, forward, particles
from olhar.layers.attention import FeedForward, MultiHeadAttention, head_by_head
from olhar.layers.embed import PatchEmbed, to_map
from olhar.models import MODELS, encoder
from olhar.models.clip import FIRST_SCALE, Clip
from olhar.models.denoiser import Denoiser
from olhar.models.guided import Guided
from olhar.models.text import TextEncoder
from olhar.models.vae import VAE
from olhar.objectives.contrastive import Contrastive
from olhar.objectives.denoised import Denoised
from olhar.objectives.gaussian import Gaussian
from olhar.ops.attention import apply_weights, attend, attention_weights
from olhar.ops.noise import CLEAN, make_process
from olhar.theory import draw_models
from olhar.theory.backprop import product
from olhar.theory.words import Words, cosine, in_context

# The dictionaries and the bank of section 3.
PORTUGUESE = Words.of({"casa": (1.2, 0.3, -4.5), "valor": (-4.3, -2.3, 1.4), "bateria": (3.1, 6.2, 0.4)})
ENGLISH = Words.of(
    {"house": (1.6, 0.5, -3.5), "value": (-4.4, -2.7, 1.1), "battery": (3.0, 5.8, 0.7), "drums": (3.3, 6.5, -0.2)}
)
BANK = Words.of(
    {
        "bateria": (0.43, 0.82), "tocava": (0.26, 0.89), "battery": (0.51, 0.77), "drums": (0.35, 0.86),
        "energia": (0.58, 0.72),
    }
)  # fmt: skip
SENTENCE = "Ele colocou a bateria no depósito. Não fazia sentido mantê-la no quarto pois ele não a tocava há um ano."


@pytest.mark.notes(
    "Eq 3.1", "bateria, battery", "bateria, house", "bateria, drums", "casa, house and valor, value", "N9", "Q6"
)
@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ("bateria", "battery", 0.998699), ("bateria", "house", 0.247169), ("bateria", "drums", 0.996365),
        ("casa", "house", 0.983935), ("valor", "value", 0.995929),
    ],
)  # fmt: skip
def test_equation_3_1_cosines_of_words(a: str, b: str, expected: float):
    """N9: bateria and house are 0.2472, the notes cut; Q6: -3.5 is squared in brackets."""
    found = cosine(PORTUGUESE[a], ENGLISH[b])
    printed(found, expected, 6)
    close(found, F.cosine_similarity(PORTUGUESE[a], ENGLISH[b], dim=0))
    close(ENGLISH.similarities(PORTUGUESE[a])[b], found)
    with pytest.raises(ValueError, match=r"math domain|nonnegative"):
        math.sqrt(1.6**2 + 0.5**2 + -(3.5**2))


@pytest.mark.notes("dictionaries")
def test_the_nearest_word_is_the_translation():
    for word, expected in (("casa", "house"), ("valor", "value"), ("bateria", "battery")):
        assert ENGLISH.nearest(PORTUGUESE[word]) == expected
    with pytest.raises(UserError, match="There is no 'hause' among the words: did you mean 'house'"):
        ENGLISH["hause"]


@pytest.mark.notes("bank of two numbers")
def test_cosines_of_the_bank():
    printed(cosine(BANK["bateria"], BANK["battery"]), 0.994799, 6)
    printed(cosine(BANK["bateria"], BANK["drums"]), 0.995351, 6)


@pytest.mark.notes("Eq 3.2", "Q7")
def test_equation_3_2_scores():
    """Q7: with rows it is q k^T."""
    found = torch.stack([BANK["bateria"] @ BANK[word] for word in ("bateria", "tocava", "energia")])
    printed(found, [0.8573, 0.8416, 0.8398], 4)


@pytest.mark.notes("weight of 0.9", "N10")
def test_the_softmax_of_such_scores_is_nearly_uniform():
    """N10: 0.9 is an assumption. Greater scores favour the word itself; a gap of 5.14 would be needed."""
    pair = torch.stack([BANK["bateria"], BANK["tocava"]])
    printed(attention_weights(pair[:1], pair, scaled=False)[0], [0.5039, 0.4961], 4)
    for scale in (1.0, 10.0, 1000.0):
        weights = attention_weights(scale * pair[:1], scale * pair, scaled=False)[0]
        assert weights[0] > weights[1]
    masked = attention_weights(pair[:1], pair, scaled=False, mask=torch.tensor([[False, True]]))
    assert masked.tolist() == [[0, 1]]
    others = torch.zeros(19, dtype=torch.float64)
    gap = torch.tensor([5.14], dtype=torch.float64)
    printed(torch.cat([gap, others]).softmax(0)[0], 0.90, 2)


@pytest.mark.notes("Eq 3.3", "cosines in context", "N11")
@pytest.mark.parametrize(
    ("seen", "expected", "to_battery", "to_drums"),
    [("tocava", (0.664, 1.621), 0.980810, 0.999997), ("energia", (0.952, 1.468), 0.999953, 0.982227)],
)
def test_equation_3_3_the_word_moves_to_its_context(seen: str, expected: tuple, to_battery: float, to_drums: float):
    """N11: 0.9999974 and 0.9999532 are 1.0000 to four digits; Q8: it is bateria that becomes like drums."""
    moved = in_context(BANK["bateria"], BANK[seen][None], torch.tensor([0.9], dtype=torch.float64))
    printed(moved, expected, 3)
    assert BANK.nearest(moved) == ("drums" if seen == "tocava" else "battery")
    figure = draw_models.word_moves(BANK, "bateria", [(seen, moved)])
    close(figure.axes[0].lines[-1].get_xydata()[1], moved / moved.norm() * 0.8)
    printed([cosine(moved, BANK["battery"]), cosine(moved, BANK["drums"])], [to_battery, to_drums], 6)


@pytest.mark.notes("sentence", "C16")
def test_the_sentence_has_twenty_words():
    """C16: split at white space, mantê-la is one."""
    assert sentence().shape == (20, 2)
    close(sentence()[[3, 16]], torch.stack([BANK["bateria"], BANK["tocava"]]))


def sentence() -> Tensor:
    """Q: a code for each word, those of the bank where it has one."""
    words = SENTENCE.split()
    codes = torch.randn(len(words), 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    table = {word: tuple(code) for word, code in zip(words, codes.tolist(), strict=True)}
    return Words.of(table | {word: tuple(BANK[word].tolist()) for word in BANK.names}).sentence(SENTENCE)


@pytest.mark.notes("Eq 3.4", "C17")
def test_equation_3_4_the_matrix_of_attention():
    """C17: without 1/√d, which torch has unless told otherwise."""
    q = sentence()
    weights = attention_weights(q, q, scaled=False)
    assert weights.shape == (20, 20)
    close(weights.sum(1), torch.ones(20))
    close(weights, torch.softmax(q @ q.T, dim=1))
    close(weights @ q, F.scaled_dot_product_attention(q[None], q[None], q[None], scale=1.0)[0])
    close(attend(q[None], q[None], q[None])[0], attention_weights(q, q) @ q)


@pytest.mark.notes("Eq 3.5", "Q9")
def test_equation_3_5_lacks_the_query_of_equation_3_3():
    """Q9: with the weights 0.1 and 0.9 it gives (0.277, 0.883); Eq 3.3 adds the query."""
    s = torch.tensor([[0.1, 0.9]], dtype=torch.float64)
    values = torch.stack([BANK["bateria"], BANK["tocava"]])
    found = apply_weights(s, values)[0]
    printed(found, [0.277, 0.883], 3)
    printed([cosine(found, BANK["battery"]), cosine(found, BANK["drums"])], [0.9608, 0.9966], 4)
    q = sentence()
    close(in_context(q[3], q), (q + attend_unscaled(q))[3])


def attend_unscaled(q: Tensor) -> Tensor:
    return apply_weights(attention_weights(q, q, scaled=False), q)


@pytest.mark.notes("no parameters")
def test_attention_has_no_parameters_and_no_order():
    q = sentence()
    order = torch.randperm(20, generator=torch.Generator().manual_seed(1))
    close(attend_unscaled(q[order]), attend_unscaled(q)[order])


@pytest.mark.notes("Eq 3.6", "C18")
def test_equation_3_6_feed_forward_works_row_by_row():
    """C18: one linear map in the notes, two with a nonlinearity between in a transformer."""
    q, w = sentence(), torch.randn(2, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    close(product(q, w), torch.stack([product(row[None], w)[0] for row in q]))
    torch.manual_seed(0)
    layer = FeedForward(2, 8).double()
    with torch.no_grad():
        close(layer(q), torch.stack([layer(row) for row in q]))
        assert not torch.allclose(layer(2 * q) - layer(q), layer(q) - layer(0 * q))


@pytest.mark.notes("Fig 3.1")
def test_figure_3_1_an_image_becomes_sixteen_tokens():
    torch.manual_seed(0)
    patches, image = PatchEmbed(3, 128, 16), torch.rand(1, 3, 64, 64)
    tokens = patches(image)
    assert tokens.shape == (1, 16, 128)
    assert sum(p.numel() for p in patches.parameters()) == 98_432
    assert to_map(tokens, (4, 4)).shape == (1, 128, 4, 4)
    close(to_map(tokens, (4, 4)).detach(), patches.proj(image).detach(), 1e-4)


TOKENS = torch.randn(1, 16, 128, generator=torch.Generator().manual_seed(3))


@pytest.fixture(scope="module")
def heads() -> MultiHeadAttention:
    torch.manual_seed(0)
    return MultiHeadAttention(128, 4)


@pytest.mark.notes("Fig 3.2a", "Fig 3.2b")
def test_figure_3_2_heads(heads):
    assert heads.split(heads.query(TOKENS)).shape == (1, 4, 16, 32)
    assert heads.weights(TOKENS).shape == (1, 4, 16, 16)
    theirs = nn.MultiheadAttention(128, 4, batch_first=True)
    assert sum(p.numel() for p in heads.parameters()) == sum(p.numel() for p in theirs.parameters()) == 66_048


@pytest.mark.notes("Fig 3.3")
def test_figure_3_3_is_figure_3_2_in_one_multiplication(heads):
    with torch.no_grad():
        torch.testing.assert_close(heads(TOKENS), head_by_head(heads, TOKENS), atol=1e-6, rtol=0)
        q = heads.query(TOKENS)
        assert q.view(16, 4, 32).shape == (16, 4, 32)
        # reshaped to 4 x 16 x 32 at once, tokens would be mixed
        assert not torch.allclose(q.reshape(1, 4, 16, 32), heads.split(q))


@pytest.mark.notes("images as tokens")
def test_vit_b_16_has_197_tokens():
    with torch.device("meta"):
        model = MODELS["vit-b16"](3, (224, 224))
        assert model.tokens(torch.empty(1, 3, 224, 224)).shape == (1, 197, 768)  # type: ignore[operator]
        head = nn.Linear(768, 1000)
    assert sum(p.numel() for module in (model, head) for p in module.parameters()) == 86_567_656


@pytest.mark.notes("Fig 4.1")
@pytest.mark.parametrize(("size", "patch", "expected"), [((64, 64), 16, 16), ((224, 224), 16, 196), ((48, 80), 8, 60)])
def test_figure_4_1_patches_of_an_image(size: tuple, patch: int, expected: int):
    rows, columns = PatchEmbed(3, 8, patch).grid(size)
    assert rows * columns == size[0] * size[1] // patch**2 == expected


@pytest.mark.notes("Fig 4.2")
def test_figure_4_2_words_look_at_patches():
    torch.manual_seed(0)
    ours, words, patches = MultiHeadAttention(768, 12), torch.randn(1, 20, 768), torch.randn(1, 196, 768)
    theirs = nn.MultiheadAttention(768, 12, batch_first=True)
    parts = (ours.query, ours.key, ours.value)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat([part.weight for part in parts]))
        theirs.in_proj_bias.copy_(torch.cat([part.bias for part in parts]))
        theirs.out_proj.load_state_dict(ours.out.state_dict())
        expected, mean = theirs(words, patches, patches)
        torch.testing.assert_close(ours(words, patches), expected, atol=1e-5, rtol=1e-4)
        weights = ours.weights(words, patches)
    torch.testing.assert_close(weights.mean(1), mean, atol=1e-6, rtol=1e-4)
    close(weights.sum(-1), torch.ones(1, 12, 20), 1e-5)


CAPTIONS = ["um cachorro no parque", "um gato no sofá", "um cachorro e um gato", "um carro vermelho no parque"]


@pytest.mark.notes("Fig 4.1")
def test_figure_4_1_words_become_indices_and_short_texts_are_filled_up():
    tokenizer = Tokenizer.train(CAPTIONS * 2)
    pieces = dict(zip(CAPTIONS, tokenizer.pieces(CAPTIONS), strict=True))
    assert [len(ids) for ids in pieces.values()] == [len(caption.split()) for caption in CAPTIONS]  # an index a word
    dog = pieces["um cachorro no parque"][1]
    assert pieces["um cachorro e um gato"][1] == dog  # the same wherever it stands
    assert len({i for ids in pieces.values() for i in ids}) == len(set(" ".join(CAPTIONS).split())) == 9
    length = tokenizer.fitting(CAPTIONS)
    assert length == 5 + 2
    tokens = tokenizer.encode(CAPTIONS, length)
    first = [tokenizer.start, *pieces[CAPTIONS[0]], tokenizer.end, tokenizer.pad]
    assert tokens[0].tolist() == first
    assert tokenizer.mask(tokens).sum(1).tolist() == [6, 6, 7, 7]
    assert tokenizer.decode(tokens) == CAPTIONS


@pytest.mark.notes("Fig 4.3")
def test_figure_4_3_the_scale_and_the_loss_at_chance():
    printed(math.exp(2.6592), 14.285, 3)
    close(FIRST_SCALE, math.exp(2.6592), 1e-4)
    close(FIRST_SCALE, 1 / 0.07)
    alike = torch.ones(64, 1)
    found = Contrastive(alike, alike, torch.tensor(FIRST_SCALE)).nll().mean()
    close(found, math.log(64), 1e-5)
    printed(found, 4.1589, 4)


@pytest.mark.notes("Fig 4.3")
def test_figure_4_3_the_diagonal_of_own_pairs_rises():
    """Four images and their captions: the loss is CLIP's, both ways, and makes each image likest to its own words."""
    torch.manual_seed(0)
    tokenizer = Tokenizer.train(CAPTIONS)
    tokens = tokenizer.encode(CAPTIONS, tokenizer.fitting(CAPTIONS))
    reader = TextEncoder(tokenizer.size, tokens.shape[1], tokenizer.end, width=16, layers=1, heads=2)
    model = Clip(encoder("cnn-tiny", 3, (8, 8), widths=(8, 8), pools=1), reader, width=8)
    images = torch.randn(4, 3, 8, 8)
    assert model.scale.item() == pytest.approx(1 / 0.07, rel=1e-6)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(40):
        image, text, scale = model(images, tokens)
        output = Contrastive(image.whole, text.whole, scale)
        loss = output.nll().mean()
        logits, own = output.logits, torch.arange(4)
        close(loss.detach(), (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)).detach() / 2, 1e-4)
        close(loss.detach(), ClipLoss()(output.image, output.text, output.scale).detach(), 1e-4)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    cosines = output.image @ output.text.T
    close(output.logits.detach(), (output.scale * cosines).detach(), 1e-4)
    assert output.mode().tolist() == [0, 1, 2, 3]
    assert loss < 0.1 < math.log(4)


@pytest.fixture(scope="module")
def process():
    return make_process("linear", 1000)


@pytest.mark.notes("Fig 5.2")
def test_figure_5_2_the_way_to_noise_in_one_step_and_in_a_thousand(process):
    a, b = process.at(999)
    printed(a, 0.0063528, 7)
    printed(b**2, 0.9999596, 7)
    mean, variance = 1.0, 0.0
    for level in range(1000):
        scale, deviation = process.step(level - 1, level)
        mean, variance = scale * mean, scale**2 * variance + deviation**2
        close([mean, variance], [process.at(level)[0], process.at(level)[1] ** 2], 1e-12)
    kept = process.signal[:-1].square()
    printed(kept[500], 0.07780, 5)
    snr = process.snr(torch.arange(1000))
    assert int((snr - 1).abs().argmin()) == 258


@pytest.mark.notes("Fig 5.2", "N12")
def test_figure_5_2_pixels_must_be_rescaled(process):
    """N12: left in [0, 255] the mean at the end is up to 1.62; more than half of this schedule's steps see < 10%."""
    printed(process.at(999)[0] * 255, 1.62, 2)
    assert (process.signal[:-1].square() < 0.1).double().mean().item() == pytest.approx(0.525, abs=5e-4)


@pytest.mark.notes("Fig 5.2")
def test_figure_5_2_the_schedule_of_diffusers(process):
    theirs = DDPMScheduler(num_train_timesteps=1000, beta_start=1e-4, beta_end=0.02)
    torch.testing.assert_close(process.signal[:-1].square().float(), theirs.alphas_cumprod, rtol=1e-4, atol=1e-7)


@pytest.mark.notes("Fig 5.2")
def test_figure_5_2_an_image_is_a_point_and_its_way_leads_to_noise(process):
    """5,000 points in the plane, step by step: mean and variance at every level are those of the closed form."""
    generator = torch.Generator().manual_seed(0)
    start = torch.tensor([1.0, -0.5], dtype=torch.float64).expand(5000, 2)
    levels = (CLEAN, 0, 100, 258, 500, 999)
    path = forward(process, start, levels, generator)
    for level, points in zip(levels[1:], path[1:], strict=True):
        a, b = process.at(level)
        assert (points.mean(0) - a * start[0]).abs().max() < 4 * b / 5000**0.5
        assert (points.var(0) / b**2 - 1).abs().max() < 4 * (2 / 5000) ** 0.5
    assert path[-1].std() == pytest.approx(1, abs=0.03)


@pytest.mark.notes("Fig 5.2")
@pytest.mark.parametrize("sampler", ["ddim", "ddpm", "dpm2m"])
def test_figure_5_2_the_way_back_ends_at_the_data(sampler: str):
    """With what a perfect network says of five points every particle comes to one of them, to none much more often."""
    angle = torch.arange(5, dtype=torch.float64) * 2 * math.pi / 5
    data = 2**0.5 * torch.stack([angle.cos(), angle.sin()], 1)
    points = Mixture(torch.full((5,), 0.2, dtype=torch.float64), data, torch.zeros(5, dtype=torch.float64))
    found = particles(make_process("cosine"), points, 200, sampler=sampler, steps=50)
    distance, nearest = torch.cdist(found.backward[-1], data).min(1)
    assert distance.max() < 1e-3
    assert (nearest.bincount(minlength=5) > 20).all()
    # what it says is the mean of the data, weighted by their densities
    x, (a, b) = torch.tensor([[0.3, 0.2]], dtype=torch.float64), found.process.at(400)
    density = torch.distributions.Normal(a * data, b).log_prob(x).sum(1).exp()
    said = points.estimate(found.process, x, 400)
    close(said.image[0], density @ data / density.sum())
    close(a * said.image + b * said.noise, x)


@pytest.mark.notes("Fig 5.1")
def test_figure_5_1_noise_of_every_level(process):
    image, noise = torch.rand(3, 1, 4, 4) * 2 - 1, torch.randn(3, 1, 4, 4)
    level = torch.tensor([0, 500, 999])
    noisy = process.mix(image, noise, level)
    for i, t in enumerate(level.tolist()):
        a, b = process.at(t)
        close(noisy[i], a * image[i] + b * noise[i], 1e-5)
    found = process.estimate("noise", noise, noisy, level)
    torch.testing.assert_close(found.image[:2], image[:2], rtol=1e-3, atol=1e-4)
    weight, constant = torch.ones(3), 0.5 * math.log(2 * math.pi)
    for said in (noise, torch.zeros_like(noise)):  # who knows the noise, and who says none
        nll = Denoised(Gaussian(said), noise, noisy, level, weight).nll(noise)
        close(nll, 0.5 * (said - noise).square().flatten(1).mean(1) + constant, 1e-5)


@pytest.mark.notes("Fig 5.3")
def test_figure_5_3_pixels_latents_and_pixels_again():
    """The U-Net works on the latents of a VAE, told a text; guidance and masks are held by tests of generation."""
    torch.manual_seed(0)
    vae = VAE(3, (32, 32), latent_channels=4, factor=4, widths=(8, 8)).eval()
    denoiser = Denoiser(4, (8, 8), widths=(8, 16), blocks=1, heads=2, context_width=12)
    tokenizer = Tokenizer.train(CAPTIONS)
    tokens = tokenizer.encode(CAPTIONS[:2], tokenizer.fitting(CAPTIONS))
    reader = TextEncoder(tokenizer.size, tokens.shape[1], tokenizer.end, width=12, layers=1, heads=2)
    model = Guided(denoiser, reader, tokenizer.start, tokenizer.end).eval()
    image, process = torch.randn(2, 3, 32, 32), make_process("scaled-linear")
    with torch.no_grad():
        latent = vae.encode(image).mode()
        assert latent.shape == (2, 4, 8, 8)  # 12 times fewer numbers
        noisy = process.mix(latent, torch.randn_like(latent), torch.tensor([500, 900]))
        said = model(noisy, torch.tensor([500, 900]), None, tokens)
        assert said.shape == latent.shape
        assert (
            vae.decode(process.estimate("noise", said, noisy, torch.tensor([500, 900])).image, (32, 32)).shape
            == image.shape
        )
