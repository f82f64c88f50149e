"""`keras-flowers similar`: what it prints, draws and refuses."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from keras_flowers.commands import similar as command
from keras_flowers.errors import UserError
from keras_flowers.inference import chart
from keras_flowers.inference.similar import SimilarPhoto, SimilarPhotos

FOUND = SimilarPhotos(
    (SimilarPhoto(0.987, "rosé", "a.jpg", "d1"), SimilarPhoto(0.5, "daisy", "b.jpg", "d2"))
)


@pytest.fixture(autouse=True)
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the library is asked for; every photo resembles the same two."""
    calls: list[Any] = []

    def load(model: Path | None) -> Any:
        def similar(photo: str, count: int) -> SimilarPhotos:
            calls.append((model, photo, count))
            return FOUND

        return SimpleNamespace(similar=similar)

    monkeypatch.setattr(command, "load_classifier", load)
    return calls


def test_photos_are_printed_as_a_table_or_as_json(
    asked: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main(["sun flower.jpg"]) == 0
    assert capsys.readouterr().out == (
        "sun flower.jpg resembles these training photos:\n\n"
        " 0.99  rosé   a.jpg\n 0.50  daisy  b.jpg\n"
    )
    assert command.main(["x.jpg", "--json", "--count", "7", "--model", "m"]) == 0
    said = capsys.readouterr().out
    assert "rosé" in said
    assert json.loads(said)[1] == {
        "similarity": 0.5,
        "name": "daisy",
        "place": "b.jpg",
        "digest": "d2",
    }
    assert asked == [(None, "sun flower.jpg", 5), (Path("m"), "x.jpg", 7)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "expected a photo, or --build MODEL; see --help"),
        (["a.jpg", "--build", "m"], "expected a photo, or --build MODEL"),
        (["a.jpg", "--count", "0"], "--count is 0; expected at least 1"),
        (["a.jpg", "--data", "x"], "--data says where the photos are that --chart draws; add"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    asked: list[Any], arguments: list[str], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        command.main(arguments)
    assert asked == []


def test_chart_is_named_for_the_photo_and_replaces_neither_it_nor_another_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    drawn: list[Path] = []
    monkeypatch.setattr(command, "_draw", lambda *of: drawn.append(of[-1].chart) or 0)
    for name in ("a.jpg", "a_flower.png"):
        (tmp_path / name).touch()
    assert command.main(["a.jpg", "--chart"]) == 0
    assert command.main(["a.jpg", "--chart", "new.jpg"]) == 0
    (tmp_path / "a_similar.png").write_bytes(b"a photo of somebody's")
    assert command.main(["a.jpg", "--chart"]) == 0
    assert drawn == [Path("a_similar.png"), Path("new.jpg"), Path("a_similar_2.png")]
    for used in ("a.jpg", "mine.tflite"):
        (tmp_path / used).touch()
        with pytest.raises(UserError, match=rf"{used} would be overwritten by the chart; choose"):
            command.main(["a.jpg", "--model", "mine.tflite", "--chart", str(tmp_path / used)])


def test_one_photo_is_enough(asked: list[Any]) -> None:
    assert command.main(["a.jpg", "--count", "1"]) == 0


def test_photos_that_are_at_hand_are_drawn_beside_the_photo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    similarity = pytest.importorskip("keras_flowers.training.similarity")
    photo = tmp_path / "a.png"
    Image.new("RGB", (30, 20), "red").save(photo)
    given: list[Any] = []

    def read(classifier: Any, photos: Any, sources: Any, *, data_dir: Any) -> dict[str, bytes]:
        given.append((photos, sources, data_dir))
        return {"d2": photo.read_bytes()}

    monkeypatch.setattr(similarity, "read_photos", read)
    drawn: list[Any] = []
    draw = chart.draw_similar
    monkeypatch.setattr(chart, "draw_similar", lambda *all_: drawn.append(all_) or draw(*all_))
    path = tmp_path / "c.svg"
    arguments = [str(photo), "--chart", str(path), "--data", "x", "--data_dir", "y"]
    assert command.main(arguments) == 0
    assert path.exists()
    assert given == [(FOUND, ["x"], "y")]
    ((_, pictures, captions),) = drawn
    assert pictures[0] is None and pictures[1].size == (30, 20)
    assert captions == ["0.99  rosé", "0.50  daisy"]
    said = capsys.readouterr()
    assert said.err.endswith(f"chart: {path}\n") and "resembles" in said.out

    def gone(*_: Any, **__: Any) -> Any:
        raise UserError("they are gone")

    monkeypatch.setattr(similarity, "read_photos", gone)
    assert command.main(arguments) == 1
    said = capsys.readouterr()
    assert said.err == f"error: the chart was not written to {path}: they are gone\n"
    assert "resembles" in said.out


def test_index_is_made_of_a_model_and_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    similarity = pytest.importorskip("keras_flowers.training.similarity")
    path = tmp_path / "similar.npz"
    path.write_bytes(bytes(2_340_000))
    index = SimpleNamespace(places=[""] * 12, dataset="drawn", split="train")
    given: list[Any] = []
    monkeypatch.setattr(
        similarity, "write_index", lambda *a, **b: given.append((a, b)) or (index, path)
    )
    assert command.main(["--build", "runs/x", "--data", "y", "--data_dir", "z"]) == 0
    assert capsys.readouterr().out == f"12 photos of drawn train: {path} (2.3 MB)\n"
    assert given == [((Path("runs/x"), ["y"]), {"data_dir": "z"})]
