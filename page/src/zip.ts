// The text files in the zip archive that lies behind a model.

const END_OF_DIRECTORY = 0x06054b50;
const STORED = 0;
const DEFLATED = 8;

/** Ours have a few kilobytes; a stranger's may be a zip bomb. */
const MAX_BYTES = 1 << 20;

/**
 * The members of the archive at the end of `file` whose names match, by name, as UTF-8 text; none
 * if there is no archive.
 */
export async function readZip(file: Uint8Array, wanted: RegExp): Promise<Map<string, string>> {
  const members = new Map<string, string>();
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  let end = file.length - 22;
  while (end >= 0 && view.getUint32(end, true) !== END_OF_DIRECTORY) end--;
  if (end < 0) return members;
  const count = view.getUint16(end + 10, true);
  const directory = view.getUint32(end + 12, true);
  // What lies before the archive may be counted in its offsets or not.
  const before = end - directory - view.getUint32(end + 16, true);
  let at = end - directory;
  for (let number = 0; number < count; number++) {
    const method = view.getUint16(at + 10, true);
    const size = view.getUint32(at + 20, true);
    const nameLength = view.getUint16(at + 28, true);
    const rest = view.getUint16(at + 30, true) + view.getUint16(at + 32, true);
    const header = before + view.getUint32(at + 42, true);
    const name = new TextDecoder().decode(file.subarray(at + 46, at + 46 + nameLength));
    at += 46 + nameLength + rest;
    if (!wanted.test(name) || (method !== STORED && method !== DEFLATED)) continue;
    const start = header + 30 + view.getUint16(header + 26, true) + view.getUint16(header + 28, true);
    const data = file.slice(start, start + size);
    members.set(name, new TextDecoder().decode(method === STORED ? data : await inflate(data)));
  }
  return members;
}

async function inflate(data: Uint8Array<ArrayBuffer>): Promise<Uint8Array> {
  const stream = new Blob([data]).stream().pipeThrough(new DecompressionStream('deflate-raw'));
  const reader = stream.getReader();
  const parts: Uint8Array<ArrayBuffer>[] = [];
  let bytes = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    bytes += value.length;
    if (bytes > MAX_BYTES) throw new RangeError();
    parts.push(value);
  }
  return new Uint8Array(await new Blob(parts).arrayBuffer());
}
