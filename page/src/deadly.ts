// Genera with species of which people have died: those of keras_flowers/inference/flowers.py, where
// their source stands, too. A file with doubt says itself which of its classes are of them.

export const DEADLY_GENERA: ReadonlySet<string> = new Set([
  'Abrus',
  'Aconitum',
  'Actaea',
  'Adenium',
  'Atropa',
  'Brugmansia',
  'Cerbera',
  'Cicuta',
  'Colchicum',
  'Conium',
  'Convallaria',
  'Daphne',
  'Datura',
  'Delphinium',
  'Digitalis',
  'Gloriosa',
  'Helleborus',
  'Hyoscyamus',
  'Laburnum',
  'Nerium',
  'Oenanthe',
  'Ricinus',
  'Taxus',
  'Thevetia',
  'Veratrum',
]);

/** Whether the genus of a plant holds deadly ones. */
export function isDeadly(scientificName: string): boolean {
  return DEADLY_GENERA.has(scientificName.split(' ')[0]);
}
