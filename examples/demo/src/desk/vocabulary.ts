/** Words that a model was taught, the most common first. */
export class Vocabulary {
  readonly #words: ReadonlySet<string>;

  constructor(words: readonly string[]) {
    this.#words = new Set(words);
  }

  /** Whether the model knows a word, its singular, or all parts of it where it has a hyphen. */
  has(word: string): boolean {
    const folded = fold(word);
    if (singulars(folded).some((form) => this.#words.has(form))) return true;
    const parts = folded.split(/[-']/).filter((part) => part !== '' && part !== 's');
    return parts.length > 0 && parts.every((part) => singulars(part).some((form) => this.#words.has(form)));
  }

  /** The known word that differs least: by one letter, in long words by two. */
  nearest(word: string): string | undefined {
    const folded = fold(word);
    let best: string | undefined;
    let least = folded.length < 4 ? 0 : folded.length < 7 ? 1 : 2;
    for (const known of this.#words) {
      if (Math.abs(known.length - folded.length) > least || known.length < 3) continue;
      const distance = editDistance(folded, known);
      if (distance > least || (best && distance === least)) continue;
      best = known;
      least = distance;
    }
    return best;
  }
}

function fold(word: string): string {
  return word.toLowerCase().replaceAll('’', "'").normalize('NFD').replaceAll(/\p{M}/gu, '');
}

/** A word and what it may be the plural of. */
function singulars(word: string): string[] {
  return [
    word,
    ...(word.endsWith('s') ? [word.slice(0, -1)] : []),
    ...(word.endsWith('es') ? [word.slice(0, -2)] : []),
    ...(word.endsWith('ies') ? [`${word.slice(0, -3)}y`] : []),
  ];
}

/** Letters to insert, delete, replace or swap with their neighbour (Damerau 1964, optimal string alignment). */
export function editDistance(a: string, b: string): number {
  let before: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, column) => column);
  for (let row = 1; row <= a.length; row++) {
    const next = [row];
    for (let column = 1; column <= b.length; column++) {
      const isSame = a[row - 1] === b[column - 1];
      let least = Math.min(last[column]! + 1, next[column - 1]! + 1, last[column - 1]! + (isSame ? 0 : 1));
      if (row > 1 && column > 1 && a[row - 1] === b[column - 2] && a[row - 2] === b[column - 1]) {
        least = Math.min(least, before[column - 2]! + 1);
      }
      next.push(least);
    }
    before = last;
    last = next;
  }
  return last[b.length]!;
}
