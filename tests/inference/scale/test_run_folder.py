"""The folder of a long run: whatever is wrong with a part is one line that says what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from keras_flowers.errors import UserError
from keras_flowers.inference.scale.folder import Count, RunFolder

pa = pytest.importorskip("pyarrow", reason="parts need the extra [scale]")
parquet = pytest.importorskip("pyarrow.parquet")

ASKED: dict[str, Any] = {
    "arguments": ["a"],
    "model": {"name": "m", "sha256": "1"},
    "inputs": {"sha256": "2", "photos": 5, "parts": 2},
    "options": {"top_k": 1},
}


def table(*errors: str | None) -> Any:
    return pa.table(
        {
            "photo": [f"{number}.jpg" for number in range(len(errors))],
            "error": pa.array(errors, pa.string()),
        }
    )


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    made = RunFolder.begin(tmp_path / "out", ASKED)
    assert made.write(0, table(None, "bad", None), "t0") == Count(3, 1)
    assert made.write(1, table("bad", "bad"), "t1") == Count(2, 2)
    return made


def test_parts_are_counted_and_put_together_in_their_order(run: RunFolder, tmp_path: Path) -> None:
    assert (run.count(0, "t0"), run.count(1, "t1")) == (Count(3, 1), Count(2, 2))
    assert run.count(0, "t1") is None  # its photos were changed since
    assert run.merge(tmp_path / "all.csv") == Count(5, 3)
    assert (tmp_path / "all.csv").read_text() == (
        "photo,error\n0.jpg,\n1.jpg,bad\n2.jpg,\n0.jpg,bad\n1.jpg,bad\n"
    )
    assert run.merge(tmp_path / "all.PARQUET") == Count(5, 3)
    whole = parquet.read_table(tmp_path / "all.PARQUET")
    assert whole.column("photo").to_pylist() == ["0.jpg", "1.jpg", "2.jpg", "0.jpg", "1.jpg"]
    assert not whole.schema.metadata
    assert run.file(1234).relative_to(run.path).as_posix() == ("parts/0001/part-0001234.parquet")
    assert run.file(999).parent.name == "0000"


def test_part_that_is_forgotten_is_not_done(run: RunFolder) -> None:
    assert run.is_done(0)
    run.forget(0)
    assert not run.is_done(0) and run.is_done(1)


@pytest.mark.parametrize("error", [OSError("disk"), ValueError("bytes")])
def test_part_that_cannot_be_opened_or_read_is_one_line(
    run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    class Broken(parquet.ParquetFile):  # type: ignore[misc]
        def read(self, *_: Any, **__: Any) -> Any:
            raise error

    def refuse(path: Path) -> Any:
        raise error

    for opened in (Broken, refuse):
        monkeypatch.setattr(parquet, "ParquetFile", opened)
        with pytest.raises(
            UserError, match=r"part-0000000.parquet is damaged \(.*\); delete it, an"
        ):
            run.merge(tmp_path / "all.csv")
        assert not (tmp_path / "all.csv").exists()


def test_no_more_than_five_missing_parts_are_named(tmp_path: Path) -> None:
    asked = {**ASKED, "inputs": {**ASKED["inputs"], "parts": 6}}
    run = RunFolder.begin(tmp_path / "out", asked)
    with pytest.raises(UserError, match=r"6 of the 6 parts in .* \(0, 1, 2, 3, 4, \.\.\.\); run"):
        run.merge(tmp_path / "all.csv")
    run.write(3, table(None), "t")
    with pytest.raises(UserError, match=r"5 of the 6 parts in .* \(0, 1, 2, 4, 5\); run the comm"):
        run.merge(tmp_path / "all.csv")


def test_run_goes_on_where_nothing_that_matters_differs(run: RunFolder) -> None:
    again = RunFolder.begin(run.path, {**ASKED, "arguments": ["./a"]})
    assert again.manifest["arguments"] == ["a"]
    assert again.count(0, "t0") == Count(3, 1)
    for key, what in (("model", "another model"), ("options", "other options")):
        other = {**ASKED, key: {**ASKED[key], "new": "x" * 100}}
        with pytest.raises(
            UserError, match=rf"was begun with {what} \(new: None then, x{{80}} now\)"
        ):
            RunFolder.begin(run.path, other)


def test_options_that_were_others_or_none_are_told(run: RunFolder) -> None:
    for then, now in (({"known": 0.5}, None), (None, {"known": 0.5})):
        asked = {**ASKED, "options": {"threshold": then}}
        begun = RunFolder.begin(run.path / ("none" if then is None else "some"), asked)
        reason = rf"was begun with other options \(threshold: {then} then, {now} now\); choose"
        with pytest.raises(UserError, match=reason):
            RunFolder.begin(begun.path, {**ASKED, "options": {"threshold": now}})


def test_parts_are_of_a_run_in_whatever_order_it_is_written_down(run: RunFolder) -> None:
    turned = dict(reversed(run.manifest.items()))
    inputs = dict(reversed(run.manifest["inputs"].items()))
    again = RunFolder(run.path, {**turned, "inputs": inputs})
    assert again.count(0, "t0") == Count(3, 1)


@pytest.mark.parametrize("content", ["[]", "{}", '{"inputs": 3}'])
def test_manifest_of_something_else_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(UserError, match="manifest.json is not the manifest of a run; choose"):
        RunFolder.open(tmp_path)


def test_hidden_files_are_no_other_things(tmp_path: Path) -> None:
    (tmp_path / ".DS_Store").touch()
    assert RunFolder.begin(tmp_path, ASKED).parts == 2
