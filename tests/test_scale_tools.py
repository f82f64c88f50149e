"""`tools/scale.py`: what is seen of a training, and what is made of it."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from keras_flowers.errors import UserError
from tools import scale
from tools.scale import Look


def test_stages_are_told_apart_by_the_pieces_that_are_cached() -> None:
    # 1,000 photos in four pieces are learned from, 300 in two chosen on, and then come others.
    looks = [
        Look(1.0, 10.0, 0.0, 500, 0, 0),
        Look(4.0, 13.0, 0.0, 600, 90, 1),
        Look(6.0, 13.5, 4.0, 650, 95, 2),
        Look(10.0, 14.0, 12.0, 640, 100, 4),
        Look(11.0, 14.5, 13.0, 630, 101, 6),
        Look(31.0, 34.5, 13.0, 700, 101, 6),
        Look(32.0, 35.0, 14.0, 690, 102, 7),
    ]
    found = scale.stages(looks, 1000, 300, 256)
    assert found == {
        "seconds": 32.0,
        "core_seconds": 49.0,
        "until_features_core_seconds": 13.0,
        "feature_views": 3 * 256,
        "feature_seconds": 6.0,
        "feature_core_seconds": 13.0,
        "head_core_seconds": 20.5,
        "memory": 700,
        "memory_by_quarter": [600, 650, 0, 640],
        "worker_memory_by_quarter": [90, 95, 0, 100],
    }


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").is_file(), reason="needs Linux")
def test_training_is_looked_at_to_its_end_and_its_messages_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scale, "SECONDS_BETWEEN_LOOKS", 0.02)
    features, log = tmp_path / "features", tmp_path / "log"
    code = (
        "import pathlib, time; folder = pathlib.Path({!r}); folder.mkdir()\n"
        "kept = b'x' * (50 << 20)\n"
        "for number in range(3): (folder / f'{{number}}.npy').touch(); time.sleep(0.2)\n"
        "print('done'); raise SystemExit({})"
    )
    looks = scale.watch([sys.executable, "-c", code.format(str(features), 0)], features, log)
    assert log.read_text() == "done\n"
    assert {look.pieces for look in looks} >= {1, 2, 3}
    assert 50 << 20 < max(look.memory for look in looks) < 500 << 20
    assert 0.4 < looks[-1].seconds and [look.worker_memory for look in looks] == [0] * len(looks)
    assert [look.core_seconds for look in looks] == sorted(look.core_seconds for look in looks)
    with pytest.raises(UserError, match=r"failed; see .*log"):
        scale.watch([sys.executable, "-c", code.format(str(tmp_path / "b"), 3)], features, log)


def test_copies_differ_from_their_photo_and_from_each_other_and_stay(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    smooth = Image.fromarray(random.integers(0, 255, (6, 9, 3), np.uint8)).resize((600, 400))
    content = io.BytesIO()
    smooth.save(content, "jpeg")
    files = [tmp_path / f"{name}.jpg" for name in "abc"]
    scale.write_changed(content.getvalue(), [1, 2, 1], files)
    a, b, again = (file.read_bytes() for file in files)
    assert a != b and a == again
    changed = np.asarray(Image.open(files[1]), np.float32)
    assert changed.shape == (256, 384, 3)
    original = np.asarray(smooth.resize((384, 256)), np.float32)
    differences = [np.abs(one - original).mean() for one in (changed, changed[:, ::-1])]
    assert 1 < min(differences) < 25, "it shows the same, in another light"
    files[0].write_bytes(b"is there")
    scale.write_changed(content.getvalue(), [1], files[:1])
    assert files[0].read_bytes() == b"is there"
    assert sorted(tmp_path.iterdir()) == files
