"""The rule of `image.py` as TensorFlow operations, for tf.data and for the exported SavedModel.

Both read the same photos alike: see `tests/test_parity.py` for how close. What only Pillow reads:
WebP, TIFF and AVIF, the transparency of a GIF (here its first frame is as stored), an orientation
that stands in XMP instead of EXIF, and colour profiles: here every photo is taken for sRGB.
"""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from keras_flowers.inference.image import MAX_DECODED_PIXELS, MAX_PIXELS

JPEG_START = b"\xff\xd8\xff"
PNG_START = b"\x89PNG\r\n\x1a\n"
BMP_START = b"BM"

_GREY = (0.2989, 0.587, 0.114)  # of red, green and blue, as in ITU-R BT.601


def decode_jpeg(
    data: tf.Tensor, size: tuple[int, int], lies_on_its_side: tf.Tensor | bool = False
) -> tf.Tensor:
    """Decodes a JPEG no larger than needed to cover `size`.

    Args:
        data: string [], a whole JPEG file.
        size: Height and width of the upright photo that the caller will resize or crop to.
        lies_on_its_side: bool [], whether height and width will be exchanged in between.

    Returns:
        uint8 [h, w, 3], RGB, as stored (EXIF orientation not applied), at 1, 1/2, 1/4 or 1/8 of
        the stored size.
    """

    def at(ratio: int) -> tf.Tensor:
        # The default DCT is faster by little and differs from Pillow's by up to several levels.
        return tf.io.decode_jpeg(data, channels=3, ratio=ratio, dct_method="INTEGER_ACCURATE")

    shape = tf.io.extract_jpeg_shape(data)[:2]
    data = _unless_too_large(data, shape[0], shape[1], MAX_PIXELS)
    needed = tf.where(lies_on_its_side, size[::-1], size)
    covered = tf.reduce_min(shape // needed)
    # `ratio` is an attribute of the operation, not an input, hence one branch for each.
    halvings = tf.reduce_sum(tf.cast(covered >= [2, 4, 8], tf.int32))
    return tf.switch_case(halvings, [lambda: at(1), lambda: at(2), lambda: at(4), lambda: at(8)])


def squash(pixels: tf.Tensor, size: tuple[int, int]) -> tf.Tensor:
    """Resizes whole photos [..., h, w, 3] to `size`: steps 3 and 4 of the rule in `image.py`.

    Returns:
        uint8 [..., height, width, 3]: cut to whole numbers, as Pillow does.
    """
    return tf.cast(resize(pixels, size), tf.uint8)


def resize(pixels: tf.Tensor, size: tuple[int, int]) -> tf.Tensor:
    """`squash` as float32 [..., height, width, 3], not yet cut to whole numbers."""
    sides = tf.shape(pixels)[-3:-1]
    shares = tf.maximum(sides // size, 1)

    def shrunk() -> tf.Tensor:
        shrunk_sides = sides // shares
        height, width = tf.unstack(shrunk_sides * shares)
        means = tf.image.resize(pixels[..., :height, :width, :], shrunk_sides, "area")
        return tf.cast(tf.floor(means + 0.5), pixels.dtype)

    pixels = tf.cond(tf.reduce_any(shares > 1), shrunk, lambda: pixels)
    # TensorFlow resizes floats in two thirds of the time that it takes for bytes.
    return tf.image.resize(tf.cast(pixels, tf.float32), size)


# AutoGraph would rewrite all of this file in search of Python's `if` and `while`: for seconds.
@tf.autograph.experimental.do_not_convert  # type: ignore[untyped-decorator]
def decode(data: tf.Tensor, size: tuple[int, int]) -> tf.Tensor:
    """Decodes a photo upright and in RGB; a JPEG no larger than needed to cover `size`.

    Args:
        data: string [], a whole JPEG, PNG, GIF (its first frame is taken) or BMP file.
        size: Height and width that the caller will resize or crop to.

    Returns:
        uint8 [h, w, 3], RGB; transparency is laid on white.

    Raises:
        tf.errors.InvalidArgumentError: When it runs, and `data` is no such photo, is damaged, cut
            off or far too large.
    """
    return tf.cond(
        is_upright_jpeg(data),
        lambda: decode_jpeg(data, size),
        lambda: _decode_and_turn(data, size),
    )


def is_upright_jpeg(data: tf.Tensor) -> tf.Tensor:
    """Whether `decode` is `decode_jpeg` for the file `data`, string []: bool []."""
    has_exif = tf.strings.regex_full_match(data, rb"\C*Exif\x00\x00\C*")
    return _starts_with(data, JPEG_START) & ~has_exif


def random_view(photo: tf.Tensor, size: tuple[int, int], seed: tf.Tensor) -> tf.Tensor:
    """A random part of a photo, mirrored half of the time, its brightness and colours changed.

    Args:
        photo: uint8 [h, w, 3].
        size: Height and width of the result.
        seed: int32 [2]; determines the view.

    Returns:
        uint8 [height, width, 3].
    """
    seeds = tf.random.split(seed, 4)
    area = tf.random.stateless_uniform([], seeds[0], 0.35, 1.0)
    aspect = tf.exp(tf.random.stateless_uniform([], seeds[1], -0.25, 0.25))
    sides = tf.minimum(tf.sqrt(tf.stack([area * aspect, area / aspect])), 1.0)
    corner = tf.random.stateless_uniform([2], seeds[2]) * (1.0 - sides)
    return to_bytes(change_colours(resize(cut(photo, corner, sides), size), seeds[3]))


def cut(photo: tf.Tensor, corner: tf.Tensor, sides: tf.Tensor) -> tf.Tensor:
    """A part of a photo.

    Args:
        photo: [h, w, 3].
        corner: float32 [2], the upper left corner: shares of the photo's height and width, since
            the photo is squashed at prediction.
        sides: float32 [2], height and width of the part in the same measure.
    """
    shape = tf.cast(tf.shape(photo)[:2], tf.float32)
    begin = tf.cast(corner * shape, tf.int32)
    length = tf.cast(tf.maximum(sides * shape, 1.0), tf.int32)
    return photo[begin[0] : begin[0] + length[0], begin[1] : begin[1] + length[1]]


def to_bytes(pixels: tf.Tensor) -> tf.Tensor:
    """float32 of any values -> the nearest uint8 0..255."""
    return tf.saturate_cast(tf.round(pixels), tf.uint8)


def change_colours(pixels: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Mirrors half of the pictures; changes brightness, contrast and saturation by up to a fifth.

    Args:
        pixels: float32 [h, w, 3], 0..255.
        seed: int32 [2].

    Returns:
        float32 [h, w, 3], which may go beyond 0..255.
    """
    drawn = tf.random.stateless_uniform([4], seed)
    pixels = tf.cond(drawn[0] < 0.5, lambda: tf.reverse(pixels, axis=[1]), lambda: pixels)
    brightness, contrast, saturation = tf.unstack(0.8 + 0.4 * drawn[1:])
    # A 1x1 convolution: each of the passes that say the same would take as long as resizing.
    colours = saturation * tf.eye(3) + (1.0 - saturation) * tf.constant(_GREY)[:, None]
    pixels = tf.nn.conv2d(pixels[None], colours[None, None], strides=1, padding="VALID")[0]
    return contrast * brightness * pixels + (1.0 - contrast) * brightness * tf.reduce_mean(pixels)


def read_pixels(image_bytes: tf.Tensor, size: tuple[int, int]) -> tuple[tf.Tensor, tf.Tensor]:
    """Reads whole photo files, of which some may be unreadable, on all cores.

    Args:
        image_bytes: string [N], N at least 1, as `decode` takes them.
        size: Height and width of the result.

    Returns:
        pixels: uint8 [N, height, width, 3], 0..255, RGB; black where a photo cannot be read.
        readable: bool [N].
    """

    def read(data: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return tf.ensure_shape(squash(decode(data, size), size), (*size, 3)), True

    unreadable = tf.data.Dataset.from_tensors((tf.zeros((*size, 3), tf.uint8), False))

    def read_or_not(data: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        # TensorFlow's graphs cannot catch an error, but tf.data can: whatever a decoder says of a
        # broken photo, the data set ends before its first element, and the stand-in comes first.
        photo = tf.data.Dataset.from_tensors(data).map(read).ignore_errors()
        first: tuple[tf.Tensor, tf.Tensor] = (
            photo.concatenate(unreadable).take(1).get_single_element()
        )
        return first

    photos = tf.data.Dataset.from_tensor_slices(image_bytes)
    photos = photos.map(read_or_not, num_parallel_calls=8)
    pixels, readable = photos.batch(tf.size(image_bytes, tf.int64)).get_single_element()
    return pixels, readable


def orientation(data: tf.Tensor) -> tf.Tensor:
    """The EXIF orientation of a photo file; TensorFlow has no operation for it.

    Args:
        data: string [], a whole file.

    Returns:
        int32 [], 1..8; 1 (upright) also where the file says nothing sensible, or is no JPEG or PNG.
    """
    found = tf.case(
        [
            (_starts_with(data, JPEG_START), lambda: _jpeg_exif(data)),
            (_starts_with(data, PNG_START), lambda: _png_exif(data)),
        ],
        default=lambda: tf.constant(-1, tf.int64),
    )
    return tf.cond(found < 0, lambda: tf.constant(1), lambda: _tiff_orientation(data, found))


def _decode_and_turn(data: tf.Tensor, size: tuple[int, int]) -> tf.Tensor:
    turn = orientation(data)
    pixels = tf.case(
        [
            (_starts_with(data, JPEG_START), lambda: decode_jpeg(data, size, turn >= 5)),
            (_starts_with(data, PNG_START), lambda: _decode_png(data)),
            (_starts_with(data, BMP_START), lambda: _decode_bmp(data)),
        ],
        # Not decode_gif: that decodes every frame.
        default=lambda: tf.io.decode_image(data, channels=3, expand_animations=False),
    )
    return _upright(pixels, turn)


def _jpeg_exif(data: tf.Tensor) -> tf.Tensor:
    """Where the TIFF block of a JPEG's EXIF segment starts: int64 [], -1 if there is none.

    A JPEG is a list of segments: 0xFF, a kind, the length in two bytes (which count themselves).
    """

    def step(at: tf.Tensor, found: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        head = _bytes(data, at, 4)
        is_padding = (head[0] == 0xFF) & (head[1] == 0xFF)
        # APP0..APP15 and comments come first; behind any other segment there is no EXIF.
        is_application = (head[0] == 0xFF) & (
            (head[1] >= 0xE0) & (head[1] < 0xF0) | (head[1] == 0xFE)
        )
        is_exif = is_application & (head[1] == 0xE1) & (_substring(data, at + 4, 6) == b"Exif\0\0")
        after = tf.where(is_padding, at + 1, at + 2 + head[2] * 256 + head[3])
        goes_on = is_padding | is_application & ~is_exif
        return tf.where(goes_on, after, -1), tf.where(is_exif, at + 10, found)

    return _walk(step, start=2)


def _png_exif(data: tf.Tensor) -> tf.Tensor:
    """Where the TIFF block of a PNG's eXIf chunk starts: int64 [], -1 if there is none.

    A PNG is a list of chunks: the length of what they hold in four bytes, a kind, that, a checksum.
    """

    def step(at: tf.Tensor, found: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        kind = _substring(data, at + 4, 4)
        after = at + 12 + _number(_bytes(data, at, 4), big_endian=True)
        is_exif = kind == b"eXIf"
        goes_on = ~is_exif & (kind != b"IDAT") & (kind != b"")
        return tf.where(goes_on, after, -1), tf.where(is_exif, at + 8, found)

    return _walk(step, start=len(PNG_START))


def _walk(
    step: Callable[[tf.Tensor, tf.Tensor], tuple[tf.Tensor, tf.Tensor]], start: int
) -> tf.Tensor:
    """Repeats (place, found) -> (next place, found) until the place is -1; gives what is found."""
    first = (tf.constant(start, tf.int64), tf.constant(-1, tf.int64))
    # A file of nothing but padding would be walked byte by byte.
    _, found = tf.while_loop(lambda at, _: at >= 0, step, first, maximum_iterations=1000)
    return found


def _tiff_orientation(data: tf.Tensor, start: tf.Tensor) -> tf.Tensor:
    """The orientation in a TIFF block: int32 [], 1..8.

    The block is a byte order (II or MM), the number 42, and where its first list of tags starts:
    a count in two bytes and entries of twelve (tag 2, type 2, how many 4, value 4).
    """
    big_endian = _substring(data, start, 2) == b"MM"
    tags_at = start + _number(_bytes(data, start + 4, 4), big_endian)
    count = _number(_bytes(data, tags_at, 2), big_endian)
    entries = tf.reshape(_bytes(data, tags_at + 2, 12 * count), (-1, 12))
    tags, types = _number(entries[:, 0:2], big_endian), _number(entries[:, 2:4], big_endian)
    # A SHORT lies in the first two of the four bytes; some programs write a LONG.
    values = tf.where(
        types == 3, _number(entries[:, 8:10], big_endian), _number(entries[:, 8:12], big_endian)
    )
    is_orientation = (tags == 0x0112) & ((types == 3) | (types == 4))
    orientations = tf.boolean_mask(values, is_orientation & (values >= 1) & (values <= 8))
    return tf.cast(tf.concat([[1], orientations], axis=0)[-1], tf.int32)


def _upright(pixels: tf.Tensor, turn: tf.Tensor) -> tf.Tensor:
    """Undoes the EXIF orientation `turn` (1..8) of a photo [h, w, 3]."""

    def exchanged() -> tf.Tensor:
        # Not tf.transpose: of bytes, oneDNN writes an error to the log, and does it all the same.
        height, width, _ = tf.unstack(tf.shape(pixels))
        places = tf.range(height)[None, :] * width + tf.range(width)[:, None]
        return tf.gather(tf.reshape(pixels, (-1, 3)), places)

    return tf.switch_case(
        turn - 1,
        [
            lambda: pixels,
            lambda: tf.reverse(pixels, [1]),
            lambda: tf.reverse(pixels, [0, 1]),
            lambda: tf.reverse(pixels, [0]),
            exchanged,
            lambda: tf.reverse(exchanged(), [1]),
            lambda: tf.reverse(exchanged(), [0, 1]),
            lambda: tf.reverse(exchanged(), [0]),
        ],
    )


def _decode_png(data: tf.Tensor) -> tf.Tensor:
    # Behind the start: a chunk IHDR, which begins with width, height and the bits of a sample.
    width, height = _number(_bytes(data, 16, 4), True), _number(_bytes(data, 20, 4), True)
    depth = _bytes(data, 24, 1)[0]
    data = _unless_too_large(data, height, width, MAX_DECODED_PIXELS)
    pixels = tf.cast(tf.io.decode_png(data, channels=4), tf.uint16)  # holds 255 * 255 + 127
    colours, opacity = pixels[..., :3], pixels[..., 3:]
    # For a photo of 1, 2 or 4 bits without transparency, TensorFlow gives 1, 3 or 15 for "opaque".
    is_filler = tf.cast(tf.reduce_max(opacity), tf.int64) < 2**depth
    opacity = tf.where((depth < 8) & is_filler, tf.constant(255, tf.uint16), opacity)
    # On white, rounded to nearest.
    return tf.cast((colours * opacity + 255 * (255 - opacity) + 127) // 255, tf.uint8)


def _decode_bmp(data: tf.Tensor) -> tf.Tensor:
    pixels = tf.io.decode_bmp(data)

    def with_palette() -> tf.Tensor:
        # TensorFlow gives the bytes of an 8-bit BMP as they are: they are numbers of colours. The
        # palette (blue, green, red, 0) follows the header, whose length stands at its start.
        at = 14 + _number(_bytes(data, 14, 4), big_endian=False)
        palette = tf.reshape(_bytes(data, at, 4 * 256), (256, 4))
        colours = tf.gather(palette[:, :3], tf.cast(pixels[..., 0], tf.int32))
        return tf.cast(tf.reverse(colours, [2]), tf.uint8)

    return tf.cond(tf.shape(pixels)[2] == 1, with_palette, lambda: pixels[..., :3])


def _unless_too_large(
    data: tf.Tensor, height: tf.Tensor, width: tf.Tensor, limit: int
) -> tf.Tensor:
    """The file itself, or an empty one, which no decoder takes."""
    fits = tf.cast(height, tf.int64) * tf.cast(width, tf.int64) <= limit
    return tf.where(fits, data, "")


def _starts_with(data: tf.Tensor, start: bytes) -> tf.Tensor:
    return tf.strings.substr(data, 0, len(start)) == start


def _substring(data: tf.Tensor, start: tf.Tensor | int, length: tf.Tensor | int) -> tf.Tensor:
    """Bytes of a file: string []; fewer than `length` where the file ends."""
    end = tf.cast(tf.strings.length(data), tf.int64)
    start = tf.minimum(tf.cast(start, tf.int64), end)
    return tf.strings.substr(data, start, tf.cast(length, tf.int64))


def _bytes(data: tf.Tensor, start: tf.Tensor | int, count: tf.Tensor | int) -> tf.Tensor:
    """Bytes of a file as int64 [count]; zeros where the file ends."""
    piece = _substring(data, start, count)
    # One byte more: a fixed length of 0 is an error.
    padded = tf.io.decode_raw(piece, tf.uint8, fixed_length=tf.cast(count, tf.int32) + 1)
    return tf.cast(padded[:count], tf.int64)


def _number(digits: tf.Tensor, big_endian: tf.Tensor | bool) -> tf.Tensor:
    """The unsigned numbers int64 [...] that bytes int64 [..., 2 or 4] spell."""
    little = tf.constant([256**power for power in range(digits.shape[-1])], tf.int64)
    return tf.reduce_sum(digits * tf.where(big_endian, tf.reverse(little, [0]), little), axis=-1)
