"""Every format, mode and orientation gives the pixels a person would see; every bad file gives one sentence."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from olhar.data.decode import decode
from olhar.data.header import IMAGE_EXTENSIONS, header
from olhar.errors import UserError

ORIENTATIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,  # stored so, it has to be turned by 270 degrees to stand upright
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def scene(height: int = 48, width: int = 64) -> np.ndarray:
    """A smooth picture without symmetry, uint8 [H, W, 3]."""
    y, x = np.mgrid[:height, :width] / np.array([height, width]).reshape(2, 1, 1)
    return np.stack([x * 150 + 20, y * 200 + 30, (x + y) * 70 + 60], -1).astype(np.uint8)


def pixels(image: Tensor) -> np.ndarray:
    return image.permute(1, 2, 0).numpy().astype(int)


@pytest.mark.parametrize(
    ("name", "options", "tolerance"),
    [
        ("a.jpg", {"quality": 95}, 4),
        ("a.JPEG", {"quality": 95, "progressive": True}, 4),
        ("a.png", {}, 0),
        ("a.PNG", {}, 0),
        ("a.webp", {"lossless": True}, 0),
        ("a.bmp", {}, 0),
        ("a.tif", {}, 0),
        ("a.TIFF", {"compression": "tiff_lzw"}, 0),
    ],
)
def test_formats(tmp_path, name, options, tolerance):
    path = tmp_path / name
    Image.fromarray(scene()).save(path, **options)
    image = decode(path)
    assert image.dtype == torch.uint8
    assert abs(pixels(image) - scene()).max() <= tolerance
    found = header(path)
    assert (found.width, found.height, found.mode, found.extension_ok) == (64, 48, "RGB", True)
    assert path.suffix.lower() in IMAGE_EXTENSIONS


def test_the_first_frame_of_an_animation(tmp_path):
    frames = [Image.new("RGB", (8, 6), colour) for colour in ("red", "lime", "blue")]
    for name in ("a.gif", "a.webp"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], lossless=True)
        assert decode(tmp_path / name)[:, 0, 0].tolist() == [255, 0, 0]


def test_a_wrong_extension_is_noted_and_the_image_read(tmp_path):
    path = tmp_path / "a.jpg"
    Image.fromarray(scene()).save(path, format="PNG")
    assert header(path).format == "PNG"
    assert not header(path).extension_ok
    assert np.array_equal(pixels(decode(path)), scene())


@pytest.mark.parametrize("mode", ["L", "P", "1", "LA", "RGBA", "CMYK"])
def test_modes_become_colour_and_grey(tmp_path, mode):
    path = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    image = Image.fromarray(scene()).convert(mode)
    image.save(path)
    expected = image.convert("RGB")
    assert abs(pixels(decode(path)) - np.asarray(expected)).max() <= 1
    assert abs(pixels(decode(path, channels=1))[..., 0] - np.asarray(expected.convert("L"))).max() <= 1


def test_a_cmyk_jpeg(tmp_path):
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(tmp_path / "a.jpg", quality=95)
    red, green, blue = decode(tmp_path / "a.jpg")[:, 8, 8].tolist()
    assert red > 200
    assert max(green, blue) < 60


def test_transparency_is_laid_over_white(tmp_path):
    Image.new("RGBA", (4, 4), (255, 0, 0, 102)).save(tmp_path / "a.png")  # 40% red over white
    assert decode(tmp_path / "a.png")[:, 0, 0].tolist() == [255, 153, 153]
    palette = Image.new("P", (4, 4), 0)
    palette.putpalette([0, 0, 255, 10, 20, 30])
    palette.save(tmp_path / "p.png", transparency=0)
    assert decode(tmp_path / "p.png")[:, 0, 0].tolist() == [255, 255, 255]
    grey = Image.new("L", (4, 4), 7)
    grey.save(tmp_path / "l.png", transparency=7)
    assert decode(tmp_path / "l.png", channels=1)[:, 0, 0].tolist() == [255]


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_sixteen_bits_are_divided_by_257(tmp_path, name):
    values = np.array([[0, 128, 129, 257, 32896, 65535]], np.uint16)
    Image.fromarray(values).save(tmp_path / name)
    assert decode(tmp_path / name, channels=1).flatten().tolist() == [0, 0, 1, 1, 128, 255]


def test_wide_integers_and_floats_have_to_fit(tmp_path):
    Image.fromarray(np.array([[0, 65535]], np.int32)).save(tmp_path / "i.tif")
    assert decode(tmp_path / "i.tif", channels=1).flatten().tolist() == [0, 255]
    Image.fromarray(np.array([[0.0, 0.5, 1.0]], np.float32)).save(tmp_path / "f.tif")
    assert decode(tmp_path / "f.tif", channels=1).flatten().tolist() == [0, 128, 255]
    Image.fromarray(np.array([[0, 70000]], np.int32)).save(tmp_path / "i.tif")
    Image.fromarray(np.array([[0.0, 300.0]], np.float32)).save(tmp_path / "f.tif")
    for name in ("i.tif", "f.tif"):
        with pytest.raises(UserError, match=rf"{name}: .*convert"):
            decode(tmp_path / name)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a.tif"])
def test_the_camera_held_sideways(tmp_path, name, orientation):
    upright = Image.fromarray(scene(96, 128))
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = upright.transpose(ORIENTATIONS[orientation])
    stored.save(tmp_path / name, exif=exif, **({"quality": 95} if name == "a.jpg" else {"lossless": True}))
    tolerance = 5 if name == "a.jpg" else 0
    assert abs(pixels(decode(tmp_path / name)) - scene(96, 128)).max() <= tolerance
    found = header(tmp_path / name)
    assert (found.width, found.height) == (128, 96)
    if name == "a.jpg":  # decoded at half size, by the other decoder
        half = np.asarray(upright.resize((64, 48), Image.Resampling.BOX)).astype(int)
        assert abs(pixels(decode(tmp_path / name, side=48)) - half).max() <= 8


@pytest.mark.parametrize(
    ("side", "shorter"), [(None, 400), (401, 400), (400, 400), (201, 400), (200, 200), (99, 100), (50, 50), (1, 50)]
)
def test_scaled_decoding_never_falls_below_the_wanted_side(tmp_path, side, shorter):
    picture = Image.fromarray(scene(400, 640))
    picture.save(tmp_path / "a.jpg", quality=95)
    for channels in (1, 3):
        image = decode(tmp_path / "a.jpg", side=side, channels=channels)
        assert image.shape == (channels, shorter, shorter * 640 // 400)
    small = np.asarray(picture.resize((image.shape[2], image.shape[1]), Image.Resampling.BOX)).astype(int)
    assert abs(pixels(image) - small).max() <= 6


def test_one_pixel(tmp_path):
    Image.new("RGB", (1, 1), (1, 2, 3)).save(tmp_path / "a.png")
    assert decode(tmp_path / "a.png", side=224).tolist() == [[[1]], [[2]], [[3]]]


class Drawn:
    def __init__(self, image: Tensor):
        self.image = image

    def render(self) -> Tensor:
        return self.image


def test_a_drawn_image_gets_the_wanted_channels():
    grey = torch.arange(6, dtype=torch.uint8).view(1, 2, 3)
    assert torch.equal(decode(Drawn(grey)), grey.expand(3, -1, -1))
    assert torch.equal(decode(Drawn(grey), channels=1), grey)
    red = torch.tensor([200, 0, 0], dtype=torch.uint8).view(3, 1, 1)
    assert decode(Drawn(red), channels=1).item() == int(0.2989 * 200)


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a.bmp", "a.tif", "a.gif"])
def test_a_file_cut_off_is_named(tmp_path, name):
    path = tmp_path / name
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UserError, match=rf"{name} is damaged or cut off \(.+\): replace or remove it\."):
        decode(path)


def test_a_large_jpeg_cut_off_is_named_by_the_scaled_decoder_too(tmp_path):
    path = tmp_path / "a.jpg"
    Image.fromarray(scene(400, 640)).save(path)
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(UserError, match="damaged or cut off"):
        decode(path, side=50)


def test_what_is_no_image_is_named(tmp_path):
    (tmp_path / "text.png").write_text("these are words")
    (tmp_path / "empty.jpg").write_bytes(b"")
    with pytest.raises(UserError, match=r"text\.png is not an image: it begins with b'these ar'"):
        decode(tmp_path / "text.png")
    with pytest.raises(UserError, match=r"empty\.jpg is empty; replace or remove it"):
        header(tmp_path / "empty.jpg")
    with pytest.raises(UserError, match=r"none\.jpg does not exist\."):
        decode(tmp_path / "none.jpg")


def png_claiming(path: Path, width: int, height: int) -> None:
    """A valid PNG header of any size, and hardly any pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b""))


def test_a_decompression_bomb_is_refused_before_decoding(tmp_path):
    png_claiming(tmp_path / "bomb.png", 30_000, 30_000)
    for look in (header, decode):
        with pytest.raises(UserError, match=r"bomb\.png claims 30000 x 30000 pixels, more than the 400 million"):
            look(tmp_path / "bomb.png")
    png_claiming(tmp_path / "large.png", 20_000, 20_000)
    assert header(tmp_path / "large.png").width == 20_000


def test_a_header_needs_no_pixels(tmp_path):
    path = tmp_path / "a.jpg"
    Image.fromarray(scene(400, 640)).save(path)
    path.write_bytes(path.read_bytes()[:700])
    assert header(path).width == 640
