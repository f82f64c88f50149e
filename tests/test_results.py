"""`tools/results.py`: one file holds the figures, and the pages say what stands in it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("tensorflow_datasets", reason="the recipes need the extra [train]")

from export_fixtures import tool

from keras_flowers.errors import UserError
from keras_flowers.training.answers import AnswerCounts
from keras_flowers.training.config import TrainConfig


@pytest.fixture(scope="module")
def results() -> ModuleType:
    return tool("results")


def scores(mean: float, error: float = 0.01) -> dict[str, Any]:
    share = {"value": mean, "interval95": [mean - 0.05, mean + 0.05]}
    return {
        "photos": 445,
        "classes": 76,
        "top1": share,
        "top5": share,
        "mean_per_class": share,
        "sure_and_wrong": {"value": 0.02, "interval95": [0.01, 0.03]},
        "expected_calibration_error": error,
    }


def answered(mean: float, *kinds: str) -> dict[str, Any]:
    """Scores with what is said of 100 photos of each kind."""
    counts = AnswerCounts("", 100, 60, 3, 10, 5, 9, 1, 0, 12)._asdict()
    points = [
        {"least": 0.1, "coverage": 1.0, "accuracy": mean, "others": dict.fromkeys(kinds[1:], 0.25)}
    ]
    answers = {"thresholds": {}, "by_kind": [{**counts, "kind": kind} for kind in kinds]}
    separations = [{"kind": kind, "auroc": 0.9, "named": 0.28} for kind in kinds[1:]]
    said = {"answers": answers, "coverage": points, "separations": separations}
    return {**scores(mean), **said}


def shipped() -> dict[str, Any]:
    field = answered(0.5, "of its classes", "other flower", "no flower")
    return {
        **found(0, 0.9, field={"sources": 66, **field}),
        "test": answered(0.9, "of its classes"),
    }


def found(seed: int, mean: float, **more: Any) -> dict[str, Any]:
    return {
        "seed": seed,
        "base": "MobileNetV2",
        "image_size": 224,
        "parameters": 1_230_000,
        "trained_on": {"split": "train", "photos": 1020},
        "test": scores(mean),
        **more,
    }


def test_pages_say_what_was_measured(results: ModuleType) -> None:
    measured = results.read_results(results.RESULTS)
    assert len(results.RENDERED) >= 4
    for page, name, what in results.RENDERED:
        text = page.read_text(encoding="utf-8")
        expected = results.rendered(text, name, what(measured))
        assert text == expected, "run: python tools/results.py --render"
        # One figure changed by hand is noticed.
        start = text.index(f"<!-- {name}:")
        changed = text[:start] + re.sub(r"(\d)(\.\d| %)", r"\g<1>1\2", text[start:], count=1)
        assert changed != text
        assert results.rendered(changed, name, what(measured)) == text


def test_every_place_that_asks_for_figures_is_rendered(results: ModuleType) -> None:
    asked = {
        (page, name)
        for pattern in ("*.md", "docs/*.md", "saved_models/flowers102/*.md")
        for page in results.ROOT.glob(pattern)
        for name in re.findall(r"<!-- end of (\w+) -->", page.read_text(encoding="utf-8"))
    }
    assert asked == {(page, name) for page, name, _ in results.RENDERED}


def test_sentence_says_the_share_the_interval_and_the_mistakes(results: ModuleType) -> None:
    words = " ".join(results.field_sentence({"flowers102": [shipped()]}).split())
    assert "of 445 photos as people take them, from 66 sources" in words
    assert "names 50 % correctly (95 % interval 45 to 55)" in words
    assert "To 2 % it gives a wrong name with more than 90 %." in words
    assert words.endswith("tidy test photos it names 90 % correctly.")


def test_row_has_mean_and_spread_of_its_seeds(results: ModuleType) -> None:
    runs = [found(0, 0.94), found(1, 0.95, field=scores(0.5, 0.2)), found(2, 0.96)]
    lines = results.recipe_table({"frozen_2040": [found(0, 0.97)], "frozen": runs}).splitlines()
    assert lines[2] == (
        "| `frozen` | MobileNetV2 | 224 | 1.2 million | 1,020 | 95.0 ± 1.0 | 1.0 ± 0.0 "
        "| 50.0 | 50.0 | 20.0 | 2.0 | 0, 1, 2 |"
    )
    (other,) = [line for line in lines if line.startswith("| `frozen_2040` | ")]
    assert other.endswith("| 97.0 | 1.0 |  |  |  |  | 0 |")
    (missing,) = [line for line in lines if line.startswith("| `teacher` | ")]
    assert re.fullmatch(r"\| `teacher` [| ]+ not measured \|", missing)
    assert {line.count("|") for line in lines} == {13}


def test_run_replaces_that_of_its_seed_and_keeps_the_field(results: ModuleType) -> None:
    kept: dict[str, Any] = {"frozen": [found(1, 0.9, field=scores(0.4))]}
    results.add_run(kept, "frozen", found(0, 0.8))
    results.add_run(kept, "frozen", found(1, 0.7))
    assert [(one["seed"], one["test"]["top1"]["value"]) for one in kept["frozen"]] == [
        (0, 0.8),
        (1, 0.7),
    ]
    assert kept["frozen"][1]["field"] == scores(0.4)
    assert "field" not in kept["frozen"][0]


def test_card_needs_the_model_that_ships(results: ModuleType) -> None:
    unanswered = found(0, 0.9, field=scores(0.5))
    for measured in ({}, {"flowers102": [{**shipped(), "seed": 1}]}, {"flowers102": [unanswered]}):
        with pytest.raises(UserError, match="--recipes flowers102 --seeds 0 --shipped"):
            results.field_table(measured)
    table = results.field_table({"flowers102": [shipped()]})
    assert "445 photos of 76 classes from 66 sources" in table
    assert "| mean per class | 50.0 (45.0 to 55.0) |" in table


def test_what_is_said_has_a_row_for_each_kind_of_photo(results: ModuleType) -> None:
    measured = {"flowers102": [shipped()]}
    lines = results.answers_table(measured).splitlines()
    assert lines[2] == (
        "| 100 `test` photos of the data set | 60.0 | 3.0 | 10.0 | 5.0 | 10.0 | 12.0 |"
    )
    assert [line.split(" | ")[0] for line in lines[3:6]] == [
        "| 100 photos of its flowers in the field",
        "| 100 photos in the field: other flower",
        "| 100 photos in the field: no flower",
    ]
    text = " ".join(lines)
    assert "Groups that are right: 9 of 10 of the `test` photos" in text
    assert "against no flower: AUROC 0.900; where 90% of the right names are kept, 28 %" in text
    curve = results.coverage_table(measured).splitlines()
    assert curve[0].endswith("| named right | other flower: named, too | no flower: named, too |")
    assert curve[2] == "| 100.0 | 50.0 | 25.0 | 25.0 |"
    words = " ".join(results.doubt_sentence(measured).split())
    assert words.startswith("To 12 % of photos of other flowers and ")


def test_page_without_the_place_for_a_table_is_said(results: ModuleType) -> None:
    with pytest.raises(UserError, match="lacks the comments <!-- field:"):
        results.rendered("# A page\n<!-- end of field -->\n<!-- field: -->", "field", "| a |")


def test_each_run_is_kept_when_it_is_measured(
    results: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    trained, scored = [], []
    table = tmp_path / "field" / "validation.csv"

    def train(config: TrainConfig) -> None:
        trained.append(config.seed)
        if config.seed == 2:
            raise UserError("no more")
        config.run_dir.mkdir(parents=True)
        made = {"trained_on": {"split": "train", "photos": 7}, "seconds": 3.0}
        content = {**made, "scores": {"test": scores(0.9)}}
        (config.run_dir / "metrics.json").write_text(json.dumps(content))
        settings = {"settings": {"base": "MobileNetV2_0.35", "image_size": 64}}
        (config.run_dir / "config.json").write_text(json.dumps(settings))

    def evaluate(file: Path, *, sources: list[str], taxonomy: Path) -> Any:
        assert taxonomy.is_file()
        scored.append((file.parent.name, file.name, sources))
        return SimpleNamespace(
            by_source=["a", "b"],
            unknown_count=5,
            scores=SimpleNamespace(as_dict=lambda: scores(0.6)),
        )

    monkeypatch.setattr(results, "train_model", train)
    monkeypatch.setattr(results, "evaluate_model", evaluate)
    monkeypatch.setattr(
        results, "build_model", lambda *_: SimpleNamespace(count_params=lambda: 1_000_000)
    )
    file = tmp_path / "results.json"
    asked = ["--recipes", "frozen", "--runs", str(tmp_path), "--results", str(file)]
    with pytest.raises(UserError, match="no more"):
        results.main([*asked, "--field", str(table.parent)])
    runs = json.loads(file.read_text())["frozen"]
    assert trained == [0, 1, 2]
    assert scored == [("frozen", "model.keras", [str(table)])] * 2
    assert [run["seed"] for run in runs] == [0, 1]
    assert runs[0]["field"] == {"sources": 2, "left_out_unknown": 5, **scores(0.6)}
    assert runs[0]["test"] == scores(0.9)
    assert runs[0]["image_size"] == 64
    assert runs[0]["parameters"] == 1_000_000
    # What is finished is not trained again.
    monkeypatch.delenv("KERAS_FLOWERS_FIELD", raising=False)
    assert results.main([*asked, "--seeds", "0", "1"]) == 0
    assert trained == [0, 1, 2]
    assert len(scored) == 2


def trained(photos: int, **stages: float) -> dict[str, Any]:
    quiet = {"hardware": {"cores": 2, "processor": "a processor"}, "load": 0.1}
    ran = {
        "seconds": 50.0,
        "core_seconds": 80.0,
        "feature_views": 4096,
        "feature_seconds": 32.0,
        "feature_core_seconds": 40.96,
        "memory": 900_000_000,
        "memory_by_quarter": [0, 0, 0, 0],
        "worker_memory_by_quarter": [500_000_000, 0, 0, 510_000_000],
        **stages,
    }
    return {
        "photos": photos,
        "learned": photos * 8 // 10,
        "image_size": 224,
        "views": 1,
        "epochs": 5,
        "photo_bytes": 20_000,
        "feature_bytes": 8_100.0,
        "equal_pieces": 40,
        "alone": ran,
        "ray": {**ran, "feature_core_seconds": 20.48},
        **quiet,
    }


def test_ten_million_photos_cost_what_the_further_photos_took(
    results: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = [
        trained(2_000, until_features_core_seconds=20.0, head_core_seconds=10.0),
        trained(10_000, until_features_core_seconds=36.0, head_core_seconds=29.2),
    ]
    monkeypatch.setattr(results, "_trainings", lambda: measured)
    text = " ".join(results.costs_table({}).split())
    # 16 s for 8,000 photos; 10 ms a view; 19.2 s for 6,400 views more.
    for row in (
        "its digest | 2.0 ms of a core | 6 core hours, on one machine |",
        "features of a view | 10.0 ms of a core | 56 core hours, on all machines |",
        "the head on a view, 5 epochs | 3.0 ms of a core | 17 core hours, on one machine |",
        "8.1 kB a view | 162 GB |",
        "20 kB | 200 GB |",
    ):
        assert row in text
    assert "With 64 cores the features take 0.9 hours." in text
    assert "they cost 2.22 dollars, and all of the above 3.11." in text
    assert re.search(r"2,000 and 10,000 photos at 224 pixels; measured on 2 cores \(a proc", text)
    lines = results.training_table({}).splitlines()
    assert lines[2:4] == [
        "| 2,000 |  | 50 | 80 | 10.0 | 900 |  |",
        "| 2,000 | `--engine ray` | 50 | 80 | 5.0 | 900 | 500, 0, 0, 510 |",
    ]
