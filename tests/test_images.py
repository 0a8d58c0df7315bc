import base64
import contextlib
import os
import struct
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_app.errors import InputError
from edge_app.images import MAX_PIXELS, decode_image, find_images, read_image
from edge_app.preprocessing import Image

KINDS = [".jpg", ".png", ".tif", ".bmp", ".webp"]
# 8 × 8, cyan: no encoder at hand writes CMYK
CMYK_JPEG = base64.b64decode(
    "/9j/7gAOQWRvYmUAZAAAAAAA/9sAQwAQCwwODAoQDg0OEhEQExgoGhgWFhgxIyUdKDozPTw5Mzg3QEhcTkBEV0U3OFBtUVdfYmdo"
    "Zz5NcXlwZHhcZWdj/8AAFAgACAAIBEMRAE0RAFkRAEsRAP/EABQAAQAAAAAAAAAAAAAAAAAAAAf/xAAUEAEAAAAAAAAAAAAAAAAA"
    "AAAA/9oADgRDAE0AWQBLAAA/AD8gEAgP/9k="
)


def scene(height: int = 60, width: int = 80) -> Image:
    """A picture whose four corners differ in colour."""
    rows, columns = np.mgrid[0:height, 0:width]
    planes = [columns * 255 // width, rows * 255 // height, (rows + columns) * 255 // (height + width)]
    return np.stack(planes, axis=2).astype(np.uint8)


def encoded(suffix: str, image: np.ndarray, *options: int) -> bytes:
    return cv2.imencode(suffix, image, options)[1].tobytes()


@pytest.mark.parametrize("suffix", KINDS)
def test_every_kind_gives_bgr_of_8_bits(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"schöner Abstrich 染色{suffix}"
    file.write_bytes(encoded(suffix, scene()))
    image = read_image(file)
    assert image.shape == (60, 80, 3)
    assert image.dtype == np.uint8
    assert image.flags.c_contiguous
    assert np.abs(image.astype(int) - scene()).mean() < 3


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_16_bits_are_scaled_and_grey_and_alpha_become_bgr(suffix: str) -> None:
    image = scene()
    assert np.array_equal(decode_image(encoded(suffix, image.astype(np.uint16) * 257), "x"), image)
    grey = decode_image(encoded(suffix, image[..., 0].astype(np.uint16) * 257), "x")
    assert np.array_equal(grey, np.repeat(image[..., :1], 3, axis=2))
    clear = np.dstack([image, np.zeros(image.shape[:2], np.uint8)])
    assert np.array_equal(decode_image(encoded(suffix, clear), "x"), image)


def test_palette_and_one_bit_images_are_read() -> None:
    white_above_black = np.repeat(np.array([255, 0], np.uint8), 8)[:, np.newaxis].repeat(16, axis=1)
    image = decode_image(encoded(".png", white_above_black, cv2.IMWRITE_PNG_BILEVEL, 1), "x")
    assert np.array_equal(image, np.dstack([white_above_black] * 3))


def test_cmyk_becomes_bgr() -> None:
    assert np.allclose(decode_image(CMYK_JPEG, "x").mean(axis=(0, 1)), [255, 255, 0], atol=4)


def test_exif_orientation_is_applied() -> None:
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    jpeg = encoded(".jpg", scene())
    turned = jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + jpeg[2:]
    expected = cv2.rotate(decode_image(jpeg, "x"), cv2.ROTATE_90_CLOCKWISE)
    assert np.array_equal(decode_image(turned, "x"), expected)


@pytest.mark.parametrize("suffix", KINDS)
@pytest.mark.parametrize("share", [0.02, 0.3, 0.9, 0.99])
def test_a_file_that_is_cut_short_is_refused(suffix: str, share: float) -> None:
    whole = encoded(suffix, scene(300, 400))
    with pytest.raises(InputError, match=r"cut short|damaged|not an image"):
        decode_image(whole[: int(len(whole) * share)], "x")


def test_a_jpeg_whose_thumbnail_is_whole_but_whose_picture_is_cut_short_is_refused() -> None:
    jpeg, thumbnail = encoded(".jpg", scene(300, 400)), encoded(".jpg", scene(30, 40))
    with_thumbnail = jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(thumbnail) + 2) + thumbnail + jpeg[2:]
    assert decode_image(with_thumbnail, "x").shape == (300, 400, 3)
    with pytest.raises(InputError, match="cut short"):
        decode_image(with_thumbnail[:-2], "x")


def test_a_damaged_scan_is_refused_and_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    data = bytearray(encoded(".jpg", np.random.default_rng(0).integers(0, 255, (300, 400, 3), np.uint8)))
    data[len(data) // 2 : len(data) // 2 + 200] = bytes(200)
    with pytest.raises(InputError, match="damaged JPEG"):
        decode_image(bytes(data), "x")
    assert capfd.readouterr() == ("", "")


def test_what_others_print_while_an_image_is_decoded_is_not_lost(capfd: pytest.CaptureFixture[str]) -> None:
    png = encoded(".png", scene(1500, 2000))
    stop = threading.Event()

    def decode() -> None:
        while not stop.is_set():
            decode_image(png, "x")

    thread = threading.Thread(target=decode)
    thread.start()
    for _ in range(200):
        os.write(2, b"a line of another thread\n")
        stop.wait(0.001)
    stop.set()
    thread.join()
    assert capfd.readouterr().err.count("a line of another thread\n") == 200


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32])
def test_values_that_are_not_8_or_16_bits_are_refused(dtype: type[np.generic]) -> None:
    with pytest.raises(InputError, match="8 or 16 bits"):
        decode_image(encoded(".tif", scene().astype(dtype)), "x")


