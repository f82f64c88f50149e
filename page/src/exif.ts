// How a JPEG was held, when and where it was taken, as the camera wrote it into the file.
//
// The browser turns photos by itself; which way tells where its blocks of pixels began.

/** When and where a photo was taken; null for what the file does not say. */
export interface CaptureInfo {
  /** ISO 8601 in the camera's local time, with "+02:00" after it where it knew its time zone. */
  readonly date: string | null;
  /** Degrees, north and east positive. */
  readonly latitude: number | null;
  readonly longitude: number | null;
}

export interface Exif extends CaptureInfo {
  /** 1 to 8; 1 is upright. */
  readonly orientation: number;
}

const NOTHING: Exif = { orientation: 1, date: null, latitude: null, longitude: null };

const ORIENTATION = 0x0112;
const DATE_CHANGED = 0x0132;
const EXIF_IFD = 0x8769;
const GPS_IFD = 0x8825;
const DATE_TAKEN = 0x9003;
const DATE_DIGITISED = 0x9004;
const OFFSET_TAKEN = 0x9011;
const LATITUDE = 2;
const LONGITUDE = 4;

/** Bytes of each type of value: byte, text, short, long, rational; others are not needed. */
const TYPE_BYTES: Record<number, number> = { 1: 1, 2: 1, 3: 2, 4: 4, 5: 8 };

type Entries = Map<number, { type: number; count: number; at: number }>;

/** Reads the EXIF block of a JPEG. A photo without one, or with a broken one, is still a photo. */
export function readExif(bytes: Uint8Array): Exif {
  try {
    const block = exifBlock(bytes);
    return block ? read(new Block(block)) : NOTHING;
  } catch {
    return NOTHING;
  }
}

function exifBlock(bytes: Uint8Array): DataView | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.getUint16(0) !== 0xffd8) return undefined;
  for (let at = 2; at + 10 < bytes.length && bytes[at] === 0xff; ) {
    const marker = bytes[at + 1];
    const length = view.getUint16(at + 2);
    if (marker === 0xda) return undefined;
    if (marker === 0xe1 && view.getUint32(at + 4) === 0x45786966) {
      const start = bytes.byteOffset + at + 10;
      return new DataView(bytes.buffer, start, Math.min(length - 8, bytes.length - at - 10));
    }
    at += 2 + length;
  }
  return undefined;
}

function read(block: Block): Exif {
  const image = block.entries(block.long(4));
  const orientation = block.number(image, ORIENTATION) ?? 1;
  // What a broken part says is left out; the rest may be right.
  const details = block.entriesAt(image, EXIF_IFD);
  const date = dateOf(
    block.text(details, DATE_TAKEN) ||
      block.text(details, DATE_DIGITISED) ||
      block.text(image, DATE_CHANGED),
    block.text(details, OFFSET_TAKEN),
  );
  const gps = block.entriesAt(image, GPS_IFD);
  const latitude = degrees(block, gps, LATITUDE, 'NS', 90);
  const longitude = degrees(block, gps, LONGITUDE, 'EW', 180);
  const isKnown = latitude !== null && longitude !== null;
  return {
    orientation: orientation >= 1 && orientation <= 8 ? orientation : 1,
    date,
    latitude: isKnown ? latitude : null,
    longitude: isKnown ? longitude : null,
  };
}

function dateOf(text: string, offset: string): string | null {
  // Cameras without a clock write zeros or blanks, which are no date.
  const parts = /^(\d{4}):(\d\d):(\d\d) (\d\d):(\d\d):(\d\d)/.exec(text);
  if (!parts) return null;
  const [, year, month, day, hour, minute, second] = parts;
  const iso = `${year}-${month}-${day}T${hour}:${minute}:${second}`;
  const parsed = new Date(`${iso}Z`);
  const isDate = !Number.isNaN(parsed.getTime()) && parsed.toISOString().startsWith(iso);
  if (!isDate || year === '0000') return null;
  return /^[+-]\d\d:\d\d$/.test(offset) ? iso + offset : iso;
}

/** Decimal degrees from degrees, minutes and seconds; the hemisphere is in the tag before. */
function degrees(
  block: Block,
  gps: Entries,
  tag: number,
  hemispheres: string,
  limit: number,
): number | null {
  const hemisphere = block.text(gps, tag - 1).toUpperCase();
  const parts = block.rationals(gps, tag);
  if (hemisphere.length !== 1 || !hemispheres.includes(hemisphere) || parts.length !== 3) {
    return null;
  }
  const value = parts[0] + parts[1] / 60 + parts[2] / 3600;
  // The comparison also refuses NaN, 0/0: the GPS had no fix.
  if (!(value >= 0 && value <= limit)) return null;
  const rounded = Math.round(value * 1e6) / 1e6;
  return hemisphere === hemispheres[0] ? rounded : 0 - rounded;
}

/** An EXIF block: a TIFF file without a picture. */
class Block {
  private readonly isLittle: boolean;

  constructor(private readonly view: DataView) {
    this.isLittle = view.getUint16(0) === 0x4949;
  }

  long(at: number): number {
    return this.view.getUint32(at, this.isLittle);
  }

  entries(start: number): Entries {
    const found: Entries = new Map();
    const count = this.view.getUint16(start, this.isLittle);
    for (let number = 0; number < count; number++) {
      const at = start + 2 + 12 * number;
      if (at + 12 > this.view.byteLength) break;
      const type = this.view.getUint16(at + 2, this.isLittle);
      const values = this.long(at + 4);
      const isInside = values * (TYPE_BYTES[type] ?? 8) <= 4;
      const place = isInside ? at + 8 : this.long(at + 8);
      found.set(this.view.getUint16(at, this.isLittle), { type, count: values, at: place });
    }
    return found;
  }

  entriesAt(entries: Entries, tag: number): Entries {
    const start = this.number(entries, tag);
    return start && start + 2 <= this.view.byteLength ? this.entries(start) : new Map();
  }

  number(entries: Entries, tag: number): number | undefined {
    const entry = entries.get(tag);
    if (entry?.type === 3) return this.view.getUint16(entry.at, this.isLittle);
    return entry?.type === 4 ? this.long(entry.at) : undefined;
  }

  text(entries: Entries, tag: number): string {
    const entry = entries.get(tag);
    if (entry?.type !== 2 || entry.at + entry.count > this.view.byteLength) return '';
    const { buffer, byteOffset } = this.view;
    const bytes = new Uint8Array(buffer, byteOffset + entry.at, entry.count);
    return new TextDecoder('latin1').decode(bytes).replace(/^[ \0]+|[ \0]+$/g, '');
  }

  rationals(entries: Entries, tag: number): number[] {
    const entry = entries.get(tag);
    if (entry?.type !== 5 || entry.at + 8 * entry.count > this.view.byteLength) return [];
    return Array.from({ length: entry.count }, (_, number) => {
      const at = entry.at + 8 * number;
      return this.long(at) / this.long(at + 4);
    });
  }
}
