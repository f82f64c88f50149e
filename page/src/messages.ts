// What the page and the worker that runs the model say to each other.

import type { CaptureInfo } from './exif';
import type { ProblemKind } from './problem';
import type { Size } from './squash';

/** What is shown to the model: a file, a frame of the camera, or pixels of the model's size. */
export type Photo = Blob | ImageBitmap | Uint8Array;

export type Request =
  | { readonly id: number; readonly load: ArrayBuffer; readonly engine: string }
  | { readonly id: number; readonly classify: Photo; readonly thumbnail: number }
  | { readonly id: number; readonly read: Blob };

export interface ModelFacts {
  readonly labels: readonly string[];
  /** In the order of the labels; empty where the model has none. */
  readonly scientificNames: readonly string[];
  readonly size: Size;
  readonly name: string;
}

export interface Answered {
  /** Of each class, 0..1, in the order of the labels. */
  readonly probabilities: Float32Array;
  /** The photo, upright, no larger than asked for; only where it was. */
  readonly thumbnail?: ImageBitmap;
  /** When and where a file was taken. */
  readonly taken?: CaptureInfo;
  /** How long it took to read the photo and to run the model. */
  readonly milliseconds: { readonly read: number; readonly run: number };
}

export type Reply =
  | { readonly id: number; readonly result: ModelFacts | Answered | Uint8Array }
  | { readonly id: number; readonly problem: { kind: ProblemKind; detail: string } };
