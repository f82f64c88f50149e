"""A folder with everything that can be wrong with it: found, shown, and corrected by its table."""

from __future__ import annotations

import csv
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image, ImageOps

pytest.importorskip("tensorflow_datasets", reason="the check needs the extra [train]")

from keras_flowers.__main__ import main
from keras_flowers.errors import UserError
from keras_flowers.training.sources import open_photos
from keras_flowers.training.synthetic import draw_flower, prepare

if TYPE_CHECKING:
    from playwright.sync_api import Browser

NAMES = {0: "red trefoil", 3: "blue daisy", 5: "yellow <i>fivestar<i>"}
COUNT = 12
WRONG = "red trefoil/wrong.jpg"


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos in `own`, the page and the table in `check`."""
    folder = tmp_path_factory.mktemp("data_command")
    base = prepare(folder / "cache")
    photos = folder / "own"
    for label, name in NAMES.items():
        (photos / name).mkdir(parents=True)
        for number in range(COUNT):
            draw_flower(label, seed=(7, label, number)).save(
                photos / name / f"{number:02}.jpg", quality=92
            )
    (photos / "red trefoils").mkdir()
    for number in range(3):
        draw_flower(0, seed=(8, number)).save(photos / "red trefoils" / f"{number}.jpg")
    draw_flower(3, seed=99).save(photos / WRONG, quality=92)
    shutil.copy(photos / "blue daisy" / "00.jpg", photos / "red trefoil" / "twice.jpg")
    mirrored = ImageOps.mirror(Image.open(photos / "blue daisy" / "01.jpg"))
    mirrored.save(photos / "blue daisy" / "mirror.jpg", quality=60)
    draw_flower(3, seed=98).resize((20, 20)).save(photos / "blue daisy" / "tiny.png")
    (photos / "blue daisy" / "broken.jpg").write_bytes(b"broken")
    (photos / "unknown").mkdir()
    draw_flower(7, seed=1).save(photos / "unknown" / "disc.png")
    arguments = ["data", str(photos), "--base", str(base), "--cache_dir", str(folder / "cache")]
    assert main([*arguments, "--output", str(folder / "check")]) == 0
    return folder


def rows_of(table: Path) -> dict[str, dict[str, str]]:
    """Each row of the table by the end of its path, in order."""
    with table.open(encoding="utf-8") as file:
        return {"/".join(Path(row["path"]).parts[-2:]): row for row in csv.DictReader(file)}


def test_table_says_what_was_found(own: Path) -> None:
    rows = rows_of(own / "check" / "photos.csv")
    assert len(rows) == 3 * COUNT + 3 + 4 + 1
    assert WRONG in list(rows)[:5]
    assert rows[WRONG]["suggestion"] == "blue daisy"
    assert float(rows[WRONG]["probability_of_label"]) < 0.2
    assert "same file as blue daisy/00.jpg (blue daisy)" in rows["red trefoil/twice.jpg"]["finding"]
    assert "near duplicate of" in rows["blue daisy/mirror.jpg"]["finding"]
    assert "tiny: 20 x 20 pixels" in rows["blue daisy/tiny.png"]["finding"]
    assert "blue daisy/broken.jpg" not in rows
    assert rows["unknown/disc.png"]["probability_of_label"] == ""
    assert {row["split"] for row in rows.values()} == {""}


def test_corrected_table_is_taken_back(own: Path, tmp_path: Path) -> None:
    rows = rows_of(own / "check" / "photos.csv")
    assert rows[WRONG]["label"] == "red trefoil"
    rows[WRONG]["label"] = "blue daisy"
    for place in [place for place in rows if place.startswith("red trefoils/")]:
        rows[place]["label"] = "red trefoil"
    del rows["red trefoil/twice.jpg"]
    table = tmp_path / "corrected.csv"
    with table.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[WRONG]))
        writer.writeheader()
        writer.writerows(rows.values())
    photos = open_photos([str(table)])
    assert photos.labels == ("blue daisy", "red trefoil", "yellow <i>fivestar<i>")
    assert sum(photos.counts.values()) + len(photos.left_out) == len(rows)
    counts = [(photos.label_numbers == number).sum() for number in range(3)]
    assert counts == [COUNT + 3, COUNT + 3, COUNT]
    assert all("near duplicate" in one.reason for one in photos.left_out)


def test_page_says_what_to_do_and_loads_nothing(own: Path) -> None:
    page = (own / "check" / "index.html").read_text(encoding="utf-8")
    assert "1 photo is in several classes" in page
    assert "1 file cannot be read" in page
    assert "1 photo is tiny" in page
    assert "red trefoil</td><td>red trefoils</td>" in page
    assert "singular and plural" in page
    assert f"keras-flowers train --data {own / 'check' / 'photos.csv'}" in page
    # What names say is text, not HTML; what is shown is inside.
    assert "<i>fivestar" not in page
    assert "yellow &lt;i&gt;fivestar&lt;i&gt;" in page
    assert {address[:23] for address in re.findall(r'src="([^"]*)"', page)} == {
        "data:image/jpeg;base64,"
    }
    assert "default-src 'none'" in page
    assert "<script" not in page
    assert "<link" not in page


def test_page_opens_in_a_browser_and_asks_nobody(own: Path, browser: Browser) -> None:
    page = browser.new_page(viewport={"width": 360, "height": 640})
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url.partition(":")[0]))
    errors: list[str] = []
    page.on("console", lambda message: errors.append(message.text))
    page.goto((own / "check" / "index.html").as_uri())
    shown = page.evaluate("[...document.images].map(one => one.complete && one.naturalWidth > 0)")
    assert len(shown) >= 5
    assert all(shown)
    assert asked.count("file") == 1
    assert set(asked) <= {"file", "data"}
    assert errors == []
    # On a phone nothing hangs over the edge but tables, which scroll by themselves.
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= 360


def test_table_with_corrections_is_not_replaced_unasked(own: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="perhaps with your corrections; choose another --output"):
        main(["data", str(own / "own"), "--quick", "--output", str(own / "check")])


def test_quick_check_of_a_tfds_set_copies_its_photos(
    own: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["data", "tfds:drawn_flowers", "--data_dir", str(own / "cache"), "--quick"]
    arguments += ["--cache_dir", str(own / "cache"), "--output", str(tmp_path / "check")]
    assert main([*arguments, "--copies"]) == 0
    said = capsys.readouterr().out
    assert "320 photos of 8 classes (train, validation, test)" in said
    assert "labels look wrong" not in said
    rows = rows_of(tmp_path / "check" / "photos.csv")
    assert len(rows) == 320
    assert rows["photos/000000.jpg"]["path"] == "photos/000000.jpg"
    photos = open_photos([str(tmp_path / "check" / "photos.csv")], cache_dir=own / "cache")
    assert photos.counts == {"train": 160, "validation": 80, "test": 80}
    text = (tmp_path / "check" / "index.html").read_text(encoding="utf-8")
    assert "Labels were not judged in this check" in text
