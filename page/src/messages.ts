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

/** What a model says about its answers, where its last output is for photos of none of its classes. */
export interface Doubt {
  readonly thresholds: { readonly known: number; readonly sure: number; readonly group: number };
  /** Genera before families. */
  readonly groups: readonly { readonly name: string; readonly classes: readonly number[] }[];
  /** Classes whose genus holds plants that have killed people. */
  readonly deadly: readonly number[];
}

/** A class with its probability, 0..1. */
export interface Named {
  readonly name: string;
  readonly scientificName: string;
  readonly probability: number;
}

export interface ModelFacts {
  readonly labels: readonly string[];
  readonly doubt: Doubt | undefined;
  /** In the order of the labels; empty where the model has none. */
  readonly scientificNames: readonly string[];
  readonly size: Size;
  readonly name: string;
}

export interface Answered {
  /** What the model gives: of each class, 0..1, and of none of them where it has doubt. */
  readonly outputs: Float32Array;
  /** Of each class, in the order of the labels, if it is one of them: they add up to 1. */
  readonly probabilities: Float32Array;
  /** How likely the photo shows one of the classes at all; undefined: the model does not say. */
  readonly known: number | undefined;
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
