"""The rule of `image.py` as TensorFlow operations, for tf.data and for the exported SavedModel."""

from __future__ import annotations

import tensorflow as tf

JPEG_START = b"\xff\xd8\xff"


def decode_jpeg(data: tf.Tensor, size: tuple[int, int]) -> tf.Tensor:
    """Decodes a JPEG no larger than needed to cover `size`.

    Args:
        data: string [], a whole JPEG file.
        size: Height and width that the caller will resize or crop to.

    Returns:
        uint8 [h, w, 3], RGB, as stored (EXIF orientation not applied), at 1, 1/2, 1/4 or 1/8 of
        the stored size.
    """

    def at(ratio: int) -> tf.Tensor:
        # The default DCT is faster by little and differs from Pillow's by up to several levels.
        return tf.io.decode_jpeg(data, channels=3, ratio=ratio, dct_method="INTEGER_ACCURATE")

    shape = tf.io.extract_jpeg_shape(data)
    # `ratio` is an attribute of the operation, not an input, hence one branch for each.
    covered = tf.minimum(shape[0] // size[0], shape[1] // size[1])
    return tf.case(
        [
            (covered >= 8, lambda: at(8)),
            (covered >= 4, lambda: at(4)),
            (covered >= 2, lambda: at(2)),
        ],
        default=lambda: at(1),
    )


def squash(pixels: tf.Tensor, size: tuple[int, int]) -> tf.Tensor:
    """Resizes whole photos [..., h, w, 3] to `size`, bilinear with antialiasing.

    Returns:
        uint8 [..., height, width, 3]: rounded, as Pillow does, so that both give the same pixels.
    """
    resized = tf.image.resize(pixels, size, method="bilinear", antialias=True)
    return tf.saturate_cast(tf.round(resized), tf.uint8)


def decode(data: tf.Tensor, size: tuple[int, int]) -> tf.Tensor:
    """Decodes a photo of a data set upright, no larger than needed to cover `size`.

    Args:
        data: string [], a whole JPEG, PNG, GIF or BMP file.
        size: Height and width that the caller will resize or crop to.

    Returns:
        uint8 [h, w, 3], RGB.
    """
    return tf.cond(
        tf.strings.substr(data, 0, len(JPEG_START)) == JPEG_START,
        lambda: decode_jpeg(data, size),
        lambda: tf.io.decode_image(data, channels=3, expand_animations=False),
    )


def random_view(data: tf.Tensor, size: tuple[int, int], seed: tf.Tensor) -> tf.Tensor:
    """A random part of a photo, mirrored half of the time, its brightness and colours changed.

    Args:
        data: string [], as `decode` takes it.
        size: Height and width of the result.
        seed: int32 [2]; determines the view.

    Returns:
        uint8 [height, width, 3].
    """
    seeds = tf.random.split(seed, 4)
    photo = decode(data, size)
    shape = tf.cast(tf.shape(photo)[:2], tf.float32)
    # The photo is squashed at prediction, so sides are cut as shares of its sides, not in pixels.
    area = tf.random.stateless_uniform([], seeds[0], 0.35, 1.0)
    aspect = tf.exp(tf.random.stateless_uniform([], seeds[1], -0.25, 0.25))
    sides = tf.minimum(tf.sqrt(tf.stack([area * aspect, area / aspect])), 1.0)
    corner = tf.random.stateless_uniform([2], seeds[2]) * (1.0 - sides)
    begin = tf.cast(corner * shape, tf.int32)
    length = tf.cast(tf.maximum(sides * shape, 1.0), tf.int32)
    crop = photo[begin[0] : begin[0] + length[0], begin[1] : begin[1] + length[1]]
    pixels = tf.image.resize(crop, size, method="bilinear", antialias=True)
    mirror, brightness, contrast, saturation = tf.unstack(
        tf.random.stateless_uniform([4], seeds[3])
    )
    pixels = tf.cond(mirror < 0.5, lambda: tf.reverse(pixels, axis=[1]), lambda: pixels)
    grey = tf.image.rgb_to_grayscale(pixels)
    pixels = grey + (pixels - grey) * (0.8 + 0.4 * saturation)
    mean = tf.reduce_mean(pixels)
    pixels = mean + (pixels - mean) * (0.8 + 0.4 * contrast)
    pixels = pixels * (0.8 + 0.4 * brightness)
    return tf.saturate_cast(tf.round(pixels), tf.uint8)