def test_what_can_not_be_read_is_said_in_one_sentence(tmp_path: Path) -> None:
    empty, text, pipe = tmp_path / "empty.jpg", tmp_path / "text.jpg", tmp_path / "pipe.jpg"
    empty.touch()
    text.write_text("no picture")
    os.mkfifo(pipe)
    for path, reason in [
        (tmp_path / "none.jpg", "there is no"),
        (text / "x.jpg", "there is no"),
        (tmp_path, "is a folder"),
        (empty, "is empty"),
        (text, "is not an image"),
        (pipe, "is not a file"),
        (Path("/dev/zero"), "is not a file"),
        (tmp_path / ("x" * 300), "can't be read"),
        (Path("a\0b"), "can't be read"),
    ]:
        with pytest.raises(InputError, match=reason) as caught:
            read_image(path)
        assert "\n" not in str(caught.value)


def test_a_file_that_may_not_be_read_says_so(tmp_path: Path) -> None:
    file = tmp_path / "secret.jpg"
    file.write_bytes(encoded(".jpg", scene()))
    file.chmod(0)
    user = os.geteuid()
    os.seteuid(user or 65534)  # root may read everything
    try:
        with pytest.raises(InputError, match="may not be read"):
            read_image(file)
    finally:
        os.seteuid(user)


@pytest.mark.parametrize("suffix", KINDS)
def test_too_many_pixels_are_refused_by_the_header_alone(suffix: str) -> None:
    side = 16000
    assert side * side > MAX_PIXELS
    small = scene(64, 64)
    data = bytearray(encoded(suffix, small))
    if suffix == ".jpg":
        at = data.index(b"\xff\xc0") + 5
        data[at : at + 4] = struct.pack(">HH", side, side)
    elif suffix == ".png":
        data[16:24] = struct.pack(">II", side, side)
    elif suffix == ".bmp":
        data[18:26] = struct.pack("<ii", side, -side)
    elif suffix == ".tif":
        directory = int.from_bytes(data[4:8], "little")
        for index in range(int.from_bytes(data[directory : directory + 2], "little")):
            entry = directory + 2 + 12 * index
            if int.from_bytes(data[entry : entry + 2], "little") in (256, 257):
                data[entry + 8 : entry + 10] = struct.pack("<H", side)
    else:
        data = bytearray(encoded(".webp", small, cv2.IMWRITE_WEBP_QUALITY, 101))  # lossless
        at = 21
        assert data[12:16] == b"VP8L"
        data[at : at + 4] = (side - 1 | side - 1 << 14 | data[24] >> 4 << 28).to_bytes(4, "little")
    with pytest.raises(InputError, match="16000 × 16000"):
        decode_image(bytes(data), "x")


@settings(deadline=None)
@given(st.sampled_from(KINDS), st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 255)), max_size=6), st.data())
def test_no_bytes_raise_anything_but_an_input_error(
    suffix: str, changes: list[tuple[int, int]], draw: st.DataObject
) -> None:
    data = bytearray(encoded(suffix, scene(20, 20)))
    for at, value in changes:
        data[at % len(data)] = value
    data = data[: draw.draw(st.integers(0, len(data)))] if draw.draw(st.booleans()) else data
    with contextlib.suppress(InputError):
        assert decode_image(bytes(data), "x").ndim == 3


@settings(deadline=None)
@given(st.sampled_from([b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"II*\0", b"MM\0+", b"RIFF", b"BM"]), st.binary())
def test_bytes_after_a_true_beginning_raise_nothing_but_an_input_error(beginning: bytes, rest: bytes) -> None:
    with pytest.raises(InputError):
        decode_image(beginning + rest, "x")


def test_images_are_found_in_natural_order_without_hidden_ones(tmp_path: Path) -> None:
    names = ["10.jpg", "2.JPG", "b/1.png", "B/11.tiff", "a/3.webp", ".hidden.jpg", ".git/1.jpg", "notes.txt", "1.bmp"]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = [str(path.relative_to(tmp_path)) for path in find_images(tmp_path)]
    assert found == ["1.bmp", "2.JPG", "10.jpg", "a/3.webp", "b/1.png", "B/11.tiff"]
    assert find_images(tmp_path / "notes.txt") == [tmp_path / "notes.txt"]


def test_finding_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no image in"):
        find_images(tmp_path)
    with pytest.raises(InputError, match="there is no"):
        find_images(tmp_path / "none")


def test_real_images_are_all_read(smears: Path) -> None:
    for path in find_images(smears / "all_idb1" / "im")[:5]:
        assert np.array_equal(read_image(path), np.asarray(cv2.imread(os.fspath(path))))
