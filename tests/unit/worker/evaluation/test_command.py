"""The commands over pictures for the fake engine: what they print, write and refuse."""

import json
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from tests.pictures import GREEN, PINK, WHITE, YELLOW, Colour, encoded, one_face, scene
from worker.evaluation.__main__ import CALIBRATION, CURVE, main
from worker.packs.calibration import Calibration


@pytest.fixture(autouse=True)
def _fake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VULTUS_ENGINE", "fake")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, colour in {"white": WHITE, "white2": WHITE, "pink": PINK, "yellow": YELLOW}.items():
        (tmp_path / f"{name}.png").write_bytes(encoded(one_face(colour)))
    (tmp_path / "none.png").write_bytes(encoded(scene()))
    (tmp_path / "two.png").write_bytes(encoded(scene(((40, 60, 140, 160), WHITE), ((180, 60, 280, 160), PINK))))
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    return tmp_path


def table(folder: Path, text: str) -> str:
    (folder / "table.csv").write_text(text)
    return str(folder / "table.csv")


def run(*arguments: str) -> tuple[int, str]:
    lines: list[str] = []
    return main(arguments, say=lines.append), "\n".join(lines)


def test_pairs_give_rates_a_plot_and_reasons_for_exclusions(folder: Path) -> None:
    rows = [
        ("white", "white2", 1),
        ("white", "pink", 0),
        ("white", "none", 1),
        ("two", "pink", 0),
        ("broken", "pink", 0),
    ]
    text = "image1,image2,same\n" + "".join(f"{one}.png,{two}.png,{same}\n" for one, two, same in rows)
    status, said = run("pairs", table(folder, text), "--out", str(folder / "out"))
    assert status == 0
    assert "1 pairs of the same person, 1 of different people" in said
    assert "3 pictures were skipped" in said
    assert "none.png: no face was found" in said
    assert "two.png: several faces are equally prominent" in said
    assert "0.1   too few pairs: 300 of different people are needed (30 false matches), got 1" in said
    assert (folder / "out" / CURVE).read_text().startswith("<svg")
    assert not (folder / "out" / CALIBRATION).exists()


def test_many_people_give_a_table_that_a_manifest_takes(folder: Path) -> None:
    rows = ["image,person"]
    for number in range(80):
        colour: Colour = (255 - number % 4 * 16, 255, 255 - number // 4 * 2)
        (folder / f"{number}.png").write_bytes(encoded(one_face(colour)))
        rows.append(f"{number}.png,{number // 2}")
    status, said = run("pairs", table(folder, "\n".join(rows)), "--out", str(folder / "out"), "--source", "Made up.")
    assert status == 0
    assert "40 pairs of the same person, 3120 of different people" in said
    made = TypeAdapter(Calibration).validate_python(json.loads((folder / "out" / CALIBRATION).read_text()))
    assert (made.contract, made.source, made.impostor_pairs) == ("vultus-emb-fake-v1", "Made up.", 3120)
    assert [point.fmr for point in made.points] == [0.1, 0.01]


def test_a_face_that_cannot_be_recognised_counts_in_no_rate(folder: Path) -> None:
    (folder / "bad.png").write_bytes(encoded(one_face(GREEN)))
    rows = "white.png,white2.png,1\nwhite.png,pink.png,0\nbad.png,pink.png,0\n"
    status, said = run("pairs", table(folder, "image1,image2,same\n" + rows), "--out", str(folder / "out"))
    assert status == 0
    assert "1 pairs of the same person, 1 of different people" in said
    assert "bad.png: degraded" in said


def test_groups_have_rates_of_their_own_and_the_worst_is_named(folder: Path) -> None:
    rows = ["image,person,group"]
    for number in range(80):
        near = number < 40
        colour: Colour = (255, 255, 255 - number // 2) if near else (255 - number % 4 * 16, 255, 255 - number // 4 * 2)
        (folder / f"{number}.png").write_bytes(encoded(one_face(colour)))
        rows.append(f"{number}.png,{number // 2},{'near' if near else 'far'}")
    status, said = run("pairs", table(folder, "\n".join(rows)), "--out", str(folder / "out"), "--source", "Made up.")
    assert status == 0
    assert "Pairs within one group at 0.5, the threshold of the pack:" in said
    assert "Worst: near, with a false-match rate of 1" in said
    assert ", set by near" in said
    assert "0.01   too few pairs (fewer than 3,000) in far, near" in said
    made = TypeAdapter(Calibration).validate_python(json.loads((folder / "out" / CALIBRATION).read_text()))
    assert made.populations == ()


def test_a_table_of_an_earlier_run_does_not_stay_behind(folder: Path) -> None:
    (folder / "out").mkdir()
    (folder / "out" / CALIBRATION).write_text("{}")
    pairs = table(folder, "image1,image2,same\nwhite.png,white2.png,1\nwhite.png,pink.png,0\n")
    assert run("pairs", pairs, "--out", str(folder / "out"))[0] == 0
    assert not (folder / "out" / CALIBRATION).exists()


def test_liveness_prints_both_rates(folder: Path) -> None:
    rows = "white.png,live,\npink.png,live,\nyellow.png,spoof,screen\nnone.png,spoof,screen\n"
    status, said = run("liveness", table(folder, "image,label,attack\n" + rows))
    assert status == 0
    assert "screen       2 pictures: 0 live, 1 spoof, 0 uncertain, 1 not judged  APCER 0 [0, 1] (0 of 1)" in said
    assert "BPCER 0 [0, 1] (0 of 2)" in said


@pytest.mark.parametrize("command", ["pairs", "liveness"])
def test_a_missing_table_is_one_line_and_a_nonzero_status(
    command: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(command, str(folder / "none.csv"))[0] == 1
    assert "none.csv cannot be read" in capsys.readouterr().err


def test_pairs_without_a_usable_one_say_so(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("pairs", table(folder, "image1,image2,same\nwhite.png,none.png,1\n"))[0] == 1
    assert "both kinds are needed" in capsys.readouterr().err
