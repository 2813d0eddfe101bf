"""The code of the `gpu-torch` profile, run by the real server on the CPU: all of it but CUDA itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import tritonclient.grpc as triton
from google.protobuf import text_format
from PIL import Image
from tritonclient.grpc.model_config_pb2 import ModelConfig, ModelInstanceGroup
from tritonclient.utils import InferenceServerException

from export.cli.main import main
from export.graphs.building import torch_predictor
from export.repository.configs import MODELS
from export.repository.layout import model_file
from export.sources.loading import BackboneChoice, load_backbone
from export.verification.encodings import encode, encoders
from export.verification.photo_parity import Predictor, compare, encode_all
from ops.server.local_server import LocalServer
from ops.settings import Settings

Floats = npt.NDArray[np.float32]


@pytest.fixture(scope="module")
def torch_server(tmp_path_factory: pytest.TempPathFactory, two_photos: Path) -> object:
    """As placed, but for the kind of device and the batch a CPU is warmed up with."""
    repository = tmp_path_factory.mktemp("torch") / "repository"
    words = ["build", "--profiles", "gpu-torch", "--photos", str(two_photos), "--repository", str(repository)]
    assert main(words) == 0
    for model in MODELS:
        file = repository / model_file(model, "configs/gpu-torch.pbtxt")
        config = text_format.Parse(file.read_text(), ModelConfig())
        for group in config.instance_group:
            group.kind = ModelInstanceGroup.KIND_CPU
        for sample in config.model_warmup:
            sample.batch_size = min(sample.batch_size, 8)
        file.write_text(text_format.MessageToString(config))
    settings = Settings(http_port=0, grpc_port=0, metrics_port=0, repository=repository, profile="gpu-torch")
    with LocalServer(settings) as server:
        yield server


def test_torch_profile_answers_as_the_reference_in_every_encoding(
    torch_server: LocalServer, answers_of: Callable[[LocalServer], Predictor], photos: list[Path]
) -> None:
    backbone = load_backbone(BackboneChoice(), photos)
    parity = compare(
        encode_all(photos, per_encoding=1), backbone.transform, torch_predictor(backbone), answers_of(torch_server)
    )
    print(f"\n{parity}")
    # No DCT-scaled decoding here; another JPEG decoder and another antialiased resize.
    assert parity.cosine_min >= 0.995, parity.worst
    assert parity.top1_agreement >= 0.99


def test_torch_profile_answers_a_batch_of_all_kinds_and_refuses_a_damaged_photo_by_number(
    torch_server: LocalServer, photos: list[Path]
) -> None:
    client = triton.InferenceServerClient(torch_server.grpc_target)
    with Image.open(photos[0]) as opened:
        image = opened.convert("RGB")
    contents = [encoders()[name](image) for name in ("exif 6", "png", "cmyk jpeg", "grey jpeg", "exif 6")]

    def ask(batch: list[bytes]) -> Floats:
        tensor = triton.InferInput("image", [len(batch), 1], "BYTES")
        tensor.set_data_from_numpy(np.array([[photo] for photo in batch], dtype=object))
        answer: Floats = client.infer("recognizer", [tensor]).as_numpy("embedding")
        return answer

    together = ask(contents)
    alone = np.concatenate([ask([content]) for content in contents])
    # The same arithmetic in another batch size: float32 summed in another order.
    np.testing.assert_allclose(together, alone, atol=1e-5)
    cut_short = encode(image, "PNG")[:500]
    with pytest.raises(InferenceServerException, match=r"damaged or cut short.*photo 2 of 2"):
        ask([contents[0], cut_short])
