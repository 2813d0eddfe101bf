"""Triptych's own metrics in a scrape of the real server: exactly what was sent, in both forms of recognizer."""

from __future__ import annotations

import concurrent.futures
import io
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

import numpy as np
import onnx
import pytest
import tritonclient.grpc as triton
from google.protobuf import text_format
from onnx import helper, numpy_helper
from PIL import Image
from tritonclient.grpc.model_config_pb2 import ModelConfig
from tritonclient.utils import InferenceServerException

from ops.server.local_server import LocalServer
from ops.settings import REPOSITORY, Settings
from triptych_models.catalogue.model import CatalogueModel
from triptych_models.errors import Code
from triptych_models.metrics.families import METRICS, RECOGNITION, STAGES
from triptych_models.recognition.preprocessor import Preprocessor
from triptych_models.recognition.recognizer import Recognizer
from triptych_models.search.model import SearchModel

PATIENCE_S = 5.0
PUBLISHED_S = 1.5  # every process publishes once a second
SAMPLE = re.compile(r"^(triptych_\w+)(?:\{(.*)\})? (\S+)$", re.MULTILINE)
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


class Scraped:
    """A server, its metrics and a caller. Counters are compared with those of `begin`: tests share a server.

    Attributes:
        at_start: the metrics before the first request.
    """

    def __init__(self, server: LocalServer) -> None:
        self.server = server
        self._client = triton.InferenceServerClient(server.grpc_target)
        self.begin()
        self.at_start = self._before

    def begin(self) -> None:
        """Waits until all that was counted before is published."""
        time.sleep(PUBLISHED_S)
        self._before = self.scrape()

    def scrape(self) -> Samples:
        with urlopen(self.server.metrics_url) as page:
            text = page.read().decode()
        return {(name, frozenset(LABEL.findall(labels))): float(value) for name, labels, value in SAMPLE.findall(text)}

    def value(self, name: str, **labels: str) -> float:
        """The sum over the series that have the labels."""
        return total(self.scrape(), name, labels)

    def increase(self, name: str, **labels: str) -> float:
        """By how much a counter has grown since `begin`; every series exists from the start."""
        return self.value(name, **labels) - total(self._before, name, labels)

    def settles(self, *wanted: tuple[str, dict[str, str], float]) -> None:
        """Each counter grows by its value in time and stays there: nothing is lost, nothing comes twice."""
        assert wait_for(lambda: all(self.increase(name, **labels) == value for name, labels, value in wanted)), [
            (name, labels, value, self.increase(name, **labels)) for name, labels, value in wanted
        ]
        time.sleep(PUBLISHED_S)
        for name, labels, value in wanted:
            assert self.increase(name, **labels) == value, (name, labels)

    def recognize(self, *photos: bytes, request_id: str = "") -> triton.InferResult:
        image = triton.InferInput("image", [len(photos), 1], "BYTES")
        image.set_data_from_numpy(np.array([[photo] for photo in photos], dtype=object))
        return self._client.infer("recognizer", [image], request_id=request_id)

    def refused(self, *photos: bytes, request_id: str = "") -> str:
        with pytest.raises(InferenceServerException) as refusal:
            self.recognize(*photos, request_id=request_id)
        return str(refusal.value)

    def logged(self, part: str) -> str:
        """The one line of the server's log that has it."""

        def lines() -> list[str]:
            return [line for line in self.server.log_file.read_text().splitlines() if part in line]

        assert wait_for(lambda: bool(lines()))
        (line,) = lines()
        return line


def total(samples: Samples, name: str, labels: dict[str, str]) -> float:
    """The sum over the series that have the labels; there is one at least."""
    found = [value for (one, has), value in samples.items() if one == name and labels.items() <= has]
    assert found, f"no {name} with {labels}"
    return sum(found)


def fresh(photo: Path) -> bytes:
    """The photo as nobody has sent it before: no cache answers it."""
    return photo.read_bytes() + os.urandom(8)


def wait_for(condition: Callable[[], bool], patience_s: float = PATIENCE_S) -> bool:
    deadline_s = time.monotonic() + patience_s
    while time.monotonic() < deadline_s:
        if condition():
            return True
        time.sleep(0.1)
    return condition()


@contextmanager
def serving(repository: Path, profile: str | None) -> Iterator[Scraped]:
    settings = Settings(repository, http_port=0, grpc_port=0, metrics_port=0, profile=profile)
    with LocalServer(settings) as server:
        yield Scraped(server)


