// What a .tflite file says about itself: labels, size, numbers that its bytes stand for, and how it
// wants its pixels. The engine tells none of these.
//
// A field's number is its place in its table in `schema.fbs` of TFLite and in
// `metadata_schema.fbs`, counted from 0; a union counts twice, for its type and its value.

import type { Doubt } from './messages';
import { Problem } from './problem';
import type { Size } from './squash';
import { readZip } from './zip';

/** One number of a tensor stands for (number - zeroPoint) * scale; a scale of 0: for itself. */
export interface Quantisation {
  readonly scale: number;
  readonly zeroPoint: number;
}

/** A pixel 0..255 goes in as (pixel - mean) / std; one number for all channels, or three. */
export interface Scaling {
  readonly mean: readonly number[];
  readonly std: readonly number[];
}

export interface ModelFile {
  /** The bytes that the engine takes: as the file's, but with a batch of one. */
  readonly content: Uint8Array<ArrayBuffer>;
  readonly labels: readonly string[];
  /** undefined: every output is one of the labels; else the last one is of none of them. */
  readonly doubt: Doubt | undefined;
  /** Scientific names in the order of the labels; empty where the file has none. */
  readonly scientificNames: readonly string[];
  readonly size: Size;
  readonly name: string;
  /** The name of the input and of the output with the probabilities in the model's signature. */
  readonly inputName: string;
  readonly outputName: string;
  readonly input: Quantisation & { readonly isFloat: boolean };
  readonly output: Quantisation;
  /** null: pixels go in as they are. */
  readonly scaling: Scaling | null;
}

const FLOAT32 = 0;
const UINT8 = 3;
const TENSOR_AXIS_LABELS = 2;
const NORMALIZATION_OPTIONS = 1;

/**
 * Reads a model file.
 *
 * @throws Problem It is no TFLite model, or none that names what is in a photo.
 */
export async function readModelFile(file: ArrayBuffer): Promise<ModelFile> {
  // The batch is written into it, and the file itself belongs to the caller.
  const content = new Uint8Array(file.slice(0));
  if (new TextDecoder('latin1').decode(content.subarray(4, 8)) !== 'TFL3') {
    throw new Problem('not_a_model');
  }
  try {
    return await read(content);
  } catch (error) {
    if (error instanceof Problem) throw error;
    // DataView checks every access: what is damaged points out of the file.
    throw new Problem('not_a_model');
  }
}

async function read(content: Uint8Array<ArrayBuffer>): Promise<ModelFile> {
  const model = Table.root(content);
  const [graph] = model.tables(2);
  const tensors = graph.tables(0);
  for (const tensor of tensors) fixBatch(content, tensor);
  const inputs = graph.numbers(1);
  const outputs = graph.numbers(2);
  const described = standardMetadata(content, model);
  if (inputs.length !== 1 || (described.output < 0 && outputs.length !== 1)) {
    throw new Problem('model_of_other_kind', `${inputs.length} in, ${outputs.length} out`);
  }
  const input = tensors[inputs[0]];
  const outputNumber = outputs[Math.max(described.output, 0)];
  const output = tensors[outputNumber];
  const [batch, height, width, channels] = input.numbers(0);
  const type = input.byte(1);
  if (batch !== 1 || channels !== 3 || (type !== FLOAT32 && type !== UINT8)) {
    throw new Problem('model_of_other_kind', `[${input.numbers(0).join(', ')}]`);
  }

  const members = await readZip(content, /\.(txt|json)$/);
  const names = lines(members.get('labels.txt') ?? members.get(described.labelFile));
  const provenance = JSON.parse(members.get('keras_flowers.json') ?? '{}');
  if (!names.length) throw new Problem('model_without_labels');
  const classes = output.numbers(0).at(-1);
  if (classes !== names.length) {
    throw new Problem('model_of_other_kind', `${names.length} names, ${classes} values`);
  }
  const doubt: Doubt | undefined = provenance.doubt;
  const labels = doubt ? names.slice(0, -1) : names;
  const scientificNames = lines(members.get(described.scientificFile)).slice(0, labels.length);
  const isOurs = provenance.image !== undefined;
  if (!isOurs && type === FLOAT32 && !described.scaling) {
    throw new Problem('model_of_other_kind', 'no NormalizationOptions');
  }
  const signature = model.tables(7)[0];
  return {
    content,
    labels,
    doubt,
    scientificNames: scientificNames.length === labels.length ? scientificNames : [],
    size: [height, width],
    name: described.name,
    inputName: nameIn(signature?.tables(0), inputs[0]) ?? input.text(3),
    outputName: nameIn(signature?.tables(1), outputNumber) ?? output.text(3),
    input: { ...quantisation(input), isFloat: type === FLOAT32 },
    output: quantisation(output),
    // Bytes are pixels, and our own models take 0..255.
    scaling: isOurs || type === UINT8 ? null : described.scaling,
  };
}

