"""Reconstruction: the loss is the lower bound that its formula says, and what is known is left as it is."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Laplace, Normal, kl_divergence
from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

from olhar import metrics
from olhar.data.sample import Batch
from olhar.layers.scale import RunningScale
from olhar.models.vae import VAE
from olhar.tasks.reconstruct import Reconstruct

MEAN, STD = [0.5, 0.4, 0.3], [0.2, 0.25, 0.3]


class Adds(nn.Module):
    """A restorer that adds the same everywhere."""

    def __init__(self, value: float):
        super().__init__()
        self.value = nn.Parameter(torch.tensor(value))

    def forward(self, image: Tensor) -> Tensor:
        return self.value.expand(len(image), 3, *image.shape[2:])


def batch(n: int = 3, side: int = 16) -> Batch:
    draw = torch.Generator().manual_seed(0)
    clean = torch.randint(40, 200, (n, 3, side, side), dtype=torch.uint8, generator=draw)
    noise = torch.randint(-30, 31, clean.shape, generator=draw)
    return {"id": [str(i) for i in range(n)], "image": (clean + noise).to(torch.uint8), "clean": clean}


@pytest.mark.parametrize(("likelihood", "law"), [("gaussian", Normal), ("laplace", Laplace)])
def test_the_loss_is_the_negative_log_likelihood_of_each_number(likelihood: str, law: type):
    task, data = Reconstruct(Adds(0.1), MEAN, STD, "noise", likelihood=likelihood).eval(), batch()
    task.scale.log_scale.fill_(math.log(0.3))
    mean, target = task.normalise(data["image"]) + 0.1, task.normalise(data["clean"])
    spread = math.sqrt(0.3) if likelihood == "gaussian" else 0.3
    expected = -law(mean, spread).log_prob(target)
    torch.testing.assert_close(task(data)["loss"], expected.mean())
    torch.testing.assert_close(task.nll(task.output(data), data), expected.flatten(1).mean(1))


def test_a_variational_autoencoder_minimises_the_lower_bound():
    torch.manual_seed(0)
    model = VAE(3, (16, 16), latent_channels=2, factor=4, widths=(16, 16), blocks=1)
    task, data = Reconstruct(model, MEAN, STD, "none", kl=0.5).eval(), batch()
    data["image"] = data["clean"]
    task.scale.log_scale.fill_(-1.0)
    latent = model.encode(task.normalise(data["image"]))
    decoded = model.decode(latent.mode())
    count = decoded[0].numel()
    nll = -Normal(decoded, math.exp(-0.5)).log_prob(task.normalise(data["clean"])).flatten(1).sum(1)
    kl = kl_divergence(Normal(latent.mean, latent.variance.sqrt()), Normal(0.0, 1.0)).flatten(1).sum(1)
    parts = task(data)
    torch.testing.assert_close(parts["kl"], kl.mean() / count)
    torch.testing.assert_close(parts["loss"], (nll.mean() + 0.5 * kl.mean()) / count)
    found = task.metrics()
    task.update(found, task.output(data), data)
    bits = kl.mean().item() / math.log(2) / (16 * 16)
    assert metrics.results(found)["latent_bits_per_pixel"] == pytest.approx(bits, rel=1e-4)


def test_in_training_the_latent_is_drawn_and_else_it_is_the_mode():
    torch.manual_seed(0)
    task, data = Reconstruct(VAE(3, (16, 16), factor=4), MEAN, STD, "none"), batch()
    drawn = [task.train().output(data).image.mean for _ in range(2)]
    asked = [task.eval().output(data).image.mean for _ in range(2)]
    assert not torch.equal(*drawn)
    assert torch.equal(*asked)


def test_the_scale_follows_the_error_in_training_and_stands_still_after():
    scale = RunningScale(momentum=0.5)
    error = torch.full((4, 3), 0.01)
    for _ in range(30):
        scale(error)
    assert scale.log_scale.item() == pytest.approx(math.log(0.01), abs=1e-4)
    scale.eval()
    scale(error * 100)
    assert scale.log_scale.item() == pytest.approx(math.log(0.01), abs=1e-4)


def test_what_is_no_hole_stays_as_it_is():
    task, data = Reconstruct(Adds(5.0), MEAN, STD, "holes"), batch()
    data["image"] = data["clean"]
    data["holes"] = torch.zeros(3, 1, 16, 16, dtype=torch.uint8)
    data["holes"][:, :, 3:7, 2:9] = 255
    made = task.settle(task.values(task.output(data)))
    inside = (data["holes"] > 0).expand(-1, 3, -1, -1)
    assert torch.equal(made[~inside], data["clean"][~inside])
    assert (made[inside] == 255).all()
    planes = torch.cat([data["image"], data["holes"]], 1)
    torch.testing.assert_close(task.answer(task.batch_of(planes)), task.values(task.output(data)))


def test_values_are_colours_again():
    task, data = Reconstruct(Adds(0.0), MEAN, STD, "noise"), batch()
    torch.testing.assert_close(task.values(task.output(data)), data["image"].float(), atol=1e-3, rtol=0)
    assert torch.equal(
        task.settle(torch.tensor([[[[-3.0, 12.4, 254.6, 300.0]]]])).flatten(), torch.tensor([0, 12, 255, 255])
    )


def test_psnr_and_ssim_are_those_of_the_library_image_by_image():
    data = batch(side=32)
    for i, (value, likeness) in enumerate(
        zip(metrics.psnr(data["image"], data["clean"]), metrics.ssim(data["image"], data["clean"]), strict=True)
    ):
        made, clean = data["image"][i : i + 1].float(), data["clean"][i : i + 1].float()
        assert value == pytest.approx(peak_signal_noise_ratio(made, clean, data_range=255.0).item(), rel=1e-5)
        expected = structural_similarity_index_measure(made, clean, data_range=255.0)
        assert likeness == pytest.approx(expected.item(), rel=1e-4)
    assert (metrics.psnr(data["clean"], data["clean"]) == 100).all()
    tiny = data["clean"][:, :, :8, :8]
    assert torch.allclose(metrics.ssim(tiny, tiny), torch.ones(3))


def test_one_grey_level_is_48_decibels():
    clean = torch.full((1, 3, 8, 8), 100, dtype=torch.uint8)
    assert metrics.psnr(clean + 1, clean).item() == pytest.approx(20 * math.log10(255), rel=1e-6)


def test_rows_tell_the_gain():
    task, data = Reconstruct(Adds(0.0), MEAN, STD, "noise"), batch()
    for row in task.details(task.output(data), data):
        assert row["psnr"] == pytest.approx(row["psnr_before"], abs=1e-3)
    plain = Reconstruct(Adds(0.0), MEAN, STD, "none")
    assert set(plain.details(plain.output(data), data)[0]) == {"psnr", "ssim"}
