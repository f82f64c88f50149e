// The photos of this visit: named one after the other, one of them shown large, all in a list.

import { showBars } from './bars';
import type { Classifier } from './classifier';
import { csvOf } from './csv';
import type { Said } from './doubt';
import { find, make } from './elements';
import type { CaptureInfo } from './exif';
import type { Named } from './messages';
import { Problem } from './problem';
import { texts } from './texts';

/** How many names a photo gets. */
const NAMES = 5;

/** The longer side of the small pictures in the list, in pixels: twice what they take of it. */
const THUMBNAIL = 112;

/** So many photos are on their way at a time: one is decoded while the model looks at another. */
const AT_A_TIME = 2;

/** A photo of the list, with what is known of it. */
interface Item {
  readonly file: File;
  readonly row: HTMLLIElement;
  readonly button: HTMLButtonElement;
  top?: Named[];
  said?: Said;
  known?: number;
  taken?: CaptureInfo;
  problem?: Problem;
}

const answer = find('answer');
const photo = find<HTMLImageElement>('photo');
const status = find('status');
const rows = find('rows');

/** The photos and the part of the page that shows them. */
export class Gallery {
  private items: Item[] = [];
  private waiting: Item[] = [];
  private onTheirWay = 0;
  private shown: Item | undefined;
  private classifier: Classifier | undefined;

  constructor() {
    find('save').onclick = () => this.save();
    find('clear').onclick = () => this.clear();
    photo.onload = photo.onerror = () => URL.revokeObjectURL(photo.src);
  }

  get isEmpty(): boolean {
    return !this.items.length;
  }

  /** From now on photos are named with this model, and those that are there once more. */
  use(classifier: Classifier): void {
    this.classifier = classifier;
    for (const item of this.items) {
      item.top = item.said = item.problem = undefined;
      this.describe(item);
    }
    this.waiting = [...this.items];
    this.work();
  }

  /** Adds photos, and shows the first of them. */
  add(files: readonly File[]): void {
    const items = files.map((file) => this.newItem(file));
    if (!items.length) return;
    this.items.push(...items);
    this.waiting.push(...items);
    find('list').hidden = this.items.length < 2;
    this.show(items[0]);
    this.work();
  }

  private newItem(file: File): Item {
    const row = document.createElement('li');
    const button = document.createElement('button');
    button.type = 'button';
    row.append(button);
    rows.append(row);
    const item: Item = { file, row, button };
    button.onclick = () => {
      this.show(item);
      answer.scrollIntoView({ block: 'nearest' });
    };
    button.append(make('span', 'thumbnail'), make('span', 'file', file.name), make('span', 'result'));
    this.describe(item);
    return item;
  }

  private work(): void {
    while (this.classifier && this.onTheirWay < AT_A_TIME && this.waiting.length) {
      void this.name(this.waiting.shift() as Item, this.classifier);
    }
  }

  private async name(item: Item, classifier: Classifier): Promise<void> {
    this.onTheirWay++;
    try {
      const answered = await classifier.classify(item.file, THUMBNAIL);
      if (this.classifier === classifier) {
        item.top = classifier.top(answered, NAMES);
        item.said = classifier.said(answered);
        item.known = answered.known;
      }
      item.taken = answered.taken;
      if (answered.thumbnail) setThumbnail(item.button, answered.thumbnail);
    } catch (error) {
      // A model that was replaced meanwhile gives no answer, and the new one is asked again.
      if (!(error instanceof Problem)) throw error;
      if (this.classifier === classifier) item.problem = error;
    } finally {
      this.onTheirWay--;
      this.work();
    }
    // Removed meanwhile.
    if (!this.items.includes(item)) return;
    this.describe(item);
    if (item === this.shown) this.show(item);
    this.report(item);
  }

  /** Writes what is known of a photo into its row. */
  private describe({ button, top, said, problem }: Item): void {
    const result = button.querySelector('.result') as HTMLElement;
    result.classList.toggle('problem', problem !== undefined);
    if (top && said) {
      // What is in doubt says itself how likely it is.
      const share = said.kind === 'name' ? texts.percent(top[0].probability) : '';
      result.replaceChildren(make('span', 'name', said.text), make('span', 'percent', share));
    } else {
      result.textContent = problem ? texts.reason(problem) : texts.list.waiting;
    }
  }

  private show(item: Item): void {
    if (this.shown !== item) {
      this.shown?.button.removeAttribute('aria-current');
      item.button.setAttribute('aria-current', 'true');
      this.shown = item;
      answer.hidden = true;
    }
    const { file, top, said, problem } = item;
    showProblem(problem ? texts.problem(file.name, problem) : '');
    if (!top || !said) return;
    find('name').textContent = said.text;
    find('scientific-name').textContent = said.kind === 'name' ? top[0].scientificName : '';
    find('warning').textContent = said.warning;
    showBars(find('bars'), top);
    if (answer.hidden) {
      photo.src = URL.createObjectURL(file);
      photo.alt = texts.photoAlt(file.name);
      answer.hidden = false;
    }
  }

  private report({ file, said }: Item): void {
    const named = this.items.filter((item) => item.top).length;
    const failed = this.items.filter((item) => item.problem).length;
    const isAlone = this.items.length === 1;
    const answered = said ? texts.answered(file.name, said.text) : '';
    status.textContent = isAlone ? answered : texts.naming(named, this.items.length, failed);
    status.classList.toggle('shown-below', isAlone);
  }

  private save(): void {
    const table = this.items.map(({ file, top, said, known, taken, problem }) => ({
      photo: file.name,
      top: top ?? [],
      known,
      said,
      taken,
      error: problem ? texts.problem(file.name, problem) : '',
    }));
    const link = document.createElement('a');
    link.href = URL.createObjectURL(new Blob([csvOf(table, NAMES)], { type: 'text/csv' }));
    link.download = texts.list.file;
    link.click();
    URL.revokeObjectURL(link.href);
  }

  private clear(): void {
    this.items = [];
    this.waiting = [];
    this.shown = undefined;
    rows.replaceChildren();
    answer.hidden = true;
    find('list').hidden = true;
    showProblem('');
    status.classList.remove('shown-below');
    status.textContent = this.classifier ? texts.ready(this.classifier.facts.labels.length) : '';
    find('choose').focus();
  }
}

/** Shows a sentence about what went wrong; '' shows nothing. */
export function showProblem(sentence: string): void {
  const place = find('problem');
  place.textContent = sentence;
  place.hidden = !sentence;
}

function setThumbnail(button: HTMLElement, bitmap: ImageBitmap): void {
  const canvas = document.createElement('canvas');
  canvas.width = bitmap.width;
  canvas.height = bitmap.height;
  canvas.getContext('bitmaprenderer')?.transferFromImageBitmap(bitmap);
  button.querySelector('.thumbnail')?.replaceChildren(canvas);
}
