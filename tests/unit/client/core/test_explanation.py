"""Explanations through a real client over the fake server, and how they are drawn."""

from __future__ import annotations

import asyncio
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from triptych import Client, ContractMismatch, Explanation, InvalidInput, Label, UnreadableImage, draw_heat_map
from triptych.cli.main import main
from triptych.results import Timing
from triptych.testing import FakeServer, TransportError, fake_async_client, fake_client


def photo_of(width_px: int, height_px: int, orientation: int = 1) -> bytes:
    """Grey."""
    file = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new("RGB", (width_px, height_px), (128, 128, 128)).save(file, "JPEG", exif=exif, quality=95)
    return file.getvalue()


def explanation_of(heat: list[list[float]], crop_ratio: float = 0.875) -> Explanation:
    return Explanation(
        attribute="category",
        label=Label("shoe", "Shoes", 0.9, 3),
        heat_map=np.array(heat, np.float32),
        crop_ratio=crop_ratio,
        model="explainer",
        model_version="1",
        request_id="",
        timing=Timing(0.0, 0.0, 1),
    )


def test_best_label_is_explained_unless_another_is_named(client: Client) -> None:
    recognition = client.recognize(b"a shoe", top_k=2)
    explanation = client.explain(b"a shoe")
    top = recognition.top
    assert top is not None
    assert (explanation.label.name, explanation.label.index) == (top.name, top.index)
    # Classes come with scores of six digits.
    assert explanation.label.score == pytest.approx(top.score, abs=1e-6)
    assert explanation.heat_map.shape == (7, 7)
    second = recognition.labels[1]
    assert client.explain(b"a shoe", label=second).label.name == second.name
    assert client.explain(b"a shoe", label=second.index).label.index == second.index


def test_async_client_explains_alike() -> None:
    async def explain() -> Explanation:
        async with fake_async_client(FakeServer()) as client:
            return await client.explain(b"a shoe")

    found, expected = asyncio.run(explain()), fake_client(FakeServer()).explain(b"a shoe")
    assert found.label == expected.label
    assert np.array_equal(found.heat_map, expected.heat_map)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"attribute": "brand"}, "expected one of category"),
        ({"attribute": ""}, "attribute is ''"),
        ({"label": 10**6}, "expected 0 to"),
        ({"label": -1}, "label is -1"),
        ({"label": "shoe"}, "label is 'shoe'"),
        ({"label": True}, "label is True"),
    ],
)
def test_explanation_is_refused_when_it_cannot_be(client: Client, arguments: dict[str, object], said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        client.explain(b"a shoe", **arguments)  # type: ignore[arg-type]


def test_server_without_explainer_is_told_apart() -> None:
    server = FakeServer()
    server.fail_next(TransportError("NOT_FOUND", "Request for unknown model: 'explainer' is not found"))
    with pytest.raises(ContractMismatch, match="`explainer` is not deployed"):
        fake_client(server).explain(b"a shoe")


@pytest.mark.parametrize(
    ("size", "box"), [((512, 512), (32, 32, 480, 480)), ((800, 400), (225, 25, 575, 375)), ((1, 1), (0, 0, 1, 1))]
)
def test_square_that_was_seen_is_the_middle_of_the_short_side(
    size: tuple[int, int], box: tuple[int, int, int, int]
) -> None:
    assert explanation_of([[1.0]]).seen(*size) == box


def test_heat_is_drawn_where_the_map_is_hot_on_the_upright_photo() -> None:
    heat = [[0.0] * 7 for _ in range(7)]
    heat[0][6] = 2.0  # top right
    heat[6][0] = -9.0  # speaks against: not drawn
    drawn = np.asarray(draw_heat_map(photo_of(200, 400, orientation=6), explanation_of(heat, crop_ratio=1.0)), int)
    assert drawn.shape == (200, 400, 3)  # lies on its side in the file
    redness = drawn[:, :, 0] - drawn[:, :, 2]
    row, column = np.unravel_index(redness.argmax(), redness.shape)
    assert row < 40
    assert 260 < column < 300  # the square is columns 100 to 300
    assert abs(redness[150:, 100:150]).max() <= 3  # JPEG's own noise
    # What was not seen is darker, the rest is as it was.
    assert drawn[100, 50].mean() == pytest.approx(128 * 0.45, abs=2)
    assert drawn[100, 150].mean() == pytest.approx(128, abs=2)


def test_photo_that_only_the_server_reads_cannot_be_drawn_on() -> None:
    with pytest.raises(UnreadableImage, match="cannot be drawn on"):
        draw_heat_map(b"no photo", explanation_of([[1.0]]))


def test_command_draws_and_says_the_label(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "shoe.jpg").write_bytes(photo_of(300, 200))
    monkeypatch.chdir(tmp_path)
    server = FakeServer()
    expected = fake_client(server).explain((tmp_path / "shoe.jpg").read_bytes()).label

    def opened(**_: object) -> Client:
        return fake_client(server)

    assert main(["explain", "shoe.jpg", "-o", "out.png"], open_client=opened) == 0
    assert str(expected) in capsys.readouterr().out
    with Image.open("out.png") as picture:
        assert picture.size == (300, 228)
    assert main(["explain", "shoe.jpg", "--json"], open_client=opened) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["label"], np.shape(told["heat_map"])) == (str(expected), (7, 7))
    for words, said in ((["shoe.jpg"], "No output was named"), (["shoe.jpg", "-o", "x.gif"], "ends in .png")):
        with pytest.raises(SystemExit) as end:
            main(["explain", *words], open_client=opened)
        assert end.value.code == 2
        assert said in capsys.readouterr().err
    assert main(["explain", "shoe.jpg", "-o", "no/where.png"], open_client=opened) == 1
    assert "cannot be written" in capsys.readouterr().err
