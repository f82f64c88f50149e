/** The folder of the engine in the built page; vite.config.ts writes it in. */
declare const ENGINE_FOLDER: string;
