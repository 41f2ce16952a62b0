"""The categorical over the batch: closed forms, open_clip's loss, repeated captions, two processes against one."""

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor, multiprocessing, nn
from torch.nn.functional import cross_entropy, normalize

from olhar.layers.fusion import Fusion
from olhar.objectives.contrastive import Contrastive
from olhar.ops.gather import alone, gather

SCALE = torch.tensor(1 / 0.07)


def units(n: int, seed: int, width: int = 5) -> Tensor:
    return normalize(torch.randn(n, width, generator=torch.Generator().manual_seed(seed)), dim=1)


def test_who_knows_nothing_has_ln_n_and_who_knows_all_has_nothing():
    """64 pairs: ln 64 = 4.1589 (inventory, Figure 4.3)."""
    alike = torch.ones(64, 1)
    assert torch.allclose(Contrastive(alike, alike, SCALE).nll(), torch.tensor(math.log(64)))
    assert math.log(64) == pytest.approx(4.1589, abs=1e-4)
    assert math.exp(2.6592) == pytest.approx(1 / 0.07, rel=1e-4)
    own = torch.eye(6)
    assert Contrastive(own, own, torch.tensor(100.0)).nll().max() < 1e-6
    assert Contrastive(own, own, SCALE).mode().tolist() == list(range(6))
    assert torch.allclose(Contrastive(alike, alike, SCALE).entropy(), torch.tensor(math.log(64)))


def test_it_is_open_clips_loss_where_no_caption_repeats():
    from open_clip.loss import ClipLoss  # here: the processes below import this file, and need none of it

    image, text = units(9, 0), units(9, 1)
    theirs = ClipLoss()(image, text, SCALE)
    assert torch.allclose(Contrastive(image, text, SCALE).nll().mean(), theirs, atol=1e-6)
    logits = SCALE * image @ text.T
    each = (cross_entropy(logits, torch.arange(9), reduction="none"),)
    each += (cross_entropy(logits.T, torch.arange(9), reduction="none"),)
    assert torch.allclose(Contrastive(image, text, SCALE).nll(), sum(each) / 2, atol=1e-6)  # type: ignore[arg-type]


def test_equal_captions_are_not_negatives_and_the_least_value_is_ln_m():
    """Captions a a a b: the optimum has ln 3 for the first three pairs and 0 for the last, and no gradient there."""
    same = torch.tensor([7, 7, 7, 2])
    text = torch.eye(2)[[0, 0, 0, 1]].requires_grad_()
    image = torch.eye(2)[[0, 0, 0, 1]].requires_grad_()
    nll = Contrastive(image, text, torch.tensor(60.0)).nll(same)
    assert torch.allclose(nll, torch.tensor([math.log(3)] * 3 + [0.0]), atol=1e-6)
    nll.mean().backward()
    assert text.grad is not None
    assert text.grad.abs().max() < 1e-5
    # taken as negatives, the three would be pushed apart for ever: more than ln 3 at any scale
    assert (Contrastive(image, text, torch.tensor(60.0)).nll()[:3] > math.log(3) - 1e-5).all()


def test_a_repeated_caption_pulls_all_its_images():
    image, text = units(4, 3).requires_grad_(), units(4, 4)[[0, 1, 1, 2]]
    Contrastive(image, text, SCALE).nll(torch.tensor([0, 1, 1, 2])).sum().backward()
    logits = SCALE * image.detach() @ text.T
    q = torch.tensor([[1, 0, 0, 0], [0, 0.5, 0.5, 0], [0, 0.5, 0.5, 0], [0, 0, 0, 1.0]])
    # d/dlogits of cross-entropy with soft targets: p - q, one way and the other
    by_hand = ((logits.softmax(1) - q) + (logits.softmax(0) - q)) / 2
    assert torch.allclose(image.grad, SCALE * by_hand @ text, atol=1e-5)  # type: ignore[arg-type]


def test_logits_are_exact_within_autocast():
    image, text = units(8, 5), units(8, 6)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = Contrastive(image, text, torch.tensor(100.0)).nll()
    assert torch.allclose(rounded, Contrastive(image, text, torch.tensor(100.0)).nll(), atol=1e-5)


def test_what_is_compared_closer_counts_for_half():
    image, text = units(6, 7), units(6, 8)
    same = torch.tensor([0, 1, 1, 2, 3, 4])
    closer = Contrastive(image, text, torch.tensor(3.0), lambda a, b: (a @ b.T).relu())
    both = Contrastive(image, text, SCALE, closer=closer).nll(same)
    assert torch.allclose(both, (Contrastive(image, text, SCALE).nll(same) + closer.nll(same)) / 2)
    assert torch.allclose(closer.logits, 3 * (image @ text.T).relu())


class Pairs(nn.Module):
    """Two towers of one layer each, and words that look at patches: three each, of two numbers."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.image, self.text = nn.Linear(6, 5), nn.Linear(7, 5)
        self.log_scale = nn.Parameter(torch.tensor(2.0))
        self.fusion = Fusion(2, 2, 4)

    def forward(self, image: Tensor, text: Tensor, same: Tensor) -> Tensor:
        towers = normalize(self.image(image), dim=1), normalize(self.text(text), dim=1)
        patches = self.fusion.patches(image.view(-1, 2, 3, 1))
        words = self.fusion.words(text[:, :6].unflatten(1, (3, 2)), torch.ones(len(text), 3, dtype=torch.bool))
        closer = Contrastive(patches, words, self.fusion.scale, self.fusion.scores)
        return Contrastive(*towers, self.log_scale.exp(), closer=closer).nll(same).mean()


def data() -> tuple[Tensor, Tensor, Tensor]:
    """8 pairs; one caption stands in both halves, another twice in one."""
    generator = torch.Generator().manual_seed(1)
    image, text = torch.randn(8, 6, generator=generator), torch.randn(8, 7, generator=generator)
    same = torch.tensor([0, 1, 2, 2, 4, 1, 6, 7])
    return image, text[same], same


def half(rank: int, folder: str) -> None:
    """What one of two processes does: its half of the batch, gradients averaged as data parallelism does it."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    model = nn.parallel.DistributedDataParallel(Pairs())
    part = slice(4 * rank, 4 * rank + 4)
    if rank == 0:
        with alone():  # waits for nobody
            model.module(*(t[part] for t in data()))
    with torch.no_grad():
        assert len(gather(torch.zeros(2, 1))) == 2  # nor does who does not train
    loss = model(*(t[part] for t in data()))
    loss.backward()
    torch.save([loss.detach(), *(p.grad for p in model.parameters())], f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


def test_two_processes_have_the_gradients_of_one(tmp_path: Path):
    multiprocessing.spawn(half, (str(tmp_path),), nprocs=2)
    model = Pairs()
    loss = model(*data())
    loss.backward()
    found = [torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1)]
    assert torch.allclose((found[0][0] + found[1][0]) / 2, loss)
    for own, first, second in zip(model.parameters(), found[0][1:], found[1][1:], strict=True):
        assert torch.equal(first, second)
        assert torch.allclose(own.grad, first, atol=1e-6)  # type: ignore[arg-type]
