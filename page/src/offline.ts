// Keeps the page in the browser, so that it opens without a connection, and brings new versions.

import { find } from './elements';

/**
 * Starts the service worker.
 *
 * @param mayReload Whether nothing would be lost if the page were loaded again.
 */
export async function keepForOffline(mayReload: () => boolean): Promise<void> {
  const container = navigator.serviceWorker;
  if (!container) return; // an insecure address, or a private window
  const hadOne = container.controller !== null;
  container.addEventListener('controllerchange', () => {
    if (!hadOne) return;
    if (mayReload()) location.reload();
    else find('update').hidden = false;
  });
  (find('update').firstElementChild as HTMLElement).onclick = () => location.reload();
  try {
    await container.register('./sw.js');
  } catch {
    return; // a web space that does not give it, or storage that is full: the page works online
  }
  await container.ready;
  find('offline').hidden = false;
}
