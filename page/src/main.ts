// Wires the page together: photos come in by button, drop, paste and camera, a model by drop.

import { setUpCamera } from './camera';
import { Classifier } from './classifier';
import { find } from './elements';
import { Gallery, showProblem } from './gallery';
import { keepForOffline } from './offline';
import { Problem } from './problem';
import { texts } from './texts';

const MODEL = './model.tflite';

const gallery = new Gallery();
let classifier: Classifier | undefined;

async function useModel(name: string, content: () => Promise<ArrayBuffer>): Promise<Classifier> {
  let next: Classifier;
  try {
    next = await Classifier.load(await content());
  } catch (error) {
    const problem = error instanceof Problem ? error : new Problem('unreadable');
    showProblem(texts.problem(name, problem));
    throw problem;
  }
  const before = classifier;
  classifier = next;
  const { labels, name: called } = next.facts;
  find('model').textContent = texts.model.used(called || name, labels.length);
  if (gallery.isEmpty) find('status').textContent = texts.ready(labels.length);
  gallery.use(next);
  before?.close();
  return next;
}

async function fetchModel(): Promise<ArrayBuffer> {
  const response = await fetch(MODEL).catch(() => undefined);
  if (!response?.ok) throw new Problem('no_model');
  return response.arrayBuffer();
}

/** Takes what was chosen, dropped or pasted: photos, or a model. */
function take(files: Iterable<File>): void {
  showProblem('');
  const all = [...files];
  const model = all.find((file) => file.name.toLowerCase().endsWith('.tflite'));
  // What went wrong is said already.
  if (model) useModel(model.name, () => model.arrayBuffer()).catch(() => {});
  gallery.add(all.filter((file) => file !== model));
}

function setUpInput(button: string, input: string): void {
  const field = find<HTMLInputElement>(input);
  find(button).onclick = () => field.click();
  field.onchange = () => {
    take(field.files ?? []);
    field.value = ''; // so that the same file can be chosen again
  };
}

function setUpDrop(): void {
  const isOver = (over: boolean) => document.body.classList.toggle('drop', over);
  document.addEventListener('dragover', (event) => {
    event.preventDefault();
    isOver(true);
  });
  document.addEventListener('dragleave', (event) => {
    if (!event.relatedTarget) isOver(false);
  });
  document.addEventListener('drop', (event) => {
    event.preventDefault();
    isOver(false);
    take(event.dataTransfer?.files ?? []);
  });
  document.addEventListener('paste', (event) => take(event.clipboardData?.files ?? []));
}

setUpInput('choose', 'files');
setUpInput('model-choose', 'model-file');
setUpDrop();
setUpCamera({ classifier: () => classifier, add: (photo) => gallery.add([photo]) });
const ready = useModel(MODEL.slice(2), fetchModel);
ready.then(
  () => keepForOffline(() => gallery.isEmpty),
  () => {
    find('status').textContent = '';
  },
);

/** For tests, for `keras-flowers verify`, and for whoever puts the page into one of their own. */
const api = {
  /** The model that belongs to the page, once it is loaded. */
  ready,
  /** The model that is used now. */
  classifier: () => classifier,
};
Object.assign(window, { kerasFlowers: api });
