"""The table of effects over pictures for the fake engine: what it counts, and what it leaves out."""

from pathlib import Path

import numpy as np
import pytest

from shared.faces import Embedding, Recognisability
from shared.operations import OneFaceParams
from tests.pictures import GREEN, PINK, WHITE, YELLOW, encoded, one_face, scene
from worker.engine.fake import FakeEngine
from worker.evaluation.__main__ import main
from worker.evaluation.effects import effects
from worker.evaluation.effects_damage import damage
from worker.evaluation.effects_laboratory import Laboratory, face_width, laboratory, percent, similarities
from worker.evaluation.effects_registration import registration
from worker.evaluation.labels import Portrait
from worker.evaluation.people import people

COLOURS = {"white": WHITE, "white2": WHITE, "pink": PINK, "pink2": PINK, "green": GREEN, "yellow": YELLOW}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, colour in COLOURS.items():
        (tmp_path / f"{name}.png").write_bytes(encoded(one_face(colour)))
    (tmp_path / "none.png").write_bytes(encoded(scene()))
    (tmp_path / "two.png").write_bytes(encoded(scene(((40, 60, 140, 160), WHITE), ((180, 60, 280, 160), PINK))))
    return tmp_path


def read(folder: Path, *names: str) -> Laboratory:
    portraits = [Portrait(folder / f"{name}.png", name.rstrip("2")) for name in names]
    return laboratory(
        FakeEngine(), people(portraits, most=99), params=OneFaceParams(), max_pixels=10_000_000, threads=2
    )


def row(lines: list[str], *start: str) -> list[str]:
    """The cells behind these first ones, in the last line that starts with them."""
    rows = [line.replace(" %", "%").split() for line in lines]
    return [cells for cells in rows if cells[: len(start)] == list(start)][-1][len(start) :]


def test_pictures_without_one_clear_face_are_left_out_with_the_reason(folder: Path) -> None:
    material = read(folder, "white", "none", "two")
    assert [sample.path.stem for sample in material.samples] == ["white"]
    assert {path.stem: reason for path, reason in material.refused.items()} == {
        "none": "no face was found",
        "two": "several faces are equally prominent",
    }
    assert material.people.same.shape == (1, 1)


def test_a_working_copy_has_the_face_and_its_surroundings(folder: Path) -> None:
    (folder / "large.png").write_bytes(encoded(scene(((1000, 600, 1800, 1500), WHITE), size=(3000, 2000))))
    material = read(folder, "large", "white")
    for sample in material.samples:
        x1, y1, x2, y2 = sample.face.box
        assert x2 - x1 <= 200.5
        assert sample.copy.shape[1] <= 3 * (x2 - x1) + 3
        inside = sample.copy[round(y1) : round(y2), round(x1) : round(x2)]
        assert (inside.max(axis=(0, 1)) > 200).all()
    widths = [face_width(sample, material.picture(sample.path)) for sample in material.samples]
    scales = [material.picture(sample.path).scale[0] for sample in material.samples]
    assert [round(width * scale) for width, scale in zip(widths, scales, strict=True)] == [800, 100]


def test_damage_counts_strangers_before_and_after(folder: Path) -> None:
    lines = list(damage(read(folder, "white", "white2", "pink", "pink2", "green")))
    assert "5 pictures, 8 pairs of different people, 2 of one person" in lines[0]
    assert row(lines, "undamaged") == ["100.0%", "0.0%", "0.0%", "100.0%", "0.0%"]
    assert row(lines, "2%", "of", "the", "light") == ["0.0%", "-", "-", "-", "-"]


def test_registration_counts_what_profiles_and_gates_refuse(folder: Path) -> None:
    lines = list(registration(read(folder, "white", "white2", "green", "yellow")))
    assert row(lines, "as", "they", "are", "standard") == ["50.0%", "75.0%", "100.0%", "100.0%", "0"]
    assert row(lines, "recognisability")[:2] == ["1", "(1)"]
    assert row(lines, "liveness")[:2] == ["1", "(1)"]
    assert not [line for line in lines if line.startswith("contrast")]


def test_an_accepted_stranger_among_the_pictures_of_a_person_is_counted(folder: Path) -> None:
    portraits = [Portrait(folder / f"{name}.png", "one") for name in ("white", "white2", "pink")]
    material = laboratory(
        FakeEngine(), people(portraits, most=9), params=OneFaceParams(), max_pixels=10_000_000, threads=2
    )
    assert row(list(registration(material)), "as", "they", "are", "off")[-1] == "1"


def test_similarities_are_of_pairs_that_both_have_a_face() -> None:
    def embedding(*vector: float, recognisable: bool = True) -> Embedding:
        verdict = Recognisability(recognisable=recognisable)
        return Embedding(vector=list(vector), length=1.0, contract="c", recognisability=verdict)

    cells = [embedding(1, 0), None, embedding(0, 1), embedding(0, 1, recognisable=False)]
    values, sure = similarities(cells, ~np.eye(4, dtype=bool))
    assert values.tolist() == [0, 0, 1]
    assert sure.tolist() == [True, False, False]


def test_a_share_of_nothing_is_a_dash() -> None:
    assert (percent(np.array([], bool)), percent(np.array([True, False, False]))) == ("-", "33.3 %")


def test_further_sections_are_functions_of_the_laboratory(folder: Path) -> None:
    material = read(folder, "white")
    assert list(effects(material, (lambda each: iter([f"{len(each.samples)} sample"]),))) == ["", "1 sample"]


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> tuple[int, str]:
    monkeypatch.setenv("VULTUS_ENGINE", "fake")
    lines: list[str] = []
    return main(["effects", *arguments], say=lines.append), "\n".join(lines)


def test_the_command_reads_pairs_of_a_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "pairs.csv").write_text("image1,image2,same\nwhite.png,white2.png,1\nwhite.png,none.png,0\n")
    status, text = run(monkeypatch, "--pictures", str(folder))
    assert status == 0
    assert "none.png: no face was found" in text
    assert "VERIFICATION of damaged pictures at 0.5: 2 pictures" in text
    assert "REGISTRATION of 2 pictures" in text


def test_the_command_reads_a_table_of_people_up_to_a_number(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "own.csv").write_text("image,person\nwhite.png,a\nwhite2.png,a\npink.png,b\npink2.png,b\n")
    status, text = run(monkeypatch, str(folder / "own.csv"), "--most", "3")
    assert status == 0
    assert "3 pictures, 2 pairs of different people, 1 of one person" in text


def test_pictures_without_any_face_are_one_line_and_a_nonzero_status(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "own.csv").write_text("image,person\nnone.png,a\n")
    assert run(monkeypatch, str(folder / "own.csv"))[0] == 1
    assert "has exactly one prominent face" in capsys.readouterr().err
