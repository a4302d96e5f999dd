/** A run of prompt text with one weight. */
export interface WeightedText {
  readonly text: string;
  readonly weight: number;
}

/** What a pair of round brackets multiplies a weight by; square ones divide by it. */
const EMPHASIS = 1.1;

interface OpenBracket {
  readonly kind: '(' | '[';
  /** First of the parts inside. */
  readonly part: number;
}

/**
 * Reads emphasis in the usual syntax: `(word)` weighs 1.1, `[word]` 1/1.1, `(word:1.3)` 1.3, all of them nesting by
 * multiplication. `\(`, `\)`, `\[`, `\]` and `\\` stand for the characters themselves. Brackets that do not match are
 * taken as text, so no prompt is an error.
 *
 * @example
 * parsePrompt('a (red:1.3) cat') // → 'a ' 1, 'red' 1.3, ' cat' 1
 */
export function parsePrompt(prompt: string): WeightedText[] {
  const parts: { text: string; weight: number }[] = [];
  const open: OpenBracket[] = [];
  const append = (text: string): void => {
    parts.push({ text, weight: 1 });
  };
  const close = (bracket: OpenBracket, factor: number): void => {
    for (const part of parts.slice(bracket.part)) part.weight *= factor;
  };
  const tokens = /\\[()[\]\\]|[([]|:\s*[+-]?(?:\d+\.?\d*|\.\d+)\s*\)|[)\]]|[^\\()[\]:]+|[\\:]/g;
  for (const [token] of prompt.matchAll(tokens)) {
    const innermost = open[open.length - 1];
    if (token === '(' || token === '[') {
      // Kept as text of its own until its partner is found.
      open.push({ kind: token, part: parts.length });
      append(token);
    } else if (token.length > 1 && token.startsWith('\\')) {
      append(token.slice(1));
    } else if (token.startsWith(':') && token.endsWith(')') && innermost?.kind === '(') {
      parts[innermost.part]!.text = '';
      close(innermost, Number.parseFloat(token.slice(1)));
      open.pop();
    } else if ((token === ')' && innermost?.kind === '(') || (token === ']' && innermost?.kind === '[')) {
      parts[innermost.part]!.text = '';
      close(innermost, token === ')' ? EMPHASIS : 1 / EMPHASIS);
      open.pop();
    } else {
      append(token);
    }
  }
  return merged(parts);
}

/** The prompt as the text encoder would see it: emphasis marks taken out. */
export function plainText(parts: readonly WeightedText[]): string {
  return parts.map((part) => part.text).join('');
}

/** Joins neighbours of equal weight and drops empty ones. */
function merged(parts: readonly WeightedText[]): WeightedText[] {
  const result: { text: string; weight: number }[] = [];
  for (const { text, weight } of parts) {
    const last = result[result.length - 1];
    if (text === '') continue;
    if (last && Math.abs(last.weight - weight) < 1e-12) last.text += text;
    else result.push({ text, weight });
  }
  return result;
}
