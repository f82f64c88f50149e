// The camera: names what it sees while it is open, and takes photos.

import { showBars } from './bars';
import type { Classifier } from './classifier';
import { type Said, inOneLine } from './doubt';
import { find } from './elements';
import { showProblem } from './gallery';
import { texts } from './texts';

/** Time between two answers about what the camera sees: as fast as one can read. */
const MILLISECONDS = 500;

const video = find<HTMLVideoElement>('video');
const section = find('camera');
const live = find('live');

/** What the camera needs of the page. */
interface Page {
  classifier(): Classifier | undefined;
  add(photo: File): void;
}

/** Makes the buttons of the camera work. */
export function setUpCamera(page: Page): void {
  find('camera-open').onclick = () => void open(page);
  find('camera-close').onclick = close;
  find('shutter').onclick = () => void takePhoto(page);
  live.onclick = () => {
    const pressed = live.getAttribute('aria-pressed') !== 'true';
    live.setAttribute('aria-pressed', `${pressed}`);
    if (!pressed) showLive([]);
  };
  // A camera that nobody looks at is switched off.
  document.addEventListener('visibilitychange', () => {
    if (document.hidden && !section.hidden) close();
  });
}

async function open(page: Page): Promise<void> {
  if (!section.hidden) return;
  showProblem('');
  try {
    if (!navigator.mediaDevices) throw new DOMException('', 'SecurityError');
    video.srcObject = await navigator.mediaDevices.getUserMedia({
      video: { facingMode: { ideal: 'environment' }, width: { ideal: 1280 } },
    });
    await video.play();
  } catch (error) {
    stop();
    showProblem(sentenceOf((error as DOMException).name));
    return;
  }
  section.hidden = false;
  find('shutter').focus();
  section.scrollIntoView({ block: 'nearest' });
  void watch(page);
}

function sentenceOf(name: string): string {
  const { camera } = texts;
  if (name === 'SecurityError') return camera.insecure;
  if (name === 'NotAllowedError') return camera.notAllowed;
  return name === 'NotFoundError' ? camera.none : camera.failed;
}

function stop(): void {
  if (video.srcObject instanceof MediaStream) {
    for (const track of video.srcObject.getTracks()) track.stop();
  }
  video.srcObject = null;
}

function close(): void {
  stop();
  section.hidden = true;
  showLive([]);
  find('camera-open').focus();
}

/** Names what is seen, again and again, until the camera is closed. */
async function watch(page: Page): Promise<void> {
  const stream = video.srcObject;
  while (video.srcObject === stream) {
    const pause = new Promise((resolve) => setTimeout(resolve, MILLISECONDS));
    const classifier = page.classifier();
    if (classifier && live.getAttribute('aria-pressed') === 'true' && video.videoWidth) {
      const frame = await createImageBitmap(video);
      // The model may be replaced while it looks.
      const answered = await classifier.classify(frame).catch(() => undefined);
      const isLive = live.getAttribute('aria-pressed') === 'true' && video.srcObject === stream;
      if (answered && isLive) showLive(classifier.top(answered), classifier.said(answered));
    }
    await pause;
  }
}

function showLive(top: ReturnType<Classifier['top']>, said?: Said): void {
  const name = find('live-name');
  const headline = said ? inOneLine(said) : '';
  // The same text once more would be read out once more.
  if (name.textContent !== headline) name.textContent = headline;
  showBars(find('live-bars'), top);
}

async function takePhoto(page: Page): Promise<void> {
  const canvas = document.createElement('canvas');
  canvas.width = video.videoWidth;
  canvas.height = video.videoHeight;
  canvas.getContext('2d')?.drawImage(video, 0, 0);
  const photo = await new Promise<Blob | null>((give) => canvas.toBlob(give, 'image/jpeg', 0.95));
  if (!photo) return;
  const now = new Date();
  const time = [now.getHours(), now.getMinutes(), now.getSeconds()]
    .map((part) => String(part).padStart(2, '0'))
    .join('-');
  page.add(new File([photo], texts.camera.photo(time), { type: photo.type }));
}