FORMS = {"fused": "cpu", "ensemble": None, "native": "cpu-native"}


@pytest.fixture(scope="module", params=FORMS)
def form(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scraped]:
    """Each form of `recognizer`: one model, Python steps, steps of which the network runs in a native backend."""
    is_native = request.param == "native"
    repository = with_native_stand_in(tmp_path_factory.mktemp("native") / "repository") if is_native else REPOSITORY
    with serving(repository, FORMS[request.param]) as scraped:
        yield scraped


@pytest.fixture
def scraped(form: Scraped) -> Scraped:
    """The server of a form, which other tests have asked before."""
    form.begin()
    return form


only_fused = pytest.mark.parametrize("form", ["fused"], indirect=True)


def copied(folder: Path) -> Path:
    return Path(shutil.copytree(REPOSITORY, folder, ignore=shutil.ignore_patterns("__pycache__")))


# What Triton's onnxruntime backend does, as far as callers and metrics can tell, for servers that have no such backend.
STAND_IN_SLEEPS_S = 0.02
STAND_IN = f"""
import json, time
import numpy as np
import onnxruntime as ort
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def initialize(self, args):
        config = json.loads(args["model_config"])
        self.session = ort.InferenceSession(args["model_repository"] + "/1/model.onnx")
        self.outputs = [output["name"] for output in config["output"]]

    def execute(self, requests):
        responses = []
        for request in requests:
            time.sleep({STAND_IN_SLEEPS_S})
            pixels = pb_utils.get_input_tensor_by_name(request, "pixels").as_numpy()
            arrays = self.session.run(self.outputs, {{"pixels": pixels}})
            tensors = [pb_utils.Tensor(name, array) for name, array in zip(self.outputs, arrays)]
            responses.append(pb_utils.InferenceResponse(tensors))
        return responses
"""


def with_native_stand_in(folder: Path) -> Path:
    """The repository, its profile `cpu-native` as placed, but for the backend of what would run natively."""
    copied(folder)
    swapped = []
    for file in folder.glob("models/*/configs/cpu-native.pbtxt"):
        config = text_format.Parse(file.read_text(), ModelConfig())
        if config.backend == "onnxruntime":
            config.backend = "python"
            config.ClearField("parameters")
            file.write_text(text_format.MessageToString(config))
            (file.parents[1] / "1/model.py").write_text(STAND_IN)
            swapped.append(config.name)
    assert swapped == ["embedder"]
    return folder


def pixels(photo: Path) -> int:
    with Image.open(photo) as image:
        width_px, height_px = image.size
    return int(width_px * height_px)


def jpeg(width_px: int, height_px: int) -> bytes:
    file = io.BytesIO()
    Image.effect_noise((width_px, height_px), 50).convert("RGB").save(file, "JPEG")
    return file.getvalue()


def test_every_family_is_there_before_the_first_request_in_every_profile(form: Scraped) -> None:
    samples = form.at_start  # what the warm-up would have counted would be there
    names = {name for name, _ in samples}
    is_fused = form.server.settings.profile == "cpu"
    for metric in METRICS:
        suffixes = ("_bucket", "_sum", "_count") if metric.buckets else ("",)
        if metric.name.startswith("triptych_answer_cache") and not is_fused:
            continue  # an ensemble has no answer cache
        assert {metric.name + suffix for suffix in suffixes} <= names
    at_rest = {name for (name, _), value in samples.items() if value}
    moving = "shared_memory_free_bytes index_rebuild_progress_ratio model_instances model_alive_seconds_total"
    assert at_rest <= {f"triptych_{name}" for name in moving.split()}


def test_scrape_has_declared_labels_alone(scraped: Scraped, photos: list[Path]) -> None:
    scraped.recognize(fresh(photos[0]))
    scraped.refused(b"no image", request_id="x" * 1000)
    declared = {metric.name: metric for metric in METRICS}
    for name, labels in scraped.scrape():
        metric = declared.get(name) or declared[re.sub("_(bucket|sum|count)$", "", name)]
        assert {key for key, _ in labels} - {"le"} == set(metric.labels)
        for key, value in labels:
            assert key in ("le", "category") or value in metric.labels[key]


