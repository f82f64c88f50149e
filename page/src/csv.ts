// Answers as a table for a spreadsheet, in the columns of `keras-flowers predict --output x.csv`.

import type { Named } from './messages';
import { type Said, inOneLine } from './doubt';
import type { CaptureInfo } from './exif';

export interface Row {
  readonly photo: string;
  readonly top: readonly Named[];
  readonly known?: number;
  readonly said?: Said;
  readonly taken?: CaptureInfo;
  /** Why there is no answer; '' where there is one. */
  readonly error: string;
}

/** The table as text, with a header; `names` is how many names a row has. */
export function csvOf(rows: readonly Row[], names: number): string {
  const header = ['photo', 'name', 'probability'];
  for (let number = 2; number <= names; number++) {
    header.push(`name_${number}`, `probability_${number}`);
  }
  const table = rows.map(({ photo, top, known, said, taken, error }) => [
    photo,
    ...Array.from({ length: names }, (_, place) => top[place]).flatMap((one) =>
      one ? [one.name, String(Number(one.probability.toFixed(6)))] : ['', ''],
    ),
    known === undefined ? '' : String(Number(known.toFixed(6))),
    said ? inOneLine(said) : '',
    ...[taken?.date, taken?.latitude, taken?.longitude].map((fact) => String(fact ?? '')),
    error,
  ]);
  return [[...header, 'known', 'answer', 'date', 'latitude', 'longitude', 'error'], ...table].map((cells) => `${cells.map(quoted).join(',')}\n`).join('');
}

function quoted(cell: string): string {
  return /[",\r\n]/.test(cell) ? `"${cell.replace(/"/g, '""')}"` : cell;
}
