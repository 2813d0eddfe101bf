"""A shop's own labels, from photos to the answers of the real server."""

from __future__ import annotations

import csv
import json
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from export.cli.main import main
from ops.server.local_server import LocalServer
from ops.settings import REPOSITORY, Settings
from triptych import Client

# One photo of some 30 is 3 points: equal within 0.3 is the very same photos right.
MAX_ACCURACY_DIFFERENCE = 0.003

CROPS = 14


@pytest.fixture(scope="module")
def shop(photos: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of crops: what they show, which side of the photo they are from (hard to tell), gaps in the labels."""
    folder = tmp_path_factory.mktemp("shop")
    draw = random.Random(0)
    with (folder / "shop.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "category", "side"])
        for photo in photos[:8]:
            with Image.open(photo) as opened:
                image = opened.convert("RGB")
            for number in range(CROPS):
                side = number % 2
                width_px, height_px = image.width // 3, round(image.height * draw.uniform(0.3, 0.6))
                left_px = draw.randrange(width_px // 2) + side * (image.width // 2)
                top_px = draw.randrange(image.height - height_px)
                name = f"{photo.stem}-{number}.jpg"
                image.crop((left_px, top_px, left_px + width_px, top_px + height_px)).save(folder / name)
                writer.writerow([name, photo.stem.split("_")[1], "" if number == 0 else ("left", "right")[side]])
    return folder


@pytest.fixture(scope="module")
def trained(shop: Path) -> Path:
    arguments = ["train", str(shop / "shop.csv"), "--output", str(shop / "trained"), "--cache", str(shop / "cache")]
    assert main([*arguments, "--views", "2", "--trials", "2", "--split", "0.5,0.25,0.25"]) == 0
    return shop / "trained"


@pytest.fixture(scope="module")
def placed(shop: Path, trained: Path, two_photos: Path) -> Path:
    arguments = ["build", "--heads", str(trained), "--repository", str(shop / "served"), "--photos", str(two_photos)]
    assert main([*arguments, "--cores", "1", "--profiles", "cpu,cpu-native,gpu"]) == 0
    return shop / "served"


@pytest.fixture(scope="module", params=["cpu", None], ids=["fused", "ensemble"])
def client(request: pytest.FixtureRequest, placed: Path) -> Iterator[Client]:
    settings = Settings(http_port=0, grpc_port=0, metrics_port=0, repository=placed, profile=request.param)
    with LocalServer(settings) as server, Client(server.grpc_target) as client:
        yield client


def test_served_accuracy_on_the_test_split_is_the_training_reports(client: Client, shop: Path, trained: Path) -> None:
    metrics = json.loads((trained / "metrics.json").read_text())
    rows = list(csv.DictReader((trained / "split.csv").read_text().splitlines()))
    rows = [row for row in rows if row["split"] == "test"]
    answers = [client.recognize(shop / row["photo"], top_k=1) for row in rows]
    served = {
        "category": [(row["category"], answer.labels[0].name) for row, answer in zip(rows, answers, strict=True)],
        "side": [
            (row["side"], answer.attributes["side"][0].name)
            for row, answer in zip(rows, answers, strict=True)
            if row["side"]
        ],
    }
    for attribute, pairs in served.items():
        reported = metrics[attribute]["test"]
        assert len(pairs) == reported["photos"]
        accuracy = sum(expected == got for expected, got in pairs) / len(pairs)
        assert accuracy == pytest.approx(reported["accuracy"], abs=MAX_ACCURACY_DIFFERENCE)
    # Better than chance, or equal figures would prove little; and one of the heads makes mistakes.
    assert metrics["category"]["test"]["accuracy"] > 0.5
    assert min(metrics[attribute]["test"]["accuracy"] for attribute in metrics) < 1


def test_example_finds_the_accuracy_of_the_training(placed: Path, shop: Path, trained: Path, tmp_path: Path) -> None:
    example = REPOSITORY.parent / "client/examples/recognize_split.py"
    with LocalServer(Settings(http_port=0, grpc_port=0, metrics_port=0, repository=placed)) as server:
        run = [sys.executable, str(example), str(trained), str(shop), server.grpc_target]
        done = subprocess.run(run, capture_output=True, text=True, check=False, timeout=200)
        assert done.returncode == 0, done.stderr
        assert {line.partition(":")[0] for line in done.stdout.splitlines()} == {"category", "side"}
        # It can say no: other figures are not what is served.
        changed = tmp_path / "trained"
        shutil.copytree(trained, changed)
        metrics = json.loads((changed / "metrics.json").read_text())
        metrics["side"]["test"]["accuracy"] -= 0.04
        (changed / "metrics.json").write_text(json.dumps(metrics))
        run[2] = str(changed)
        assert subprocess.run(run, capture_output=True, check=False, timeout=200).returncode == 1


def test_recognition_has_the_shops_classes_and_what_a_shop_sells(client: Client, shop: Path) -> None:
    photo = next(shop.glob("*-3.jpg"))
    recognition = client.recognize(photo, top_k=8)
    names = {path.stem.split("_")[1] for path in shop.glob("imagenet_*.jpg")}
    assert {label.name for label in recognition.labels} == names
    assert sum(label.score for label in recognition.labels) == pytest.approx(1, abs=1e-4)
    assert {label.name for label in recognition.attributes["side"]} == {"left", "right"}
    assert 0 <= recognition.retail_score <= 1
    assert recognition.embedding.shape == (1280,)


def test_every_profile_has_the_trained_outputs(placed: Path) -> None:
    for profile in ("cpu", "cpu-native", "gpu"):
        text = (placed / f"models/classifier/configs/{profile}.pbtxt").read_text()
        assert 'label_filename: "side_labels.txt"' in text
        assert "side_scores" in (placed / f"models/recognizer/configs/{profile}.pbtxt").read_text()
    assert (placed / "models/recognizer/side_labels.txt").read_text() == "left\nright\n"
    assert (placed / "models/classifier/side_labels.txt").read_text() == "left\nright\n"


def test_configs_lose_the_outputs_again_when_there_are_no_heads(placed: Path) -> None:
    from export.repository.configs import read_configs, read_shape, reshape_configs

    configs = read_configs(placed)
    shape = read_shape(configs)
    assert shape.heads == {"side": 2}
    bare = reshape_configs(configs, read_shape(read_configs(REPOSITORY)))
    assert [output.name for output in bare["classifier"].output] == ["category_scores", "retail_score"]
    assert "side_scores" not in str(bare["recognizer"])


def test_heads_are_refused_when_they_say_something_else_than_in_training(trained: Path) -> None:
    from export.errors import VerificationError
    from export.training.heads.probe import require_same_scores
    from export.training.heads.trained_folder import read_trained_folder

    probe = read_trained_folder(trained).tensors("probe.safetensors")
    require_same_scores(probe, probe)
    with pytest.raises(VerificationError, match="side_scores of the probe differ"):
        require_same_scores(probe, {**probe, "side_scores": probe["side_scores"][:, ::-1]})


def test_heads_are_refused_when_the_backbone_is_another(trained: Path) -> None:
    from export.errors import VerificationError
    from export.training.heads.probe import require_same_backbone
    from export.training.heads.trained_folder import read_trained_folder

    probe = read_trained_folder(trained).tensors("probe.safetensors")
    require_same_backbone(probe, lambda pixels: probe["features"] * 1.0001)
    with pytest.raises(VerificationError, match="another backbone"):
        require_same_backbone(probe, lambda pixels: probe["features"][:, ::-1])
    with pytest.raises(VerificationError, match="does not accept images of 224 x 224 px"):
        require_same_backbone(probe, lambda pixels: (_ for _ in ()).throw(RuntimeError("dims")))
