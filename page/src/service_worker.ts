// Keeps the page, the engine and the model in the browser, so that it works without a connection.
//
// Whoever serves the page writes `const SITE = {...}` in front of this file: every file of the site
// with a hash of its content. So a changed file changes this script too, which makes the browser
// look; and files that stayed the same are not fetched again.

declare const SITE: { readonly [file: string]: string };
declare const self: ServiceWorkerGlobalScope;
// A module, or else `self` would be declared twice.
export {};

const CACHE = 'keras-flowers';

self.addEventListener('install', (event) => event.waitUntil(keepAll()));
self.addEventListener('activate', (event) => event.waitUntil(forgetOthers()));
self.addEventListener('fetch', (event) => {
  const url = new URL(event.request.url);
  const file = url.href.slice(self.registration.scope.length).replace(/[?#].*/, '') || 'index.html';
  if (event.request.method === 'GET' && url.href.startsWith(self.registration.scope) && SITE[file]) {
    event.respondWith(kept(file, event.request));
  }
});

/** The place of a file in the cache: by its content, too. */
function key(file: string): string {
  return `${self.registration.scope}${file}?${SITE[file]}`;
}

/** Some web spaces send from index.html to its folder, and no browser opens what was sent on. */
function address(file: string): string {
  return self.registration.scope + (file === 'index.html' ? '' : file);
}

async function keepAll(): Promise<void> {
  const cache = await caches.open(CACHE);
  await Promise.all(
    Object.keys(SITE)
      .filter(isNeeded)
      .map(async (file) => {
        if (await cache.match(key(file))) return;
        // Asks whether what the browser has is still the newest: the page has just fetched it.
        const response = await fetch(address(file), { cache: 'no-cache' });
        if (!response.ok) throw new Error(`${file}: ${response.status}`);
        await cache.put(key(file), response);
      }),
  );
  await self.skipWaiting();
}

/** Of the two engines, the one that this browser runs. */
function isNeeded(file: string): boolean {
  if (!file.startsWith('engine-')) return true;
  return file.includes('_compat_') !== hasRelaxedSimd();
}

function hasRelaxedSimd(): boolean {
  // (module (func (result v128) (i8x16.relaxed_swizzle (i8x16.splat (i32.const 1)) ...)))
  const module = [
    0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 15, 1, 13, 0, 65, 1, 253,
    15, 65, 2, 253, 15, 253, 128, 2, 11,
  ];
  return WebAssembly.validate(new Uint8Array(module));
}

async function forgetOthers(): Promise<void> {
  const cache = await caches.open(CACHE);
  const wanted = new Set(Object.keys(SITE).map(key));
  for (const request of await cache.keys()) {
    if (!wanted.has(request.url)) await cache.delete(request);
  }
  await self.clients.claim();
}

async function kept(file: string, request: Request): Promise<Response> {
  const cache = await caches.open(CACHE);
  return (await cache.match(key(file))) ?? fetch(request);
}
