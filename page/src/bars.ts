// A bar for each of the likeliest names, the first in colour, on a track that stands for 100 %.

import type { Named } from './messages';
import { make } from './elements';
import { texts } from './texts';

/** Fills a list with the names, bars and percentages. */
export function showBars(list: HTMLElement, top: readonly Named[]): void {
  list.replaceChildren(
    ...top.map(({ name, probability }) => {
      const row = document.createElement('li');
      const track = make('span', 'track');
      const bar = make('span', 'bar');
      bar.style.width = `${100 * probability}%`;
      track.append(bar);
      row.append(make('span', 'name', name), track, make('span', 'percent', texts.percent(probability)));
      return row;
    }),
  );
}
