"""Photos that are left out: how many are too many, and what is said of them."""

from __future__ import annotations

import pytest

from keras_flowers.commands.messages import show_messages
from keras_flowers.errors import UserError
from keras_flowers.training.sources.left_out import LeftOut, as_csv, check_unreadable


def unreadable(count: int) -> list[LeftOut]:
    return [LeftOut("own", "rose", f"rose/{number}.jpg", "it is empty") for number in range(count)]


@pytest.mark.parametrize(("bad", "photos"), [(1, 1), (1, 5), (2, 20), (10, 100), (3, 30)])
def test_up_to_a_tenth_or_one_is_left_out(
    bad: int, photos: int, capsys: pytest.CaptureFixture[str]
) -> None:
    show_messages()
    check_unreadable(unreadable(bad), photos, "own train", strict=False)
    said = capsys.readouterr().err
    assert said.startswith(f"{bad} of {photos} photos of own train cannot be read: rose/0.jpg (it")
    assert said.endswith("; left out\n")


@pytest.mark.parametrize(("bad", "photos"), [(2, 2), (2, 19), (3, 29), (11, 100)])
def test_more_than_a_tenth_is_refused(bad: int, photos: int) -> None:
    with pytest.raises(UserError, match=f"{bad} of {photos} .*expected at most a tenth"):
        check_unreadable(unreadable(bad), photos, "own", strict=False)


def test_one_is_refused_where_that_was_asked_for() -> None:
    check_unreadable([], 5, "own", strict=True)
    with pytest.raises(UserError, match="mend or remove them, or run without --strict"):
        check_unreadable(unreadable(1), 1000, "own", strict=True)


def test_three_are_named_and_the_others_counted() -> None:
    for count, rest in ((3, "2.jpg (it is empty); mend"), (5, "2.jpg (it is empty); and 2 more; ")):
        with pytest.raises(UserError) as refused:
            check_unreadable(unreadable(count), 100, "own", strict=True)
        assert rest in str(refused.value)
        assert "3.jpg" not in str(refused.value)


def test_all_are_named_before_a_refusal_that_names_but_three(
    capsys: pytest.CaptureFixture[str],
) -> None:
    show_messages()
    for bad, strict, lines in ((3, True, 0), (5, True, 5), (21, False, 21), (201, False, 200)):
        with pytest.raises(UserError):
            check_unreadable(unreadable(bad), 200, "own", strict=strict)
        said = capsys.readouterr().err.splitlines()
        assert len(said) == lines
        assert said == [f"cannot be read: rose/{n}.jpg (it is empty)" for n in range(lines)]


def test_table_quotes_what_has_commas() -> None:
    odd = LeftOut("own", "rose, red", "a.jpg", 'it says "no"')
    assert as_csv([odd]).splitlines() == [
        "source,class,photo,reason",
        'own,"rose, red",a.jpg,"it says ""no"""',
    ]
