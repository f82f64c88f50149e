// The thread that reads photos and runs the model, so that the page never stalls.
//
// It is started from a blob (`?worker&inline`): such a worker is bound by the page's content
// security policy on any web space, while one from a file is bound by what the server says.

import { type CompiledModel, Tensor, loadAndCompile, loadLiteRt } from '@litertjs/core';

import type { Answered, ModelFacts, Photo, Reply, Request } from './messages';
import { type ModelFile, readModelFile } from './model_file';
import { Problem } from './problem';
import { type Decoded, decode, pixelsOf } from './reading';

let file: ModelFile | undefined;
let model: CompiledModel | undefined;

self.onmessage = async ({ data }: MessageEvent<Request>) => {
  let reply: Reply;
  try {
    reply = { id: data.id, result: await answer(data) };
  } catch (error) {
    const { kind, detail } =
      error instanceof Problem ? error : new Problem('no_engine', String(error));
    reply = { id: data.id, problem: { kind, detail } };
  }
  const transfer: Transferable[] = [];
  if ('result' in reply && 'thumbnail' in reply.result && reply.result.thumbnail) {
    transfer.push(reply.result.thumbnail);
  }
  self.postMessage(reply, { transfer });
};

async function answer(request: Request): Promise<ModelFacts | Answered | Uint8Array> {
  if ('load' in request) return load(request.load, request.engine);
  if ('read' in request) return read(request.read);
  return classify(request.classify, request.thumbnail);
}

async function load(content: ArrayBuffer, engine: string): Promise<ModelFacts> {
  file = await readModelFile(content);
  try {
    await start(engine);
  } catch (error) {
    throw new Problem('no_engine', String(error));
  }
  try {
    model = await loadAndCompile(file.content, { accelerator: 'wasm' });
  } catch (error) {
    throw new Problem('model_of_other_kind', String(error));
  }
  const { labels, doubt, scientificNames, size, name } = file;
  return { labels, doubt, scientificNames, size, name };
}

async function start(engine: string): Promise<void> {
  // The engine's own talk, a dozen lines a start, is kept from the console; and it would wake the
  // graphics processor, which is not used: its answers differ from those of the command.
  Object.assign(self, {
    Module: { locateFile: (name: string) => engine + name, print: () => {}, printErr: () => {} },
  });
  Object.defineProperty(navigator, 'gpu', {
    value: { requestAdapter: async () => null },
    configurable: true,
  });
  const { warn } = console;
  console.warn = () => {};
  await loadLiteRt(engine);
  console.warn = warn;
}

async function read(photo: Blob): Promise<Uint8Array> {
  const { size } = loaded().file;
  const decoded = await decode(photo);
  try {
    return pixelsOf(decoded, size);
  } finally {
    decoded.bitmap.close();
  }
}

async function classify(photo: Photo, side: number): Promise<Answered> {
  const started = performance.now();
  const { size } = loaded().file;
  if (photo instanceof Uint8Array) {
    const run = performance.now();
    const outputs = await outputsOf(photo);
    return { ...divided(outputs), milliseconds: { read: 0, run: performance.now() - run } };
  }
  const decoded: Decoded =
    photo instanceof ImageBitmap ? { bitmap: photo, isJpeg: false } : await decode(photo);
  try {
    const pixels = pixelsOf(decoded, size);
    const run = performance.now();
    const outputs = await outputsOf(pixels);
    const milliseconds = { read: run - started, run: performance.now() - run };
    const thumbnail = side ? await thumbnailOf(decoded.bitmap, side) : undefined;
    return { ...divided(outputs), thumbnail, taken: decoded.exif, milliseconds };
  } finally {
    decoded.bitmap.close();
  }
}

function thumbnailOf(bitmap: ImageBitmap, side: number): Promise<ImageBitmap> {
  const scale = Math.min(side / bitmap.width, side / bitmap.height, 1);
  return createImageBitmap(bitmap, {
    resizeWidth: Math.max(Math.round(bitmap.width * scale), 1),
    resizeHeight: Math.max(Math.round(bitmap.height * scale), 1),
    resizeQuality: 'medium',
  });
}

/** As `Classifier` of the package does it: of the classes alone, and how likely it is one of them. */
function divided(outputs: Float32Array): Pick<Answered, 'outputs' | 'probabilities' | 'known'> {
  if (!loaded().file.doubt) return { outputs, probabilities: outputs, known: undefined };
  const known = 1 - outputs[outputs.length - 1];
  let named = outputs.slice(0, -1);
  if (!named.some((one) => one)) named = named.fill(1);
  const sum = named.reduce((one, other) => one + other, 0);
  return { outputs, probabilities: named.map((one) => one / sum), known };
}

/** The model's answer to [height, width, 3] pixels 0..255 of its size. */
async function outputsOf(pixels: Uint8Array): Promise<Float32Array> {
  const { file, model } = loaded();
  const input = new Tensor(numbersOf(pixels, file), [1, ...file.size, 3]);
  let outputs: Record<string, Tensor> = {};
  try {
    outputs = await model.run({ [file.inputName]: input });
    const output = outputs[file.outputName];
    // A copy: the engine's memory is given back below.
    const numbers = Float32Array.from(output.toTypedArray());
    const { scale, zeroPoint } = file.output;
    const probabilities = scale ? numbers.map((number) => (number - zeroPoint) * scale) : numbers;
    refuseOtherNumbers(probabilities);
    return probabilities;
  } finally {
    input.delete();
    for (const output of Object.values(outputs)) output.delete();
  }
}

function numbersOf(
  pixels: Uint8Array,
  { input, scaling }: ModelFile,
): Uint8Array<ArrayBuffer> | Float32Array<ArrayBuffer> {
  if (!input.isFloat) return new Uint8Array(pixels);
  const numbers = Float32Array.from(pixels);
  if (!scaling) return numbers;
  const { mean, std } = scaling;
  return numbers.map(
    (number, at) => (number - mean[at % mean.length]) / std[at % std.length],
  );
}

/** As `Classifier.predict_pixels` does it: wide, since 8 bits round each of many small numbers. */
function refuseOtherNumbers(probabilities: Float32Array): void {
  const sum = probabilities.reduce((one, other) => one + other, 0);
  if (!(Math.min(...probabilities) >= -0.01 && Math.abs(sum - 1) < 0.5)) {
    throw new Problem('no_probabilities');
  }
}

function loaded(): { file: ModelFile; model: CompiledModel } {
  if (!file || !model) throw new Problem('no_model');
  return { file, model };
}
