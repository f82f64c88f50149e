// The arithmetic of the reading rule of keras_flowers/inference/image.py, number for number: what
// Pillow computes in C stands here in TypeScript. tests/page/test_reading.py holds them together.

/** Height and width in pixels. */
export type Size = readonly [height: number, width: number];

/** Pixels of a picture, `channels` numbers 0..255 each, row by row. */
export interface Raster {
  readonly data: Uint8Array | Uint8ClampedArray;
  readonly height: number;
  readonly width: number;
  /** 4 as a canvas gives them, 3 as a model takes them. */
  readonly channels: 3 | 4;
}

/** By how much a JPEG may be shrunk while it is decoded and still cover `size`: 1, 2, 4 or 8. */
export function shrinkRatio(height: number, width: number, size: Size): number {
  const covered = Math.min(Math.floor(height / size[0]), Math.floor(width / size[1]));
  return [8, 4, 2, 1].find((ratio) => ratio <= Math.max(covered, 1)) as number;
}

/** The whole numbers by which a picture's sides are divided before it is resized to `size`. */
export function reductionTo(height: number, width: number, size: Size): Size {
  return [
    Math.max(Math.floor(height / size[0]), 1),
    Math.max(Math.floor(width / size[1]), 1),
  ];
}

/**
 * Shrinks by whole numbers, each pixel the rounded mean of those it replaces; a rest at the right
 * or at the bottom is cut off. This is Pillow's `reduce`.
 */
export function reduce(from: Raster, down: number, across: number): Raster {
  const height = Math.floor(from.height / down);
  const width = Math.floor(from.width / across);
  return means(from, down, across, 0, 0, height, width);
}

/**
 * Shrinks by `ratio` as a JPEG is shrunk while it is decoded, to the mean of each block; blocks
 * that are not full become pixels too.
 *
 * @param above How many rows the uppermost blocks lack; `before`: columns of those at the left.
 */
export function average(from: Raster, ratio: number, above: number, before: number): Raster {
  const height = Math.ceil((from.height + above) / ratio);
  const width = Math.ceil((from.width + before) / ratio);
  return means(from, ratio, ratio, above, before, height, width);
}

function means(
  from: Raster,
  down: number,
  across: number,
  above: number,
  before: number,
  height: number,
  width: number,
): Raster {
  const data = new Uint8Array(height * width * 3);
  const { channels } = from;
  let to = 0;
  for (let y = 0; y < height; y++) {
    const top = Math.max(y * down - above, 0);
    const bottom = Math.min((y + 1) * down - above, from.height);
    for (let x = 0; x < width; x++) {
      const left = Math.max(x * across - before, 0);
      const right = Math.min((x + 1) * across - before, from.width);
      let red = 0;
      let green = 0;
      let blue = 0;
      for (let row = top; row < bottom; row++) {
        let at = (row * from.width + left) * channels;
        for (let column = left; column < right; column++) {
          red += from.data[at];
          green += from.data[at + 1];
          blue += from.data[at + 2];
          at += channels;
        }
      }
      const count = (bottom - top) * (right - left);
      const half = count >> 1;
      data[to++] = Math.floor((red + half) / count);
      data[to++] = Math.floor((green + half) / count);
      data[to++] = Math.floor((blue + half) / count);
    }
  }
  return { data, height, width, channels: 3 };
}

/**
 * Resizes the whole picture to `size`, its aspect ratio ignored: bilinear between the four
 * neighbours, cut to whole numbers.
 *
 * @returns [height, width, 3], values 0..255.
 */
export function resize(from: Raster, size: Size): Uint8Array {
  const [height, width] = size;
  const to = new Uint8Array(height * width * 3);
  const columns = neighbours(from.width, width);
  const rows = neighbours(from.height, height);
  const { channels } = from;
  let at = 0;
  for (let y = 0; y < height; y++) {
    const upper = rows.first[y] * from.width;
    const lower = rows.second[y] * from.width;
    const shareBelow = rows.share[y];
    for (let x = 0; x < width; x++) {
      const left = columns.first[x];
      const right = columns.second[x];
      const shareRight = columns.share[x];
      const a = (upper + left) * channels;
      const b = (upper + right) * channels;
      const c = (lower + left) * channels;
      const d = (lower + right) * channels;
      for (let channel = 0; channel < 3; channel++) {
        const p = from.data[a + channel];
        const q = from.data[c + channel];
        const above = p + (from.data[b + channel] - p) * shareRight;
        const below = q + (from.data[d + channel] - q) * shareRight;
        to[at++] = above + (below - above) * shareBelow;
      }
    }
  }
  return to;
}

/** For each of `to` places along a side of `from` pixels: its two neighbours, the second's share. */
function neighbours(from: number, to: number) {
  const first = new Int32Array(to);
  const second = new Int32Array(to);
  const share = new Float64Array(to);
  for (let place = 0; place < to; place++) {
    const centre = (from / to) * (place + 0.5) - 0.5;
    const before = Math.floor(centre);
    first[place] = Math.max(before, 0);
    second[place] = Math.min(before + 1, from - 1);
    share[place] = centre - before;
  }
  return { first, second, share };
}
