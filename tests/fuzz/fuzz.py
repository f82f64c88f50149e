"""Feeds mutated photos and models to the predictor: python tests/fuzz/fuzz.py --photos 20000

Every case is made from its number, so that a finding can be made again. Cases run in processes
that may die of them. A case is answered or refused with a `UserError`; all else is a finding: an
end of the process, another exception, more than 10 seconds, or more than a gibibyte for a photo.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import signal
import sys
import tempfile
import traceback
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from io import BytesIO
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
from bad_photos import (
    P3,
    encode,
    grey_16_bits,
    ink_profile,
    matrix_profile,
    picture,
    png_file,
    raw_png,
    transparent_palette,
)
from PIL import Image, features

from keras_flowers.errors import UserError
from keras_flowers.inference.bulk import PhotoInput, predict_photos
from keras_flowers.inference.classifier import load_classifier
from keras_flowers.inference.metadata import (
    LABELS_MEMBER,
    PROVENANCE_MEMBER,
    Metadata,
    add_to_archive,
    add_to_saved_model,
)

SECONDS = 10
MAX_BYTES = 1 << 30
CASES_IN_A_PROCESS = 500
LABELS = ("rose", "tulip", "daisy")
IMAGE_SIZE = (24, 24)

# Mutations.


def mutated(random: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
    """`data` with some bytes changed, cut off, left out, repeated or taken from another file."""
    result = bytearray(data)
    for _ in range(random.choice([1, 1, 1, 2, 4])):
        place = random.randrange(len(result) + 1)
        length = random.choice([1, 2, 4, 16, random.randint(1, max(len(result), 1))])
        kind = random.choice(["flip", "flip", "flip", "flip", "cut", "remove", "repeat", "splice"])
        if kind == "flip":
            for _ in range(random.choice([1, 1, 2, 8])):
                if result:
                    place = random.randrange(len(result))
                    bit = result[place] ^ 1 << random.randrange(8)
                    result[place] = random.choice([bit, random.randrange(256), 0, 127, 128, 255])
        elif kind == "cut":
            del result[place:]
        elif kind == "remove":
            del result[place : place + length]
        elif kind == "repeat":
            result[place:place] = result[place : place + length]
        else:
            other = random.choice(others)
            start = random.randrange(len(other))
            result[place : place + length] = other[start : start + length]
    return bytes(result)


def mutated_text(random: random.Random, text: str) -> str:
    """JSON with numbers, names and brackets exchanged."""
    values = [
        "-1",
        "0",
        "1e999",
        "1e9",
        "7",
        "null",
        "true",
        '"x"',
        "[]",
        "{}",
        "[[[[",
        "\0",
        "NaN",
    ]
    for _ in range(random.choice([1, 1, 2, 3])):
        # Between two marks stands a value, mostly.
        marks = [i for i, character in enumerate(text) if character in ',:[]{}"'] or [0]
        start = random.randrange(len(marks))
        end = min(start + random.choice([0, 1, 1, 1, 2, 5]), len(marks) - 1)
        text = text[: marks[start] + 1] + random.choice(values) + text[marks[end] :]
    return text


def with_right_checksums(png: bytes) -> bytes:
    """A damaged PNG with the checksums that fit, so that readers go further into it."""
    chunks, place = [], 8
    while place + 12 <= len(png):
        length = int.from_bytes(png[place : place + 4], "big")
        chunks.append((png[place + 4 : place + 8], png[place + 8 : place + 8 + length]))
        place += 12 + length
    return png_file(*chunks)


# What is mutated.


def make_photos() -> dict[str, list[bytes]]:
    """Small photos of all kinds, by format."""
    colour, grey = picture((200, 30, 90)), grey_16_bits()
    frames = [colour, picture((0, 90, 200))]
    exif = Image.Exif()
    exif[0x0112], exif[0x0132] = 6, "2025:07:01 10:20:30"
    animated = {"save_all": True, "append_images": frames[1:]}
    return {
        "JPEG": [
            encode(colour, "JPEG", exif=exif),
            encode(colour, "JPEG", progressive=True, quality=95, subsampling=0),
            encode(colour.convert("CMYK"), "JPEG"),
            encode(colour.convert("L"), "JPEG", restart_marker_blocks=1),
            encode(colour, "JPEG", icc_profile=matrix_profile(P3, 2.2)),
            encode(colour.convert("CMYK"), "JPEG", icc_profile=ink_profile({})),
            encode(colour, "MPO", **animated),
        ],
        "PNG": [
            encode(colour, "PNG", exif=exif),
            encode(colour.convert("P"), "PNG"),
            encode(grey, "PNG"),
            encode(colour.convert("RGBA"), "PNG", **animated),
            raw_png(13, 9, (1, 2, 3), bits=16),
            raw_png(13, 9, (1, 2, 3), interlaced=True),
            transparent_palette((1, 2, 3)),
        ],
        "WEBP": [
            encode(colour, "WEBP", exif=exif),
            encode(colour.convert("RGBA"), "WEBP", lossless=True),
            encode(colour, "WEBP", **animated),
        ],
        "GIF": [encode(colour, "GIF"), encode(colour, "GIF", **animated)],
        "TIFF": [
            encode(colour, "TIFF", compression=one)
            for one in ("raw", "tiff_lzw", "jpeg", "tiff_deflate", "packbits")
        ],
        "BMP": [encode(colour, "BMP"), encode(colour.convert("P"), "BMP"), encode(colour, "DIB")],
        **({"AVIF": [encode(colour, "AVIF", exif=exif)]} if features.check("avif") else {}),
    }


def make_models(folder: Path) -> None:
    """One small network in all formats, with the operations that the real ones have."""
    from keras_flowers.system import import_tensorflow

    import_tensorflow()
    import keras
    import tensorflow as tf

    from keras_flowers.training import tflite

    keras.utils.set_random_seed(0)
    pixels = keras.Input((*IMAGE_SIZE, 3), name="pixels")
    x = keras.layers.Rescaling(1 / 127.5, offset=-1)(pixels)
    x = keras.layers.Conv2D(8, 3, strides=2, use_bias=False)(x)
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.ReLU(6.0)(x)
    y = keras.layers.DepthwiseConv2D(3, padding="same")(x)
    x = keras.layers.Add()([x, y])
    x = keras.layers.GlobalAveragePooling2D()(keras.ops.multiply(x, 0.5))
    model = keras.Model(pixels, keras.layers.Dense(len(LABELS), activation="softmax")(x))
    model.save(folder / "keras.keras")
    (folder / "float32.tflite").write_bytes(tflite.convert(model))
    signature = tf.TensorSpec([None, *IMAGE_SIZE, 3], tf.float32, "images")
    module = tf.Module()
    module.images = tf.function(
        lambda images: {"probabilities": tf.nn.softmax(tf.reduce_mean(images, (1, 2)))},
        input_signature=[signature],
    )
    tf.saved_model.save(module, str(folder / "saved_model"), {"images": module.images})
    add_to_saved_model(folder / "saved_model", Metadata(LABELS, IMAGE_SIZE))
    converter = tflite.converter_for(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_types = [tf.float16]
    (folder / "float16.tflite").write_bytes(tflite.run_quietly(converter))
    converter = tflite.converter_for(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    noise = np.random.default_rng(0).uniform(0, 255, (10, 1, *IMAGE_SIZE, 3)).astype(np.float32)
    converter.representative_dataset = lambda: ([one] for one in noise)
    converter.inference_input_type = converter.inference_output_type = tf.uint8
    (folder / "int8.tflite").write_bytes(tflite.run_quietly(converter))


# Cases: each makes its file from its number and gives it to the predictor.

Case = Callable[[int], None]


def photo_case(folder: Path) -> Case:
    """Mutated photos."""
    path = folder / "photos.tflite"
    path.write_bytes((folder / "float32.tflite").read_bytes())
    add_to_archive(path, Metadata(LABELS, IMAGE_SIZE))
    classifier = load_classifier(path)
    photos = make_photos()
    everything = [one for group in photos.values() for one in group]

    def run(number: int) -> None:
        choose = random.Random(number)
        kind = choose.choice(list(photos))
        data = mutated(choose, choose.choice(photos[kind]), everything)
        if kind == "PNG" and choose.random() < 0.5:
            data = with_right_checksums(data)
        (answer,) = predict_photos(classifier, [PhotoInput("x", data)], workers=1)
        if answer.error:
            raise UserError(answer.error)

    return run


def tflite_case(folder: Path) -> Case:
    """Mutated `.tflite` files with sound metadata behind, so that they are not refused for it."""
    models = [(folder / f"{name}.tflite").read_bytes() for name in ("float32", "float16", "int8")]
    path = folder / "case.tflite"

    def run(number: int) -> None:
        choose = random.Random(number)
        path.write_bytes(mutated(choose, choose.choice(models), models))
        add_to_archive(path, Metadata(LABELS, IMAGE_SIZE))
        _load_and_run(path)

    return run


def metadata_case(folder: Path) -> Case:
    """Sound models whose labels, provenance or archive are mutated."""
    model = (folder / "float32.tflite").read_bytes()
    members = Metadata(LABELS, IMAGE_SIZE, {"base": "MobileNetV2"}).members()
    path = folder / "case.tflite"

    def run(number: int) -> None:
        choose = random.Random(number)
        labels, provenance = (members[name] for name in (LABELS_MEMBER, PROVENANCE_MEMBER))
        kind = choose.choice(["labels", "text", "provenance", "archive"])
        if kind == "text":
            provenance = mutated_text(choose, provenance)
        changed = {LABELS_MEMBER: labels.encode(), PROVENANCE_MEMBER: provenance.encode()}
        everything = list(changed.values())
        if kind in ("labels", "provenance"):
            name = LABELS_MEMBER if kind == "labels" else PROVENANCE_MEMBER
            changed[name] = mutated(choose, changed[name], everything)
        archive = _archive(changed)
        if kind == "archive":
            archive = mutated(choose, archive, [archive, model])
        path.write_bytes(model + archive)
        _load_and_run(path)

    return run


def keras_case(folder: Path) -> Case:
    """Mutated `.keras` files: their configuration, their weights or the archive."""
    from keras_flowers.system import import_tensorflow

    import_tensorflow()
    with zipfile.ZipFile(folder / "keras.keras") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members |= {
        name: text.encode() for name, text in Metadata(LABELS, IMAGE_SIZE).members().items()
    }
    path = folder / "case.keras"

    def run(number: int) -> None:
        choose = random.Random(number)
        changed = dict(members)
        kind = choose.choice(["text", "text", "config", "weights", "weights", "archive"])
        if kind == "text":
            changed["config.json"] = mutated_text(choose, members["config.json"].decode()).encode()
        elif kind in ("config", "weights"):
            name = {"config": "config.json", "weights": "model.weights.h5"}[kind]
            changed[name] = mutated(choose, members[name], list(members.values()))
        archive = _archive(changed)
        path.write_bytes(mutated(choose, archive, [archive]) if kind == "archive" else archive)
        _load_and_run(path)

    return run


def saved_model_case(folder: Path) -> Case:
    """SavedModels with a mutated `saved_model.pb`."""
    from keras_flowers.system import import_tensorflow

    import_tensorflow()
    sound = (folder / "saved_model" / "saved_model.pb").read_bytes()

    def run(number: int) -> None:
        choose = random.Random(number)
        path = folder / "saved_model" / "saved_model.pb"
        path.write_bytes(mutated(choose, sound, [sound]))
        _load_and_run(path.parent)

    return run


def _archive(members: dict[str, bytes]) -> bytes:
    file = BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return file.getvalue()


def _load_and_run(path: Path) -> None:
    classifier = load_classifier(path)
    noise = np.random.default_rng(1).integers(0, 256, (1, *classifier.image_size, 3), np.uint8)
    classifier.predict_pixels(noise)


# Running.


def run_cases(make: Callable[[Path], Case], folder: Path, numbers: Iterable[int]) -> Counter[str]:
    """Runs cases in processes of their own and counts what became of them.

    What is neither "answered" nor "refused" is a finding, and printed with its number.
    """
    left, outcome = list(numbers), Counter[str]()
    while left:
        reading, writing = os.pipe()
        process = os.fork()
        if not process:
            os.close(reading)
            _work(make, folder, left[:CASES_IN_A_PROCESS], writing)
        os.close(writing)
        with open(reading, encoding="utf-8") as pipe:
            done = [json.loads(line) for line in pipe]
        _, status = os.waitpid(process, 0)
        if status or not done:
            number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
            how = signal.Signals(number).name if number else "exit"
            done.append(f"more than {SECONDS} s" if how == "SIGALRM" else f"end by {how}")
        for number, became in zip(left, done, strict=False):
            if became not in ("answered", "refused"):
                print(f"{make.__name__} {number}: {became}", flush=True)
            outcome[became.splitlines()[0]] += 1
        left = left[max(len(done), 1) :]
    return outcome


def _work(make: Callable[[Path], Case], folder: Path, numbers: Sequence[int], writing: int) -> None:
    """Runs cases, writes a line of JSON after each, and ends the process."""
    code = 1
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        case = make(folder)
        for number in numbers:
            signal.alarm(SECONDS)
            became = _outcome(case, number)
            used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
            if make is photo_case and used > MAX_BYTES:
                became = f"{used >> 20} MiB of memory"
                os.write(writing, json.dumps(became).encode() + b"\n")
                break  # what a process has used at most does not go down again
            os.write(writing, json.dumps(became).encode() + b"\n")
        code = 0
    finally:
        os._exit(code)


def _outcome(case: Case, number: int) -> str:
    try:
        case(number)
    except UserError as error:
        return "refused" if "\n" not in str(error) else f"two lines: {error}"
    except BaseException:
        return traceback.format_exc(limit=-3)
    return "answered"


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code, 1 if there are findings."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--photos", type=int, default=0, help="how many mutated photos")
    parser.add_argument(
        "--models",
        type=int,
        default=0,
        help="how many mutated models: half .tflite, the rest .keras and metadata",
    )
    parser.add_argument("--saved_models", type=int, default=0, help="how many SavedModels")
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    options = parser.parse_args(argv)
    counts = {
        photo_case: options.photos,
        tflite_case: options.models // 2,
        metadata_case: options.models // 4,
        keras_case: options.models // 4,
        saved_model_case: options.saved_models,
    }
    findings = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        process = os.fork()  # so that the cases that need no TensorFlow run without it
        if not process:
            try:
                os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
                make_models(folder)
            finally:
                os._exit(0)
        os.waitpid(process, 0)
        for make, count in counts.items():
            if count:
                numbers = range(options.first, options.first + count)
                outcome = run_cases(make, folder, numbers)
                print(f"{make.__name__}: {dict(outcome)}", flush=True)
                findings += sum(outcome.values()) - outcome["answered"] - outcome["refused"]
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
