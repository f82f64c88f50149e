"""Files are whole or not there."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from keras_flowers import files
from keras_flowers.errors import UserError


def test_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file.txt"
    files.write_text(path, "old")
    files.write_text(path, "new äöü\n")
    assert path.read_bytes() == "new äöü\n".encode()
    assert os.listdir(path.parent) == ["file.txt"]


def test_file_has_ordinary_permissions(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("")
    files.write_text(tmp_path / "ours", "")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_text("old")

    def fill() -> None:
        with files.atomic_replace(path) as temporary:
            temporary.write_text("half of the new")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fill()
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file.txt"]


def test_reader_sees_the_old_file_until_the_new_one_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_text("old")
    with files.atomic_replace(path) as temporary:
        temporary.write_text("new")
        assert temporary.suffix == ".txt"
        assert path.read_text() == "old"
    assert path.read_text() == "new"


def test_content_is_on_the_disk_before_it_is_renamed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A power cut after the rename must not leave an empty file.
    events: list[str] = []
    fsync, replace, rename = os.fsync, os.replace, os.rename

    def remember(descriptor: int) -> None:
        path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        events.append(f"flush {path.name}")
        fsync(descriptor)

    def note(name: str, move: Any) -> Any:
        def moved(old: Any, new: Any) -> None:
            events.append(f"{name} {Path(new).name}")
            move(old, new)

        return moved

    if not Path("/proc/self/fd").exists():
        pytest.skip("what a descriptor stands for is not known here")
    monkeypatch.setattr(os, "fsync", remember)
    monkeypatch.setattr(os, "replace", note("place", replace))
    monkeypatch.setattr(os, "rename", note("move", rename))
    files.write_text(tmp_path / "a.txt", "a")
    assert events == ["flush a.txt", "place a.txt"]
    events.clear()
    with files.atomic_replace(tmp_path / "model") as folder:
        (folder / "deep").mkdir(parents=True)
        (folder / "deep" / "b").write_text("b")
    assert events == ["flush b", "place model"]
    events.clear()
    with files.atomic_replace_all(tmp_path, "last") as folder:
        for name in ("last", "z", "c"):
            (folder / name).write_text(name)
    assert sorted(events[:3]) == ["flush c", "flush last", "flush z"]
    assert events[3:] == ["place c", "place z", "place last"]


def test_folder_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "model"
    for content in ("one", "two"):
        with files.atomic_replace(path) as temporary:
            temporary.mkdir()
            (temporary / content).touch()
    assert os.listdir(path) == ["two"]
    assert os.listdir(tmp_path) == ["model"]


def test_what_belongs_together_is_replaced_together(tmp_path: Path) -> None:
    def write(*names: str, fail: bool = False) -> None:
        with files.atomic_replace_all(tmp_path, last="done") as new:
            for name in names:
                files.write_text(new / name, str(names))
            (new / "logs").mkdir()
            if fail:
                raise OSError("disk full")

    write("done", "model")
    with pytest.raises(OSError, match="disk full"):
        write("done", "model", "labels", fail=True)
    assert sorted(os.listdir(tmp_path)) == ["done", "logs", "model"]
    assert {(tmp_path / name).read_text() for name in ("done", "model")} == {"('done', 'model')"}
    write("done", "model", "labels")
    assert sorted(os.listdir(tmp_path)) == ["done", "labels", "logs", "model"]


KILLED = """
import os, pathlib, signal, sys
from keras_flowers import files
def kill(*paths):
    os.kill(os.getpid(), signal.SIGKILL)
path = pathlib.Path(sys.argv[1])
together = sys.argv[2] == "together"
writing = files.atomic_replace_all(path.parent, "done") if together else files.atomic_replace(path)
with writing as new:
    (new / "model" if together else new).mkdir()
    os.replace = kill
