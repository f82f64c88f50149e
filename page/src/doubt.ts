// What is said of a photo: a name, two, a group of plants, or that it is none of these. The rules
// are those of keras_flowers/inference/doubt.py, the words those of texts.ts.

import { isDeadly } from './deadly';
import type { Doubt, Named } from './messages';
import { texts } from './texts';

export interface Said {
  readonly kind: 'name' | 'perhaps' | 'group' | 'none';
  readonly text: string;
  /** What must be said with it; '' if nothing. */
  readonly warning: string;
}

/** The text with its warning, as one line. */
export function inOneLine({ text, warning }: Said): string {
  return warning ? `${text} (${warning})` : text;
}

/** The least probability of a second name that is worth saying. */
const SECOND = 0.1;

/** A group that is hardly surer than its likeliest member says less than that name. */
const GAIN = 0.05;

/** So many names are said of what is none of them. */
const ALIKE = 3;

/**
 * Puts an answer into words.
 *
 * @param top The likeliest names, the likeliest first.
 * @param probabilities Of each class, adding up to 1.
 * @param known How likely the photo shows one of the classes at all; undefined: nobody says.
 * @param labels The name of each class.
 */
export function said(
  top: readonly Named[],
  probabilities: Float32Array,
  known: number | undefined,
  doubt: Doubt | undefined,
  labels: readonly string[],
): Said {
  // A file without doubt does not say which classes are deadly: then their genera do.
  const deadly = new Set(
    doubt
      ? doubt.deadly.map((place) => labels[place])
      : top.filter((one) => isDeadly(one.scientificName)).map(({ name }) => name),
  );
  const answer = (kind: Said['kind'], text: string, names: readonly string[]): Said => {
    const some = names.filter((name) => deadly.has(name));
    return { kind, text, warning: some.length ? texts.deadly(some) : '' };
  };
  const [first] = top;
  if (known === undefined || !doubt) return answer('name', first.name, [first.name]);
  const { thresholds, groups } = doubt;
  if (known < thresholds.known) {
    const alike = top.slice(0, ALIKE).map(({ name }) => name);
    return answer('none', texts.none(labels.length, alike), alike);
  }
  if (first.probability >= thresholds.sure) return answer('name', first.name, [first.name]);
  for (const { name, classes } of groups) {
    const share = classes.reduce((sum, place) => sum + probabilities[place], 0);
    if (share >= thresholds.group && share - first.probability >= GAIN) {
      return answer('group', texts.group(name, share), classes.map((place) => labels[place]));
    }
  }
  const some = top.slice(0, 2).filter((one) => one === first || one.probability >= SECOND);
  return answer('perhaps', texts.perhaps(some), some.map(({ name }) => name));
}
