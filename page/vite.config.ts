// Builds the page into the Python package, which serves it and puts a model beside it.

import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { type Plugin, defineConfig } from 'vite';

import { texts } from './src/texts.ts';

const OUT = '../keras_flowers/page';
const ENGINE = 'node_modules/@litertjs/core';
const { version } = JSON.parse(readFileSync(join(ENGINE, 'package.json'), 'utf-8'));
/** The version in its path: half of an old engine in a cache must not meet half of a new one. */
const engineFolder = `engine-${version}`;

/** Nothing but this page's own files can be loaded or talked to, by the page and by its worker. */
const POLICY = [
  "default-src 'none'",
  "script-src 'self' 'wasm-unsafe-eval'",
  'worker-src blob: \'self\'',
  "style-src 'self'",
  "img-src 'self' blob:",
  "connect-src 'self'",
  "manifest-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
].join('; ');

/** `{{camera.title}}` in the page becomes the text of that name. */
function fillIn(html: string): string {
  return html.replace(/\{\{([\w.]+)\}\}/g, (_, path: string) => {
    const text = path.split('.').reduce<unknown>((from, key) => (from as never)[key], texts);
    if (typeof text !== 'string') throw new Error(`texts.ts has no ${path}`);
    return text.replace(/&/g, '&amp;').replace(/"/g, '&quot;').replace(/</g, '&lt;');
  });
}

const fromTexts: Plugin = {
  name: 'texts, policy and engine',
  transformIndexHtml: {
    order: 'pre',
    handler: (html) => ({
      html: fillIn(html),
      tags: [
        {
          tag: 'meta',
          attrs: { 'http-equiv': 'Content-Security-Policy', content: POLICY },
          injectTo: 'head-prepend',
        },
      ],
    }),
  },
  writeBundle() {
    mkdirSync(join(OUT, engineFolder), { recursive: true });
    // With the arithmetic of newer browsers, and for older ones.
    for (const name of ['litert_wasm_internal', 'litert_wasm_compat_internal']) {
      for (const ending of ['js', 'wasm']) {
        const file = `${name}.${ending}`;
        copyFileSync(join(ENGINE, 'wasm', file), join(OUT, engineFolder, file));
      }
    }
    const icon = (file: string, sizes: string, purpose: string) => ({ src: file, sizes, purpose });
    const manifest = {
      name: texts.title,
      short_name: texts.shortTitle,
      description: texts.description,
      lang: texts.language,
      start_url: './',
      display: 'standalone',
      background_color: '#ffffff',
      theme_color: '#ffffff',
      icons: [
        icon('icon.svg', 'any', 'any'),
        icon('icon-192.png', '192x192', 'any maskable'),
        icon('icon-512.png', '512x512', 'any maskable'),
      ],
    };
    writeFileSync(join(OUT, 'manifest.webmanifest'), JSON.stringify(manifest, null, 2));
    const licence = readFileSync('../LICENSE', 'utf-8');
    writeFileSync(join(OUT, 'licenses.txt'), `${NOTICE}\n\n${licence}`);
  },
};

const NOTICE = `This page is part of keras_flowers, under the Apache License 2.0 below.

The engine that runs the model is LiteRT.js ${version} (@litertjs/core and @litertjs/wasm-utils),
Copyright Google LLC, under the same license. It contains XNNPACK, Eigen and other libraries under
licenses of their own; its makers list them at https://github.com/google-ai-edge/LiteRT.`;

export default defineConfig({
  base: './',
  plugins: [fromTexts],
  define: { ENGINE_FOLDER: JSON.stringify(engineFolder) },
  worker: { format: 'iife' },
  build: {
    outDir: OUT,
    emptyOutDir: true,
    target: 'es2022',
    // Nothing inline, which the policy would refuse.
    assetsInlineLimit: 0,
    modulePreload: false,
    reportCompressedSize: false,
    rolldownOptions: {
      input: { index: 'index.html', sw: 'src/service_worker.ts' },
      output: {
        entryFileNames: (chunk) => (chunk.name === 'sw' ? 'sw.js' : 'assets/[name]-[hash].js'),
      },
    },
  },
});