def test_good_and_bad_photos_are_counted_exactly(scraped: Scraped, photos: list[Path]) -> None:
    contents = [fresh(photo) for photo in photos]
    scores = [scraped.recognize(content).as_numpy("category_scores")[0].max() for content in contents[:12]]
    scores += list(scraped.recognize(*contents[12:]).as_numpy("category_scores").max(axis=1))
    for content in (b"no picture", contents[0][:1000], b""):
        scraped.refused(content)
    scraped.refused(jpeg(8000, 6300))  # 50.4 megapixels
    good, requests = 20.0, 13.0
    scraped.settles(
        ("triptych_photos_total", {}, good),
        ("triptych_top1_score_count", {}, good),
        ("triptych_predictions_total", {}, good),
        ("triptych_predictions_total", {"category": "Shoes"}, 1),
        ("triptych_abstained_total", {}, sum(score < 0.3 for score in scores)),
        ("triptych_photo_size_bytes_sum", {}, sum(map(len, contents))),
        ("triptych_photo_size_bytes_bucket", {"le": "+Inf"}, good),
        ("triptych_photo_size_pixels_sum", {}, sum(map(pixels, photos))),
        *(("triptych_stage_duration_seconds_count", {"stage": stage}, requests) for stage in STAGES),
        ("triptych_recognition_duration_seconds_count", {"model": "recognizer"}, requests),
        ("triptych_refusals_total", {}, 4),
        ("triptych_refusals_total", {"code": "image_unreadable"}, 3),
        ("triptych_refusals_total", {"code": "image_too_large"}, 1),
    )
    assert 0 < scraped.increase("triptych_stage_duration_seconds_sum", stage="embed") < 60
    assert scraped.increase("triptych_top1_score_sum") == pytest.approx(sum(scores), rel=1e-5)


def test_model_is_the_step_in_the_ensemble_and_recognizer_in_the_fused_model(
    scraped: Scraped, photos: list[Path]
) -> None:
    scraped.recognize(fresh(photos[0]))
    is_fused = scraped.server.settings.profile == "cpu"
    models = dict.fromkeys(STAGES, "recognizer") if is_fused else dict(zip(STAGES, RECOGNITION[1:], strict=True))
    scraped.settles(
        *(("triptych_stage_duration_seconds_count", {"stage": stage, "model": models[stage]}, 1) for stage in STAGES),
        ("triptych_photos_total", {"model": models["classify"]}, 1),
    )


@only_fused
def test_instances_add_up_when_they_count_at_once(scraped: Scraped, photos: list[Path]) -> None:
    contents = [fresh(photos[n % 20]) for n in range(200)]
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        list(pool.map(scraped.recognize, contents))
    scraped.settles(
        ("triptych_photos_total", {}, 200),
        ("triptych_answer_cache_misses_total", {}, 200),
        ("triptych_stage_duration_seconds_count", {"stage": "decode"}, 200),
        ("triptych_stage_duration_seconds_bucket", {"stage": "embed", "le": "+Inf"}, 200),
        ("triptych_photo_size_bytes_sum", {}, sum(map(len, contents))),
    )


@only_fused
def test_repeated_photo_is_an_answer_and_a_hit_and_in_no_stage(scraped: Scraped, photos: list[Path]) -> None:
    content = fresh(photos[0])
    for _ in range(3):
        scraped.recognize(content)
    scraped.settles(
        ("triptych_photos_total", {}, 3),
        ("triptych_top1_score_count", {}, 3),
        ("triptych_answer_cache_hits_total", {}, 2),
        ("triptych_answer_cache_misses_total", {}, 1),
        ("triptych_photo_size_bytes_count", {}, 1),
        *(("triptych_stage_duration_seconds_count", {"stage": stage}, 1) for stage in STAGES),
    )


def test_drift_rises_when_all_photos_are_alike(scraped: Scraped) -> None:
    assert total(scraped.at_start, "triptych_embedding_drift_ratio", {}) == 0
    before = scraped.value("triptych_embedding_drift_ratio", model="embedder")
    for _ in range(15):
        scraped.recognize(*[jpeg(300, 300)] * 8)
    # 120 photos of noise have a twelfth of the weight; the ratio is 1 - cos, 2 at most.
    assert wait_for(lambda: before + 0.001 < scraped.value("triptych_embedding_drift_ratio", model="embedder") < 2)


def test_refusal_is_logged_with_its_request_id_as_information(scraped: Scraped) -> None:
    scraped.refused(b"no photo", request_id="order-7")
    line = scraped.logged("order-7")
    assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ I ", line)
    for part in ("refused", "code=image_unreadable", "request_id=order-7", "got plain text"):
        assert part in line


