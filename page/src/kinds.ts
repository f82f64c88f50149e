// Which files are no photos, and which photos end too early, by their bytes: a browser says of
// neither what is wrong, and shows half of a photo without a word.

import { Problem } from './problem';

const TEXT = new TextDecoder('latin1');

/** A kind of file: the place and the bytes by which it is known, and its key in texts.ts. */
const OTHER_KINDS: readonly (readonly [place: number, start: string, key: string])[] = [
  [4, 'ftypcrx ', 'raw'],
  [8, 'CR\x02\x00', 'raw'],
  [0, 'FUJIFILMCCD-RAW', 'raw'],
  [0, 'IIRO', 'raw'],
  [0, 'IIU\x00', 'raw'],
  [0, '\x00\x00\x00\x0cjP  ', 'jpeg_2000'],
  [0, '\xff\x4f\xff\x51', 'jpeg_2000'],
  [0, 'II*\x00', 'tiff'],
  [0, 'MM\x00*', 'tiff'],
  [0, '%PDF', 'pdf'],
  [0, '8BPS', 'photoshop'],
];

const HEIC = /heic|heix|hevc|heim|heis|mif1|msf1/;

/** The key in texts.ts of what a file is that this browser could not decode; '' if unknown. */
export function kindOf(bytes: Uint8Array): string {
  const start = TEXT.decode(bytes.subarray(0, 100));
  const brands = start.slice(4, 8) === 'ftyp' ? start.slice(8) : '';
  if (HEIC.test(brands)) return 'heic';
  if (/avif|avis/.test(brands)) return 'avif';
  const found = OTHER_KINDS.find(([place, text]) => start.startsWith(text, place));
  if (found) return found[2];
  if (brands) return 'video';
  if (/^(\xef\xbb\xbf)?\s*<(!doctype html|html)/i.test(start)) return 'web_page';
  return '';
}

/** Whether a file is a JPEG, by its first bytes. */
export function isJpeg(bytes: Uint8Array): boolean {
  return bytes[0] === 0xff && bytes[1] === 0xd8 && bytes[2] === 0xff;
}

/**
 * Refuses what ends too early.
 *
 * @throws Problem `empty` or `damaged`.
 */
export function refuseCut(bytes: Uint8Array): void {
  if (!bytes.length) throw new Problem('empty');
  const start = TEXT.decode(bytes.subarray(0, 12));
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let whole = true;
  if (isJpeg(bytes)) whole = hasJpegEnd(bytes, view);
  else if (start.startsWith('\x89PNG')) whole = hasPngEnd(view);
  else if (start.startsWith('RIFF') && start.endsWith('WEBP')) {
    whole = bytes.length >= 12 && view.getUint32(4, true) + 8 <= bytes.length + 1;
  }
  if (!whole) throw new Problem('damaged');
}

/** Whether the marker that ends a JPEG comes after its picture. A thumbnail has one of its own. */
function hasJpegEnd(bytes: Uint8Array, view: DataView): boolean {
  let at = 2;
  while (at + 2 <= bytes.length) {
    if (bytes[at] !== 0xff) {
      at++; // the picture itself, or what some program has left between the segments
      continue;
    }
    const marker = bytes[at + 1];
    if (marker === 0xd9) return true;
    // Fill bytes, an escaped 0xff, and the marks within a picture have no length.
    if (marker === 0xff) at += 1;
    else if (marker === 0 || marker === 1 || (marker >= 0xd0 && marker <= 0xd8)) at += 2;
    else if (at + 4 <= bytes.length) at += 2 + view.getUint16(at + 2);
    else return false;
  }
  return false;
}

function hasPngEnd(view: DataView): boolean {
  const IEND = 0x49454e44;
  let at = 8;
  while (at + 12 <= view.byteLength) {
    if (view.getUint32(at + 4) === IEND) return true;
    at += 12 + view.getUint32(at);
  }
  return false;
}
