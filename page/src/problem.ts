// What is wrong with a file, as a code that travels between threads; texts.ts has the sentences.

export type ProblemKind =
  | 'empty'
  | 'unreadable'
  | 'damaged' // it ends too early or cannot be decoded
  | 'other_kind' // it is known and no photo for this browser; `detail` is its key in texts.ts
  | 'not_a_photo'
  | 'too_many_pixels' // `detail`: how many millions are accepted
  | 'too_many_bytes' // `detail`: how many MB are accepted
  | 'not_a_model'
  | 'model_without_labels'
  | 'model_of_other_kind' // `detail`: what was found
  | 'no_probabilities' // the model's answer does not add up to 1
  | 'no_engine' // the browser cannot run the engine; `detail`: its own words
  | 'no_model'; // the model that belongs to the page could not be fetched

/** An error that a person can do something about. */
export class Problem extends Error {
  constructor(
    readonly kind: ProblemKind,
    readonly detail = '',
  ) {
    super(detail ? `${kind}: ${detail}` : kind);
  }
}
