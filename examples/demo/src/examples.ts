/** Prompts to begin with, where a model brings none: plain things, a relation, a material, a style, a scene. */
export const examplePrompts: readonly string[] = [
  'a red panda wearing a crown',
  'a pink elephant',
  'an octopus holding a birthday cake',
  'a robot riding a rocket',
  'watercolor of a panda',
  'a koala made of gold',
];
