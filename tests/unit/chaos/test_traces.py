"""Tracebacks are found in a log of many processes, whatever stands between their lines."""

from tests.chaos.traces import unhandled

FRAMES = ["w-1 | Traceback (most recent call last):", 'w-1 |   File "a.py", line 1, in f']


def test_what_was_raised_is_named() -> None:
    assert unhandled([*FRAMES, "w-1 | KeyError: 'a'"]) == ["w-1 | KeyError: 'a'"]


def test_lines_of_others_and_of_other_threads_may_stand_between() -> None:
    between = ["w-2 | ValueError", "w-1 | 23:57:01 [error    ] job.out_of_memory stage=detect"]
    assert unhandled([*FRAMES, *between, "w-1 | KeyError: 'a'"]) == ["w-1 | KeyError: 'a'"]


def test_memory_that_a_picture_took_from_the_threads_beside_it_is_foreseen() -> None:
    between = "w-1 | 23:57:01 [error    ] job.out_of_memory stage=detect"
    assert unhandled([*FRAMES, between, "w-1 | MemoryError"]) == []


def test_a_traceback_without_an_end_is_found_too() -> None:
    assert unhandled(FRAMES) == FRAMES[:1]
