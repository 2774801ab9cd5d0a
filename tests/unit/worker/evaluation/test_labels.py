"""Tables of labelled pictures: what is read, and what is refused in one line."""

from pathlib import Path

import pytest

from shared.errors import SettingsError
from worker.evaluation.labels import Pair, Portrait, Presentation, read_pairs, read_presentations


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.jpg", "b.jpg", "owner+name/deep/c.jpg", "pypi+dist==1/d.jpg"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path


def written(folder: Path, text: str) -> Path:
    path = folder / "table.csv"
    path.write_text(text, encoding="utf-8-sig")
    return path


def test_pictures_are_found_beside_their_table(folder: Path) -> None:
    table = written(folder, "image1,image2,same,note\na.jpg,b.jpg,1,x\nb.jpg,a.jpg,No,\n")
    one, two = folder / "a.jpg", folder / "b.jpg"
    assert read_pairs(table) == [Pair(one, two, same=True), Pair(two, one, same=False)]


def test_pictures_may_be_in_another_folder(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    table = written(tmp_path_factory.mktemp("elsewhere"), "image1,image2,same\na.jpg,b.jpg,0\n")
    assert read_pairs(table, pictures=folder) == [Pair(folder / "a.jpg", folder / "b.jpg", same=False)]


def test_people_are_read_from_the_same_command(folder: Path) -> None:
    table = written(folder, "image,person\na.jpg,anna\nb.jpg,ben\n")
    assert read_pairs(table) == [Portrait(folder / "a.jpg", "anna"), Portrait(folder / "b.jpg", "ben")]


def test_a_column_names_the_group_of_a_row(folder: Path) -> None:
    people = written(folder, "image,person,group\na.jpg,anna,north\nb.jpg,ben, \n")
    assert [portrait.group for portrait in read_pairs(people)] == ["north", ""]
    pairs = written(folder, "image1,image2,same,group\na.jpg,b.jpg,0,south\n")
    assert [pair.group for pair in read_pairs(pairs)] == ["south"]


def test_tables_with_repositories_are_read_as_their_folders(folder: Path) -> None:
    table = written(folder, "repo,path,repo2,path2,same\nowner/name,deep/c.jpg,pypi:dist==1,d.jpg,0\n")
    assert read_pairs(table) == [
        Pair(folder / "owner+name" / "deep" / "c.jpg", folder / "pypi+dist==1" / "d.jpg", same=False)
    ]


def test_presentations_have_a_label_and_a_kind_of_attack(folder: Path) -> None:
    table = written(folder, "image,label,attack\na.jpg,Live,\nb.jpg,spoof,print\n")
    assert read_presentations(table) == [
        Presentation(folder / "a.jpg", "live", ""),
        Presentation(folder / "b.jpg", "spoof", "print"),
    ]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "no rows"),
        ("image1,image2,same\n", "no rows"),
        ("left,right\na.jpg,b.jpg\n", "needs the columns image1, image2, same"),
        ("image1,image2,same\na.jpg,b.jpg,maybe\n", "line 2: same must be 1 or 0"),
        ("image1,image2,same\na.jpg,,1\n", "line 2: image2 is empty"),
        ("image1,image2,same\na.jpg,z.jpg,1\n", r"1 pictures do not exist: .*z\.jpg"),
    ],
)
def test_invalid_rows_are_rejected(folder: Path, text: str, complaint: str) -> None:
    with pytest.raises(SettingsError, match=complaint) as error:
        read_pairs(written(folder, text))
    assert "\n" not in str(error.value)


def test_a_table_that_is_not_there_or_no_text_is_refused(folder: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read: No such file"):
        read_presentations(folder / "none.csv")
    (folder / "bytes.csv").write_bytes(b"\xff\xfe\x00image")
    with pytest.raises(SettingsError, match="UTF-8"):
        read_presentations(folder / "bytes.csv")


def test_many_missing_pictures_are_not_all_named(folder: Path) -> None:
    rows = "".join(f"a.jpg,none{number}.jpg,1\n" for number in range(12))
    with pytest.raises(SettingsError, match=r"12 pictures do not exist: .* and 2 more"):
        read_pairs(written(folder, "image1,image2,same\n" + rows))
