import type { ModelFacts } from '../desk/facts.ts';

/** A prompt that the visitor may not have thought of: a template with its blanks filled in, or else an example. */
export function surprise(
  { templates, suggestions, examples }: Pick<ModelFacts, 'templates' | 'suggestions' | 'examples'>,
  random: () => number = Math.random,
): string {
  const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)]!;
  const usable = templates.filter((template) =>
    [...template.matchAll(/\{(\w+)\}/g)].every(([, kind]) => (suggestions[kind!] ?? []).length > 0),
  );
  if (usable.length === 0) return pick(examples);
  const filled = pick(usable).replaceAll(/\{(\w+)\}/g, (_, kind: string) => pick(suggestions[kind]!));
  return filled.replaceAll(/\ba(?= [aeiou])/g, 'an');
}
