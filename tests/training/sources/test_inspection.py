"""Photos that cannot be read are left out and named; others are read as prediction reads them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import bad_photos
import numpy as np
import pytest
from PIL import Image, ImageCms

from keras_flowers.errors import UserError
from keras_flowers.inference import image

pytest.importorskip("tensorflow", reason="training needs TensorFlow")

import tensorflow as tf

from keras_flowers.training import data
from keras_flowers.training.sources import inspection, open_photos
from keras_flowers.training.sources.labelled import Part, label_photos
from keras_flowers.training.sources.left_out import as_csv
from keras_flowers.training.sources.source import FilePhotos

SIZE = (32, 24)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> bad_photos.Corpus:
    """Good, odd and bad photos."""
    return bad_photos.make(tmp_path_factory.mktemp("corpus"))


def files_of(corpus: bad_photos.Corpus, names: list[str]) -> FilePhotos:
    return FilePhotos(corpus.folder, names, ["x"] * len(names))


def test_each_bad_photo_has_its_reason(corpus: bad_photos.Corpus) -> None:
    names = [name for name in corpus.bad if name != "folder.jpg"]
    found = inspection.inspect(files_of(corpus, names), "corpus")
    reasons = dict(zip(names, found.reasons.tolist(), strict=True))
    assert {name for name, reason in reasons.items() if not reason} == set()
    for name, reason in reasons.items():
        assert corpus.bad[name].removeprefix("the photo ") in reason, (name, reason)


@pytest.mark.parametrize(("orientation", "fast"), [(0, True), (1, True), (3, False)])
def test_upright_photo_takes_the_fast_route(orientation: int, fast: bool) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation  # 0 is no orientation, and turns nothing
    data = bad_photos.encode(Image.new("RGB", (40, 30), "red"), "JPEG", exif=exif)
    found = inspection._decode_fast(data)
    assert (found is not None) == fast
    assert found is None or (found.mode, found.size) == ("RGB", (40, 30))


@pytest.mark.parametrize(
    ("size", "found"), [((1000, 800), (125, 100)), ((250, 300), (63, 75)), ((63, 80), (63, 80))]
)
def test_photo_is_decoded_small_to_be_looked_at(
    size: tuple[int, int], found: tuple[int, int]
) -> None:
    small = inspection._decode_fast(bad_photos.encode(Image.new("RGB", size, "red"), "JPEG"))
    assert small is not None
    assert small.size == found


def test_every_photo_is_read_as_in_prediction(corpus: bad_photos.Corpus, tmp_path: Path) -> None:
    names = [name for name in [*corpus.good, *corpus.cut] if "60_megapixels" not in name]
    found = inspection.inspect(files_of(corpus, names), "corpus")
    readable = []
    for name, reason in zip(names, found.reasons.tolist(), strict=True):
        try:
            image.read_photo(corpus.folder / name)
        except UserError:
            assert reason, name
        else:
            assert not reason, (name, reason)
            readable.append(name)
    assert set(corpus.good) - {"60_megapixels.png", "60_megapixels.jpg"} <= set(readable)

    stored = files_of(corpus, readable)
    looked = inspection.inspect(stored, "corpus")
    part = Part(stored, np.arange(len(readable)), looked, np.zeros(len(readable), np.int64), "own")
    photos = label_photos([part], dataset="corpus", split="train", labels=("x", "y"))
    pixels = np.concatenate([p for p, _ in data.pixels(photos, SIZE).as_numpy_iterator()])
    for name, one in zip(readable, pixels, strict=True):
        expected = image.read_pixels(corpus.folder / name, SIZE).astype(int)
        assert np.abs(one.astype(int) - expected).max() <= 2, name


def test_bad_photos_in_a_folder_do_not_end_the_training_and_are_listed(tmp_path: Path) -> None:
    for number, name in enumerate(("rose", "aster")):
        (tmp_path / "own" / name).mkdir(parents=True)
        for one in range(12):
            pixels = np.random.default_rng(100 * number + one).integers(0, 256, (6, 6, 3))
            picture = Image.fromarray(pixels.astype(np.uint8)).resize((40, 40))
            picture.save(tmp_path / "own" / name / f"{one}.jpg")
    (tmp_path / "own" / "rose" / "page.jpg").write_text("<html>404</html>")
    (tmp_path / "own" / "aster" / "cut.jpg").write_bytes(
        (tmp_path / "own" / "aster" / "0.jpg").read_bytes()[:300]
    )
    photos = open_photos([str(tmp_path / "own")])
    bad = [one for one in photos.left_out if "near duplicate" not in one.reason]
    assert [(one.label, one.place) for one in bad] == [
        ("aster", "aster/cut.jpg"),
        ("rose", "rose/page.jpg"),
    ]
    assert "not a photo" in bad[1].reason
    assert as_csv(bad).splitlines()[0] == "source,class,photo,reason"
    with pytest.raises(UserError, match="2 of 26 photos of own cannot be read: aster/cut.jpg"):
        open_photos([str(tmp_path / "own")], strict=True)
    for one in range(4):
        (tmp_path / "own" / "rose" / f"more{one}.jpg").write_bytes(b"")
    with pytest.raises(UserError, match="6 of 30 photos .*expected at most a tenth"):
        open_photos([str(tmp_path / "own")])


def test_only_new_and_changed_photos_are_looked_into(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for one in range(6):
        bad_photos.picture((40 * one, 90, 200)).save(tmp_path / f"{one}.jpg")
    looked_into = []
    check = inspection._check

    def count_and_check(read: Any, with_look: bool) -> Any:
        looked_into.append(read)
        return check(read, with_look)

    monkeypatch.setattr(inspection, "_check", count_and_check)
    names = [f"{one}.jpg" for one in range(4)]
    cache = tmp_path / "cache" / "x.npz"
    first = inspection.inspect(FilePhotos(tmp_path, names, ["x"] * 4), "n", cache)
    assert len(looked_into) == 4
    names = [f"{one}.jpg" for one in range(6)]
    shutil.copy(tmp_path / "5.jpg", tmp_path / "1.jpg")
    second = inspection.inspect(FilePhotos(tmp_path, names, ["x"] * 6), "n", cache)
    assert len(looked_into) == 4 + 3
    assert second.digests[[0, 2, 3]].tolist() == first.digests[[0, 2, 3]].tolist()
    assert second.digests[1] == second.digests[5]
    # What some photos are asked for leaves what is known of the others.
    some = inspection.inspect(FilePhotos(tmp_path, ["4.jpg", "0.jpg"], ["x"] * 2), "n", cache)
    assert some.digests.tolist() == second.digests[[4, 0]].tolist()
    (tmp_path / "6.jpg").write_bytes(b"no photo")
    inspection.inspect(FilePhotos(tmp_path, ["6.jpg"], ["y"]), "n", cache)
    assert len(looked_into) == 7 + 1
    names.append("6.jpg")
    again = inspection.inspect(FilePhotos(tmp_path, names, ["x"] * 7), "n", cache)
    assert again.digests[:6].tolist() == second.digests.tolist()
    assert [bool(reason) for reason in again.reasons] == [False] * 6 + [True]
    assert len(looked_into) == 8
    cache.write_bytes(cache.read_bytes()[:200])
    third = inspection.inspect(FilePhotos(tmp_path, names, ["x"] * 7), "n", cache)
    assert third.digests.tolist() == again.digests.tolist()
    assert len(looked_into) == 8 + 7


@pytest.mark.parametrize(("other", "known"), [(107, False), (108, True)])
def test_photo_is_known_by_its_look_where_there_is_something_to_see(
    tmp_path: Path, other: int, known: bool
) -> None:
    # Halves of 100 and 108 differ by a deviation of 4.
    pixels = np.full((8, 8, 3), 100, np.uint8)
    pixels[:, 4:] = other
    Image.fromarray(pixels).save(tmp_path / "a.png")
    found = inspection.inspect(FilePhotos(tmp_path, ["a.png"], ["x"]), "n")
    assert found.has_look.tolist() == [known]


def test_size_is_that_of_the_file_however_small_it_was_decoded(tmp_path: Path) -> None:
    picture = Image.new("RGB", (1000, 600), "red")
    for name in ("a.jpg", "a.png"):
        picture.save(tmp_path / name)
    found = inspection.inspect(FilePhotos(tmp_path, ["a.jpg", "a.png"], ["x"] * 2), "n")
    assert found.sizes.tolist() == [[600, 1000]] * 2


def test_looks_are_made_only_where_near_duplicates_are_searched(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (8, 8, 3)).astype(np.uint8)
    Image.fromarray(noise).resize((64, 64)).save(tmp_path / "noise.jpg")
    Image.fromarray(noise).resize((64, 64)).save(tmp_path / "noise.png")
    photos = FilePhotos(tmp_path, ["noise.jpg", "noise.png"], ["x", "x"])
    cache = tmp_path / "cache.npz"
    without = inspection.inspect(photos, "n", cache, with_looks=False)
    # A photo that is decoded anyway has one at no cost.
    assert without.has_look.tolist() == [False, True]
    found = inspection.inspect(photos, "n", cache, with_looks=True)
    assert found.has_look.all()
    assert found.looks.tolist() == inspection.inspect(photos, "n").looks.tolist()
    assert found.digests.tolist() == without.digests.tolist()
    assert found.routes.tolist() == without.routes.tolist() == [inspection.FAST, inspection.PILLOW]
    # And it is kept.
    again = inspection.inspect(photos, "n", cache, with_looks=False)
    assert again.looks.tolist() == found.looks.tolist()


def test_what_is_kept_holds_no_labels_that_a_table_has_changed_since(tmp_path: Path) -> None:
    names = [f"{one}.jpg" for one in range(2)]
    for one, name in enumerate(names):
        bad_photos.picture((40 * one, 90, 200)).save(tmp_path / name)
    cache = tmp_path / "cache.npz"
    first = inspection.inspect(FilePhotos(tmp_path, names, ["aster", "rose"]), "n", cache)
    assert first.labels.tolist() == ["aster", "rose"]
    corrected = inspection.inspect(FilePhotos(tmp_path, names, ["rose", "rose"]), "n", cache)
    assert corrected.labels.tolist() == ["rose", "rose"]


def test_full_disk_ends_no_inspection(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    bad_photos.picture((90, 160, 40)).save(tmp_path / "plain.jpg")
    (tmp_path / "file").write_text("")
    photos = FilePhotos(tmp_path, ["plain.jpg"], ["x"])
    found = inspection.inspect(photos, "own", tmp_path / "file" / "cache.npz")
    assert found.reasons.tolist() == [""]
    assert "what was found in the photos of own is not kept (File exists)" in caplog.text


def test_damaged_photo_is_found_without_decoding_it_whole(tmp_path: Path) -> None:
    """Whatever happened to a file: what the quick look lets pass, the decoder of training takes."""
    random = np.random.default_rng(0)
    noise = Image.fromarray(random.integers(0, 256, (9, 12, 3)).astype(np.uint8))
    options: list[dict[str, Any]] = [
        {},
        {"progressive": True},
        {"subsampling": 0},
        {"restart_marker_blocks": 4},
        {"quality": 30, "optimize": True},
    ]
    files = [bad_photos.encode(noise.resize((90, 70)), "JPEG", **one) for one in options]
    surely = 0
    for number in range(900):
        data = bytearray(files[number % len(files)])
        place = int(random.integers(2, len(data)))
        if number % 3 == 0:  # as often in the header, which is short
            place = int(random.integers(2, data.find(b"\xff\xda") + 14))
        damage = number // 15 % 6
        if damage == 0:
            data[place] = random.integers(256)
        elif damage == 1:
            data[place : place + 2] = bytes([0xFF, random.integers(256)])
        elif damage == 2:
            del data[place:]
        elif damage == 3:
            data[place:] = b"\xff\xd9"
        elif damage == 4:
            data[place : place + 40] = bytes(40)
        elif damage == 5:
            data[place:place] = random.bytes(20)
        if inspection._is_surely_readable(bytes(data)):
            surely += 1
            for ratio in (1, 8):
                tf.io.decode_jpeg(bytes(data), channels=3, ratio=ratio)
    assert surely >= 150
    for whole in (files[0], files[2], files[4]):
        assert inspection._is_surely_readable(whole)


def test_exif_that_cannot_be_read_turns_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: object) -> None:
        raise SyntaxError("not a TIFF file")

    data = bad_photos.encode(bad_photos.picture((90, 160, 40)), "JPEG")
    assert inspection.route_of(data) == inspection.FAST
    monkeypatch.setattr(Image.Image, "getexif", refuse)
    assert inspection.route_of(data) == inspection.FAST


def test_upright_jpegs_take_the_fast_route_and_others_do_not(tmp_path: Path) -> None:
    picture = bad_photos.picture((90, 160, 40))
    exif = Image.Exif()
    exif[0x0112] = 1
    picture.save(tmp_path / "exif.jpg", exif=exif)
    picture.save(tmp_path / "plain.jpg")
    picture.convert("L").save(tmp_path / "grey.jpg")
    exif[0x0112] = 6
    picture.save(tmp_path / "turned.jpg", exif=exif)
    picture.convert("CMYK").save(tmp_path / "cmyk.jpg")
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    picture.save(tmp_path / "srgb.jpg", icc_profile=srgb)
    # Red and green exchanged.
    other = srgb.replace(b"rXYZ", b"____").replace(b"gXYZ", b"rXYZ").replace(b"____", b"gXYZ")
    picture.save(tmp_path / "profile.jpg", icc_profile=other)
    picture.save(tmp_path / "png.jpg", "PNG")
    picture.save(tmp_path / "adobe.jpg", exif=bad_photos.exif_of_colours(0xFFFF, "R03"))
    picture.save(tmp_path / "camera.jpg", exif=bad_photos.exif_of_colours(1, "R98"))
    names = ["exif", "plain", "grey", "srgb", "camera", "turned", "cmyk", "profile", "png", "adobe"]
    photos = FilePhotos(tmp_path, [f"{name}.jpg" for name in names], ["x"] * len(names))
    assert inspection.inspect(photos, "n").routes.tolist() == [0] * 5 + [1] * 5