/** Writes a batch of 1 where the file leaves it open: the engine refuses -1. */
function fixBatch(content: Uint8Array, tensor: Table): void {
  const shape = tensor.vector(0);
  const signature = tensor.vector(7);
  if (!signature || signature.length !== shape?.length) return;
  content.copyWithin(signature.start, shape.start, shape.start + 4 * shape.length);
}

function quantisation(tensor: Table): Quantisation {
  const table = tensor.table(4);
  return { scale: table?.floats(2)[0] ?? 0, zeroPoint: table?.longs(3)[0] ?? 0 };
}

/** What the signature calls a tensor. */
function nameIn(maps: readonly Table[] | undefined, tensor: number): string | undefined {
  return maps?.find((map) => map.unsigned(1) === tensor)?.text(0);
}

interface Described {
  readonly name: string;
  readonly scaling: Scaling | null;
  /** Which output has labels; -1: none that is said. */
  readonly output: number;
  readonly labelFile: string;
  readonly scientificFile: string;
}

/** What the standard metadata say, which other tools write too. */
function standardMetadata(content: Uint8Array, model: Table): Described {
  const nothing = { name: '', scaling: null, output: -1, labelFile: '', scientificFile: '' };
  const entry = model.tables(6).find((one) => one.text(0) === 'TFLITE_METADATA');
  const buffer = entry && model.tables(4)[entry.unsigned(1)].vector(0);
  if (!buffer) return nothing;
  const described = Table.root(content.subarray(buffer.start, buffer.start + buffer.length));
  const [graph] = described.tables(3);
  const options = graph
    .tables(2)[0]
    ?.tables(4)
    .find((unit) => unit.byte(0) === NORMALIZATION_OPTIONS)
    ?.table(1);
  const outputs = graph.tables(3).map((tensor) => {
    const files = tensor.tables(6).filter((file) => file.byte(2) === TENSOR_AXIS_LABELS);
    const latin = files.find((file) => file.text(3) === 'la');
    return {
      labelFile: files[0]?.text(0) ?? '',
      scientificFile: latin?.text(0) ?? '',
    };
  });
  const output = outputs.findIndex((one) => one.labelFile !== '');
  return {
    name: described.text(0),
    scaling: options ? { mean: options.floats(0), std: options.floats(1) } : null,
    output,
    labelFile: outputs[output]?.labelFile ?? '',
    scientificFile: outputs[output]?.scientificFile ?? '',
  };
}

/** The names in a label file, as `parse_labels` of the package reads them. */
function lines(text = ''): string[] {
  const names = text.split(/\r\n|\r|\n/).map((line) => line.replace(/^[ \t\ufeff]+|[ \t\ufeff]+$/g, ''));
  while (names.length && !names[names.length - 1]) names.pop();
  return names;
}

/** A table of a FlatBuffer. */
class Table {
  private constructor(
    private readonly view: DataView,
    private readonly start: number,
  ) {}

  static root(bytes: Uint8Array): Table {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    return new Table(view, view.getUint32(0, true));
  }

  /** Where a field's value lies in the buffer; 0 if it has none. */
  private place(field: number): number {
    const fields = this.start - this.view.getInt32(this.start, true);
    const entry = 4 + 2 * field;
    if (entry >= this.view.getUint16(fields, true)) return 0;
    const offset = this.view.getUint16(fields + entry, true);
    return offset && this.start + offset;
  }

  private follow(place: number): number {
    return place + this.view.getUint32(place, true);
  }

  byte(field: number): number {
    const place = this.place(field);
    return place && this.view.getUint8(place);
  }

  unsigned(field: number): number {
    const place = this.place(field);
    return place && this.view.getUint32(place, true);
  }

  table(field: number): Table | undefined {
    const place = this.place(field);
    return place ? new Table(this.view, this.follow(place)) : undefined;
  }

  /** Where a vector's values begin, and how many there are. */
  vector(field: number): { start: number; length: number } | undefined {
    const place = this.place(field);
    if (!place) return undefined;
    const vector = this.follow(place);
    return { start: vector + 4, length: this.view.getUint32(vector, true) };
  }

  tables(field: number): Table[] {
    return this.values(field, 4, (place) => new Table(this.view, this.follow(place)));
  }

  /** A vector of int32. */
  numbers(field: number): number[] {
    return this.values(field, 4, (place) => this.view.getInt32(place, true));
  }

  floats(field: number): number[] {
    return this.values(field, 4, (place) => this.view.getFloat32(place, true));
  }

  longs(field: number): number[] {
    return this.values(field, 8, (place) => Number(this.view.getBigInt64(place, true)));
  }

  text(field: number): string {
    const vector = this.vector(field);
    if (!vector) return '';
    const { buffer, byteOffset } = this.view;
    return new TextDecoder().decode(new Uint8Array(buffer, byteOffset + vector.start, vector.length));
  }

  private values<T>(field: number, bytes: number, read: (place: number) => T): T[] {
    const vector = this.vector(field);
    if (!vector) return [];
    // A damaged length must not ask for all memory.
    if (vector.start + bytes * vector.length > this.view.byteLength) throw new RangeError();
    return Array.from({ length: vector.length }, (_, n) => read(vector.start + bytes * n));
  }
}
