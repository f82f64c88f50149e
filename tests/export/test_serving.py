"""The requests to TensorFlow Serving that docs/deploy.md shows, as they stand there.

There is no server here. Its place is taken by what it does with a request: the inputs go to the
signature that the request names, and the outputs into the server's own response.
"""

from __future__ import annotations

import base64
import json
import re
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from code_blocks import Block, blocks_of

tf = pytest.importorskip("tensorflow", reason="a SavedModel needs the extra [train]")

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def blocks() -> list[Block]:
    return [one for one in blocks_of(ROOT / "docs" / "deploy.md") if "localhost:850" in one.code]


@pytest.fixture(scope="module")
def saved_model(blocks: list[Block]) -> Any:
    (folder,) = re.findall(r"\$PWD/([\w/]+):/models/flowers", blocks[0].code)
    # The server takes the highest number in the folder that is mounted.
    versions = [one for one in (ROOT / folder).iterdir() if one.name.isdigit()]
    return tf.saved_model.load(str(max(versions, key=lambda one: int(one.name))))


def test_json_of_curl_is_what_the_signature_takes(blocks: list[Block], saved_model: Any) -> None:
    code = blocks[0].code
    assert code.startswith("docker run") and "-e MODEL_NAME=flowers" in code
    assert code.rstrip().endswith("http://localhost:8501/v1/models/flowers:predict")
    script = f'docker() {{ :; }}\ncurl() {{ printf %s "$2"; }}\n{code}\nwait'
    sent = subprocess.run(
        ["bash", "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    # The column format of the REST API: a tensor for each input, bytes as {"b64": text}; without
    # a name of a signature it takes serving_default.
    inputs = json.loads(sent)["inputs"]
    photos = [base64.b64decode(one["b64"], validate=True) for one in inputs["image_bytes"]]
    assert photos == [(ROOT / "docs" / "sunflower.jpg").read_bytes()]
    answer = saved_model.signatures["serving_default"](image_bytes=tf.constant(photos))
    assert answer["classes"][0, 0].numpy() == b"sunflower"


@pytest.fixture
def port(saved_model: Any) -> Iterator[int]:
    """Where the stand-in for the server listens."""
    grpc = pytest.importorskip("grpc")
    apis = pytest.importorskip("tensorflow_serving.apis.prediction_service_pb2_grpc")
    from tensorflow_serving.apis import predict_pb2

    class Service(apis.PredictionServiceServicer):  # type: ignore[misc, name-defined]
        def Predict(self, request: Any, context: Any) -> Any:  # noqa: N802
            assert request.model_spec.name == "flowers"
            signature = saved_model.signatures[request.model_spec.signature_name]
            inputs = {
                name: tf.constant(tf.make_ndarray(value)) for name, value in request.inputs.items()
            }
            response = predict_pb2.PredictResponse()
            for name, value in signature(**inputs).items():
                response.outputs[name].CopyFrom(tf.make_tensor_proto(value.numpy()))
            return response

    server = grpc.server(ThreadPoolExecutor(1))
    apis.add_PredictionServiceServicer_to_server(Service(), server)
    port: int = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield port
    server.stop(None)


def test_grpc_request_is_answered(
    blocks: list[Block],
    port: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    code = blocks[1].code.replace("localhost:8500", f"127.0.0.1:{port}")
    monkeypatch.chdir(ROOT)
    exec(compile(code, str(blocks[1]), "exec"), {"__name__": "__main__"})
    name, probability = capsys.readouterr().out.split()
    assert name == "sunflower"
    assert 0.5 < float(probability) <= 1
