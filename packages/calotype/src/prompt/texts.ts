import type { PromptOptions } from '../pipelines/options.ts';
import { parsePrompt, plainText } from './weights.ts';

/**
 * All texts that encoding these prompts may tokenize: as they stand, without their weights, and part by part where parts
 * weigh differently.
 *
 * @param template what the model's family wraps prompts in
 */
export function textsOf(options: PromptOptions, template?: (prompt: string) => string): string[] {
  const { prompt = '', prompt2, prompt3, negativePrompt = '', negativePrompt2, negativePrompt3 } = options;
  const given = [prompt, prompt2, prompt3, negativePrompt, negativePrompt2, negativePrompt3];
  const texts = new Set<string>();
  for (const text of given) {
    if (text === undefined) continue;
    if (template) {
      texts.add(template(text));
      continue;
    }
    texts.add(text);
    if (options.emphasis === false) continue;
    const parts = parsePrompt(text);
    texts.add(plainText(parts));
    if (parts.some(({ weight }) => weight !== 1)) for (const part of parts) texts.add(part.text);
  }
  return [...texts];
}
