// Every word that the page says, in one place. Another language is another object of this shape.

import type { Named } from './messages';
import type { Problem, ProblemKind } from './problem';

export const texts = {
  language: 'en',
  title: 'Which flower is this?',
  shortTitle: 'Flowers',
  description: 'Names the flower in a photo, on your own device.',

  privacy: 'Your photos stay on this device: nothing is sent anywhere.',
  choose: 'Choose photos',
  useCamera: 'Use the camera',
  dropHint: 'or drop photos here',
  dropNow: 'Let go to name the flowers',

  loading: 'Getting ready …',
  ready: (classes: number) => `Ready: ${classes} kinds of flowers can be named.`,
  naming: (named: number, all: number, failed: number) =>
    `${named} of ${all} photos named` + (failed ? `; ${failed} could not be read` : ''),
  answered: (photo: string, headline: string) => `${photo}: ${headline}`,

  photoAlt: (photo: string) => `The photo ${photo}`,
  likeliest: 'The likeliest names',
  noScript: 'This page runs a model in your browser and needs JavaScript for it.',

  camera: {
    title: 'Camera',
    picture: 'What the camera sees',
    take: 'Take a photo',
    live: 'Name live',
    close: 'Close the camera',
    photo: (time: string) => `camera ${time}.jpg`,
    notAllowed: 'The camera may not be used: allow it in the browser’s settings of this page.',
    none: 'No camera was found on this device.',
    insecure: 'The camera works only on a page that was opened with https, or on this computer.',
    failed: 'The camera cannot be used; perhaps another program has it.',
  },

  list: {
    title: 'Photos',
    save: 'Save as CSV',
    clear: 'Remove all',
    file: 'flowers.csv',
    waiting: 'waiting …',
  },

  model: {
    used: (name: string, classes: number) => `Model: ${name || 'without a name'}, ${classes} flowers`,
    choose: 'Use another model',
  },

  offline: 'Works without a connection from now on.',
  update: 'A new version is ready: load it',
  licences: 'Licences',

  /** Of a photo that shows none of the model's flowers; `alike`: what it looks like most. */
  none: (flowers: number, alike: readonly string[]): string =>
    `none of the ${flowers} flowers this model knows; most like: ${alike.join(', ')}`,

  /** Of a photo whose genus or family is sure, and nothing more. */
  group: (name: string, probability: number): string => `${name}, ${percent(probability)}`,

  /** Of a photo that may show one or two flowers. */
  perhaps: (some: readonly Named[]): string =>
    `perhaps ${some
      .map(({ name, probability }) => `${withArticle(name)} (${percent(probability)})`)
      .join(' or ')}`,

  /** What is said with plants whose genus holds deadly ones. */
  deadly: (names: readonly string[]): string =>
    `${names.join(', ')}: has deadly relatives or is deadly itself: no guide to what may be eaten`,

  percent,

  /** One sentence about a file that cannot be used: what it is, and what to do next. */
  problem: (file: string, problem: Problem): string => `${file} ${texts.reason(problem)}`,

  /** The same where the name of the file stands before it. */
  reason: ({ kind, detail }: Problem): string => problems[kind](detail),
};

const kinds: Record<string, string> = {
  heic: 'is a HEIC photo, which this browser cannot read: save it as JPEG first.',
  avif: 'is an AVIF photo, which this browser cannot read: save it as JPEG first.',
  tiff: 'is a TIFF or a camera’s raw file, which this browser cannot read: save it as JPEG first.',
  raw: 'is a camera’s raw file: save it as JPEG first.',
  jpeg_2000: 'is a JPEG 2000 file, which this browser cannot read: save it as JPEG first.',
  pdf: 'is a PDF document, not a photo: save the photo in it as JPEG first.',
  photoshop: 'is a Photoshop file: save it as JPEG first.',
  video: 'is a video, not a photo: save a picture of it as JPEG first.',
  web_page: 'is a web page, not a photo: download the photo itself.',
};

const problems: Record<ProblemKind, (detail: string) => string> = {
  empty: () => 'is empty: choose a photo.',
  unreadable: () => 'cannot be read: it was moved, or it is a folder; choose the photos in it.',
  damaged: () => 'is damaged or incomplete: copy or download it again.',
  other_kind: (kind) => kinds[kind],
  not_a_photo: () => 'is not a photo that can be read: choose a JPEG, PNG, WebP, GIF or AVIF.',
  too_many_pixels: (limit) => `has more than ${limit} million pixels: make it smaller first.`,
  too_many_bytes: (limit) => `has more than ${limit} MB: make it smaller first.`,
  not_a_model: () => 'is not a TFLite model, or it is damaged: export or download it again.',
  model_without_labels: () => 'holds no names of flowers: use a file of keras-flowers export.',
  model_of_other_kind: (found) =>
    `is not a model that names what is in a photo (${found}): use a file of keras-flowers export.`,
  no_probabilities: () => 'gives no probabilities: export the model again.',
  no_engine: (reason) => `cannot be run in this browser (${reason}): use a newer one.`,
  no_model: () => 'is not there: check the connection and load the page again.',
};

/** Names that end in s and are one plant. */
const singular = [
  'bearded iris',
  'clematis',
  'crocus',
  'hibiscus',
  'lotus',
  'spring crocus',
  'yellow iris',
];

/** A common name as one says it. */
function withArticle(name: string): string {
  if (/[^s]s$/.test(name) && !singular.includes(name)) return name;
  return `${/^[aeio]/i.test(name) ? 'an' : 'a'} ${name}`;
}

/** A probability 0..1 as a percentage that says never or certain of nothing that is neither. */
function percent(probability: number): string {
  if (probability > 0 && probability < 0.0005) return '<0.1%';
  if (probability >= 0.9995 && probability < 1) return '>99.9%';
  return `${(100 * probability).toFixed(1)}%`;
}