def unable_to_batch(onnx_file: Path) -> bytes:
    """The network with one more node, that fails when it is given more than one photo."""
    model = onnx.load(onnx_file)
    (node,) = [node for node in model.graph.node if "embedding" in node.output]
    node.output[list(node.output).index("embedding")] = "any_embedding"
    one_row = numpy_helper.from_array(np.array([1, 1280], np.int64), "one_row")
    model.graph.initializer.append(one_row)
    model.graph.node.append(helper.make_node("Reshape", ["any_embedding", "one_row"], ["embedding"]))
    return model.SerializeToString()


@pytest.fixture
def broken_embedder(tmp_path: Path) -> Path:
    """The repository with an embedder that loads, and fails on two photos at once."""
    folder = copied(tmp_path / "repository")
    network_file = folder / "models/embedder/1/model.onnx"
    network_file.write_bytes(unable_to_batch(network_file))
    network = folder / "triptych_models/recognition/network.py"
    lone_only, changes = re.subn(
        r"^(WARM_UP = .*?)(, \([2-9], False\))+\)$", r"\1)", network.read_text(), flags=re.MULTILINE
    )
    assert changes == 1
    network.write_text(lone_only)
    for config in (folder / "models/embedder/config.pbtxt", folder / "models/embedder/configs/cpu.pbtxt"):
        without_warm_up = text_format.Parse(config.read_text(), ModelConfig())
        without_warm_up.ClearField("model_warmup")  # which asks for eight at once
        config.write_text(text_format.MessageToString(without_warm_up))
    return folder


@pytest.mark.parametrize("profile", ["cpu", None])
def test_failure_of_ours_is_told_apart_from_a_bad_photo(
    broken_embedder: Path, photos: list[Path], profile: str | None
) -> None:
    with serving(broken_embedder, profile) as scraped:
        contents = [photo.read_bytes() for photo in photos[:3]]
        scraped.recognize(contents[0])
        message = scraped.refused(contents[1], contents[2], request_id="order-8")
        assert "INTERNAL" in message
        assert "[internal]" in message
        assert "the request is not the cause" in message
        assert "onnx" not in message.lower()
        scraped.settles(
            ("triptych_refusals_total", {}, 1),
            ("triptych_refusals_total", {"code": "internal"}, 1),
            ("triptych_photos_total", {}, 1),
            ("triptych_stage_duration_seconds_count", {"stage": "embed"}, 1),
        )
        assert re.match(r"\S+Z E .*failed.*Reshape", scraped.logged("order-8"))


def test_release_without_a_reference_has_no_drift(tmp_path: Path, photos: list[Path]) -> None:
    folder = copied(tmp_path / "repository")
    (folder / "models/embedder/1/reference.json").unlink()
    with serving(folder, "cpu") as scraped:
        scraped.recognize(photos[0].read_bytes())
        scraped.settles(("triptych_photos_total", {}, 1))
        assert "triptych_embedding_drift_ratio" not in {name for name, _ in scraped.scrape()}


def test_every_code_of_a_model_is_there_from_the_start(form: Scraped) -> None:
    models = {"recognizer": Recognizer} if form.server.settings.profile == "cpu" else {"preprocess": Preprocessor}
    for name, model in {**models, "index": SearchModel, "catalogue": CatalogueModel}.items():
        for code in (*model.codes, Code.REQUEST_INVALID, Code.INTERNAL):
            assert total(form.at_start, "triptych_refusals_total", {"model": name, "code": code.text}) == 0


def test_time_of_the_network_is_taken_whatever_runs_it(scraped: Scraped, photos: list[Path]) -> None:
    for photo in photos[:5]:
        scraped.recognize(fresh(photo))
    labels = {"model": "recognizer" if scraped.server.settings.profile == "cpu" else "embedder", "stage": "embed"}
    scraped.settles(("triptych_stage_duration_seconds_count", labels, 5))
    # The stand-in of the native backend sleeps so long for each request.
    least_s = 5 * STAND_IN_SLEEPS_S if scraped.server.settings.profile == "cpu-native" else 0
    assert scraped.increase("triptych_stage_duration_seconds_sum", **labels) > least_s
    assert scraped.increase("triptych_recognition_duration_seconds_sum") > least_s
