// A photo as a model takes it: the reading rule of keras_flowers/inference/image.py on what the
// browser decodes. The browser turns it upright (EXIF) and brings its colours to sRGB.

import { type Exif, readExif } from './exif';
import { isJpeg, kindOf, refuseCut } from './kinds';
import { Problem } from './problem';
import { type Raster, type Size, average, reduce, reductionTo, resize, shrinkRatio } from './squash';

/** Larger photos are refused, as the command refuses them: they would fill a phone's memory. */
const MAX_MEGAPIXELS = { jpeg: 120, other: 64 };

const MAX_MEGABYTES = 256;

/** Side of the canvas that pixels are fetched through, in pixels: phones allow no large ones. */
const TILE = 2048;

/** Whether a JPEG of each EXIF orientation begins at the bottom, and at the right. */
const TURNED: Record<number, readonly [fromBottom: boolean, fromRight: boolean]> = {
  1: [false, false],
  2: [false, true],
  3: [true, true],
  4: [true, false],
  5: [false, false],
  6: [false, true],
  7: [true, true],
  8: [true, false],
};

/** A decoded photo; whoever holds it calls `close` on the bitmap. */
export interface Decoded {
  readonly bitmap: ImageBitmap;
  /** A JPEG is read as if it had been shrunk while it was decoded, as Pillow and TensorFlow do. */
  readonly isJpeg: boolean;
  /** What the EXIF block of a JPEG says; the bitmap is upright already. */
  readonly exif?: Exif;
}

/**
 * Decodes a photo, upright.
 *
 * @throws Problem It is empty, damaged, too large or no photo that this browser reads.
 */
export async function decode(photo: Blob): Promise<Decoded> {
  if (photo.size > MAX_MEGABYTES << 20) throw new Problem('too_many_bytes', `${MAX_MEGABYTES}`);
  const bytes = await bytesOf(photo);
  refuseCut(bytes);
  let bitmap: ImageBitmap;
  try {
    // From the bytes: the type that a file's ending suggests may be wrong.
    bitmap = await createImageBitmap(new Blob([bytes]), { imageOrientation: 'from-image' });
  } catch {
    const kind = kindOf(bytes);
    if (kind) throw new Problem('other_kind', kind);
    throw new Problem(isPhoto(bytes) ? 'damaged' : 'not_a_photo');
  }
  const limit = isJpeg(bytes) ? MAX_MEGAPIXELS.jpeg : MAX_MEGAPIXELS.other;
  if (bitmap.width * bitmap.height > limit * 1e6) {
    bitmap.close();
    throw new Problem('too_many_pixels', `${limit}`);
  }
  return { bitmap, isJpeg: isJpeg(bytes), exif: readExif(bytes) };
}

async function bytesOf(photo: Blob): Promise<Uint8Array<ArrayBuffer>> {
  try {
    return new Uint8Array(await photo.arrayBuffer());
  } catch {
    throw new Problem('unreadable');
  }
}

function isPhoto(bytes: Uint8Array): boolean {
  const start = String.fromCharCode(...bytes.subarray(0, 12));
  return isJpeg(bytes) || /^(\x89PNG|GIF8|BM|RIFF[^]{4}WEBP)/.test(start);
}

/**
 * A photo squashed to a model's size.
 *
 * @returns [height, width, 3], values 0..255, RGB; transparency lies on white.
 */
export function pixelsOf({ bitmap, isJpeg, exif }: Decoded, size: Size): Uint8Array {
  const { height, width } = bitmap;
  const ratio = isJpeg ? shrinkRatio(height, width, size) : 1;
  const shrunkHeight = Math.ceil(height / ratio);
  const shrunkWidth = Math.ceil(width / ratio);
  const [down, across] = reductionTo(shrunkHeight, shrunkWidth, size);
  if (ratio * down * across === 1 && Math.max(height, width) <= TILE) {
    return resize(tile(bitmap, 0, 0, height, width), size);
  }
  // Tile by tile, each a whole number of blocks that become one pixel.
  const reduced = {
    data: new Uint8Array(Math.floor(shrunkHeight / down) * Math.floor(shrunkWidth / across) * 3),
    height: Math.floor(shrunkHeight / down),
    width: Math.floor(shrunkWidth / across),
    channels: 3 as const,
  };
  const tileHeight = sideOfTiles(ratio * down);
  const tileWidth = sideOfTiles(ratio * across);
  // The blocks of a JPEG count from where it begins in the file. In a photo that was turned that
  // may be at the bottom or at the right: then the block that is not full comes first.
  const [fromBottom, fromRight] = TURNED[exif?.orientation ?? 1];
  const above = fromBottom ? shrunkHeight * ratio - height : 0;
  const before = fromRight ? shrunkWidth * ratio - width : 0;
  for (let top = -above; top < height; top += tileHeight) {
    for (let left = -before; left < width; left += tileWidth) {
      const [y, x] = [Math.max(top, 0), Math.max(left, 0)];
      const part = tile(
        bitmap,
        y,
        x,
        Math.min(top + tileHeight, height) - y,
        Math.min(left + tileWidth, width) - x,
      );
      const shrunk = ratio > 1 ? average(part, ratio, y - top, x - left) : part;
      copyInto(
        reduced,
        reduce(shrunk, down, across),
        (top + above) / (ratio * down),
        (left + before) / (ratio * across),
      );
    }
  }
  return resize(reduced, size);
}

function sideOfTiles(block: number): number {
  return Math.max(Math.floor(TILE / block), 1) * block;
}

let canvas: OffscreenCanvas | undefined;

/** Part of a decoded photo as pixels, through a canvas that is used again. */
function tile(
  bitmap: ImageBitmap,
  top: number,
  left: number,
  height: number,
  width: number,
): Raster {
  if (!canvas || canvas.width < width || canvas.height < height) {
    canvas = new OffscreenCanvas(
      Math.max(width, canvas?.width ?? 0),
      Math.max(height, canvas?.height ?? 0),
    );
  }
  const context = canvas.getContext('2d', { willReadFrequently: true });
  if (!context) throw new Problem('no_engine', 'no canvas');
  context.imageSmoothingEnabled = false;
  context.fillStyle = 'white';
  context.fillRect(0, 0, width, height);
  context.drawImage(bitmap, left, top, width, height, 0, 0, width, height);
  return { data: context.getImageData(0, 0, width, height).data, height, width, channels: 4 };
}

function copyInto(whole: Raster, part: Raster, top: number, left: number): void {
  for (let row = 0; row < part.height && top + row < whole.height; row++) {
    const width = Math.min(part.width, whole.width - left);
    const from = row * part.width * 3;
    whole.data.set(
      part.data.subarray(from, from + width * 3),
      ((top + row) * whole.width + left) * 3,
    );
  }
}
