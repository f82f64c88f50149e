// A model in a worker of its own, as functions that the page can await.

import { type Said, said } from './doubt';
import type { Answered, ModelFacts, Named, Photo, Reply, Request } from './messages';
import { Problem } from './problem';
import ModelWorker from './worker?worker&inline';

type WithoutId<T> = T extends unknown ? Omit<T, 'id'> : never;

interface Waiting {
  resolve(result: never): void;
  reject(reason: Problem): void;
}

/** Names flowers with one model, until it is closed. */
export class Classifier {
  private readonly worker = new ModelWorker();
  private readonly waiting = new Map<number, Waiting>();
  private lastId = 0;
  facts!: ModelFacts;

  private constructor() {
    this.worker.onmessage = ({ data }: MessageEvent<Reply>) => {
      const { resolve, reject } = this.waiting.get(data.id) as Waiting;
      this.waiting.delete(data.id);
      if ('result' in data) resolve(data.result as never);
      else reject(new Problem(data.problem.kind, data.problem.detail));
    };
    this.worker.onerror = (event) => {
      for (const { reject } of this.waiting.values()) {
        reject(new Problem('no_engine', event.message));
      }
      this.waiting.clear();
    };
  }

  /**
   * Loads a model.
   *
   * @param content The bytes of a .tflite file.
   * @throws Problem It is no model that names what is in a photo, or nothing can run it here.
   */
  static async load(content: ArrayBuffer): Promise<Classifier> {
    const classifier = new Classifier();
    const engine = new URL(`${ENGINE_FOLDER}/`, document.baseURI).href;
    try {
      classifier.facts = await classifier.ask<ModelFacts>({ load: content, engine }, [content]);
    } catch (error) {
      classifier.close();
      throw error;
    }
    return classifier;
  }

  /**
   * Names what is in a photo.
   *
   * @param photo A file; a frame, which is given away; or pixels [height, width, 3], 0..255, RGB,
   *   of the model's size.
   * @param thumbnail The longer side in pixels of the picture that comes with the answer; 0: none.
   * @throws Problem The photo cannot be read.
   */
  classify(photo: Photo, thumbnail = 0): Promise<Answered> {
    const transfer = photo instanceof ImageBitmap ? [photo] : [];
    return this.ask<Answered>({ classify: photo, thumbnail }, transfer);
  }

  /** A photo as the model takes it: [height, width, 3], 0..255, RGB. */
  read(photo: Blob): Promise<Uint8Array> {
    return this.ask<Uint8Array>({ read: photo });
  }

  /** The likeliest names with their probabilities, the likeliest first; of equals the first. */
  top({ probabilities }: Answered, count = 5): Named[] {
    return [...probabilities.keys()]
      .sort((one, other) => probabilities[other] - probabilities[one])
      .slice(0, count)
      .map((place) => ({
        name: this.facts.labels[place],
        scientificName: this.facts.scientificNames[place] ?? '',
        probability: probabilities[place],
      }));
  }

  /** The answer in words. */
  said(answered: Answered): Said {
    const { labels, doubt } = this.facts;
    return said(this.top(answered), answered.probabilities, answered.known, doubt, labels);
  }

  close(): void {
    this.worker.terminate();
    for (const { reject } of this.waiting.values()) reject(new Problem('no_model'));
    this.waiting.clear();
  }

  private ask<T>(request: WithoutId<Request>, transfer: Transferable[] = []): Promise<T> {
    const id = ++this.lastId;
    return new Promise<T>((resolve, reject) => {
      this.waiting.set(id, { resolve, reject });
      this.worker.postMessage({ ...request, id }, transfer);
    });
  }
}
