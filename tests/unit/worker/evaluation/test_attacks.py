"""APCER and BPCER, with answers that can be counted by hand."""

from pathlib import Path

from shared.faces import Liveness
from worker.evaluation import report
from worker.evaluation.attacks import UNNAMED, verdict
from worker.evaluation.labels import Presentation

OUTCOMES: dict[str, Liveness] = {
    "live": Liveness(outcome="live", score=0.9),
    "spoof": Liveness(outcome="spoof", score=0.1),
    "uncertain": Liveness(outcome="uncertain", score=0.4),
}


def shown(*kinds: tuple[str, str, str]) -> tuple[list[Presentation], dict[Path, Liveness]]:
    """Presentations of (label, attack, outcome); an empty outcome is a picture that gave no answer."""
    presentations = [Presentation(Path(f"{n}.jpg"), label, attack) for n, (label, attack, _) in enumerate(kinds)]
    readings = {Path(f"{n}.jpg"): OUTCOMES[said] for n, (_, _, said) in enumerate(kinds) if said}
    return presentations, readings


def test_apcer_is_counted_per_kind_of_attack_and_the_worst_is_reported() -> None:
    verdicts = verdict(
        *shown(
            *[("spoof", "print", "spoof")] * 3,
            ("spoof", "print", "live"),
            ("spoof", "screen", "live"),
            ("spoof", "screen", "uncertain"),
            ("live", "", "live"),
        )
    )
    assert {group.name: group.passed.share for group in verdicts.species} == {"print": 0.25, "screen": 0.5}
    assert verdicts.worst is not None
    assert verdicts.worst.name == "screen"


def test_uncertain_refuses_a_live_person_too() -> None:
    outcomes = ("live", "live", "uncertain", "spoof")
    assert verdict(*shown(*[("live", "", said) for said in outcomes])).live.refused.share == 0.5


def test_pictures_without_an_answer_are_in_no_rate_but_counted() -> None:
    live = verdict(*shown(("live", "", "live"), ("live", "", ""))).live
    assert (live.judged, live.silent, live.refused.trials) == (1, 1, 1)


def test_other_labels_are_in_no_rate() -> None:
    verdicts = verdict(*shown(("photo", "", "live"), ("spoof", "", "spoof")))
    assert [group.name for group in verdicts.others] == ["photo"]
    assert [group.name for group in verdicts.species] == [UNNAMED]
    assert verdicts.live.judged == 0


def test_where_a_side_is_missing_the_report_says_so() -> None:
    lines = "\n".join(report.liveness(verdict(*shown(("photo", "", "live"))), live=0.5, spoof=0.3))
    assert "no statement about attacks is possible" in lines
    assert "no statement about live people is possible" in lines


def test_the_report_gives_counts_intervals_and_insufficient_groups() -> None:
    counted = verdict(*shown(*[("spoof", "mask", "live")] * 5, *[("spoof", "mask", "spoof")] * 5, ("live", "", "live")))
    lines = "\n".join(report.liveness(counted, live=0.5, spoof=0.3))
    assert "10 pictures: 5 live, 5 spoof, 0 uncertain  APCER 0.5 [0.24, 0.76] (5 of 10)" in lines
    assert "Too few pictures to state a rate: mask, live" in lines