"""


@pytest.mark.parametrize("how", ["together", "alone"])
def test_what_a_killed_process_left_is_removed_and_what_it_moved_away_comes_back(
    tmp_path: Path, how: str
) -> None:
    path = tmp_path / "model"
    path.mkdir()
    (path / "old").touch()
    killed = subprocess.run([sys.executable, "-c", KILLED, str(path), how])
    assert killed.returncode == -signal.SIGKILL
    assert not path.exists()
    assert len(os.listdir(tmp_path)) == 1
    if how == "together":
        with files.exclusive_lock(tmp_path):
            pass
        (tmp_path / ".lock").unlink()
    else:
        with pytest.raises(OSError, match="disk full"), files.atomic_replace(path):
            raise OSError("disk full")
    assert os.listdir(tmp_path) == ["model"]
    assert os.listdir(path) == ["old"]


def test_what_another_process_is_writing_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    with files.atomic_replace(path) as temporary:
        temporary.write_text("ours")
        # A lock belongs to the opened file, so that this is as good as another process.
        files.write_text(path, "theirs")
        assert path.read_text() == "theirs"
    assert path.read_text() == "ours"


def test_json_is_for_people_to_read(tmp_path: Path) -> None:
    files.write_json(tmp_path / "a.json", {"name": "größe", "list": [1]})
    expected = '{\n  "name": "größe",\n  "list": [\n    1\n  ]\n}\n'
    assert (tmp_path / "a.json").read_text(encoding="utf-8") == expected


def test_system_without_locks_writes_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "fcntl", None)
    left = tmp_path / ".a.txt.123.part"
    left.mkdir()
    with files.exclusive_lock(tmp_path), files.exclusive_lock(tmp_path):
        files.write_text(tmp_path / "a.txt", "a")
    assert (tmp_path / "a.txt").read_text() == "a"
    assert left.exists()  # nobody knows whether it is being written


def test_package_loads_where_files_cannot_be_locked(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['fcntl'] = None\n"
        "from pathlib import Path\n"
        "from keras_flowers import files\n"
        "with files.exclusive_lock(Path('run')): files.write_text(Path('run/a.txt'), 'a')\n"
        "assert files.fcntl is None"
    )
    package = str(Path(files.__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": package}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True)
    assert (tmp_path / "run" / "a.txt").read_text() == "a"


def test_json_comes_back(tmp_path: Path) -> None:
    value = {"name": "edelweiß", "sizes": [1, 2.5, None]}
    files.write_json(tmp_path / "value.json", value)
    assert files.read_json(tmp_path / "value.json") == value
    assert "edelweiß" in (tmp_path / "value.json").read_text(encoding="utf-8")


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe{}"])
def test_broken_json_is_a_user_error_that_names_the_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "value.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match="value.json is not JSON"):
        files.read_json(path)


def test_second_writer_is_refused_until_the_first_has_ended(tmp_path: Path) -> None:
    other_process = "; ".join(
        [
            "import pathlib, sys",
            "from keras_flowers import files",
            "files.exclusive_lock(pathlib.Path(sys.argv[1])).__enter__()",
        ]
    )

    def start_other() -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", other_process, str(tmp_path)]
        return subprocess.run(command, capture_output=True, text=True)

    with files.exclusive_lock(tmp_path):
        refused = start_other()
        assert refused.returncode != 0
        assert "another run is writing" in refused.stderr
    assert start_other().returncode == 0


@pytest.mark.parametrize("was_there", [False, True])
def test_folder_goes_where_nothing_was_written(tmp_path: Path, was_there: bool) -> None:
    folder = tmp_path / "run"
    if was_there:
        folder.mkdir()
    with pytest.raises(UserError), files.exclusive_lock(folder):
        raise UserError("refused")
    assert folder.exists() == was_there
    with files.exclusive_lock(tmp_path / "other"):
        (tmp_path / "other" / "file").touch()
    assert (tmp_path / "other" / "file").exists()


def test_folders_above_are_made_and_go_with_it_where_nothing_was_written(tmp_path: Path) -> None:
    folder = tmp_path / "saved_models" / "deep" / "run"
    with files.exclusive_lock(folder):
        assert folder.is_dir()
    assert os.listdir(tmp_path) == []
    with files.exclusive_lock(folder):
        (folder.parent / "theirs").touch()
    assert os.listdir(tmp_path / "saved_models" / "deep") == ["theirs"]
    with files.exclusive_lock(folder):
        (folder / "ours").touch()
    assert sorted(os.listdir(folder)) == [".lock", "ours"]


def test_lock_is_relative_to_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with files.exclusive_lock(Path("saved_models/run")):
        assert (tmp_path / "saved_models" / "run" / ".lock").exists()
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
@pytest.mark.parametrize("wrapped", [False, True])
def test_full_disk_is_named_however_a_library_words_it(
    tmp_path: Path, number: int, wrapped: bool
) -> None:
    reason = os.strerror(number)
    error = (
        RuntimeError(f"cannot write: {reason}; 12 bytes") if wrapped else OSError(number, reason)
    )
    path = tmp_path / "model.h5"
    with pytest.raises(OSError) as caught, files.atomic_replace(path):
        raise error
    assert (caught.value.errno, caught.value.filename) == (number, str(path))
    assert os.listdir(tmp_path) == []


def test_other_errors_stay_as_they_are(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="unrelated"), files.atomic_replace(tmp_path / "model"):
        raise RuntimeError("unrelated")
