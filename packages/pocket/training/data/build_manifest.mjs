/**
 * Writes the model's calotype.json: what pages show of it, and all words that its captions are made of.
 * usage: node build_manifest.mjs captions.txt concepts.json out.json
 */
import fs from 'node:fs'

const [, , captionsFile, conceptsFile, out] = process.argv

const suggestions = {
  animals: 'cat,dog,fox,panda,red panda,koala,penguin,owl,octopus,elephant,lion,tiger,rabbit,turtle,whale,unicorn,dinosaur,dragon,butterfly,frog',
  things: 'robot,rocket,guitar,crown,castle,car,bicycle,sailboat,balloon,lightbulb,gift,teddy bear,mushroom,sunflower,pizza,burger,donut,ice cream,birthday cake,strawberry',
  colours: 'red,orange,yellow,green,teal,blue,purple,pink,brown,black,white,gray',
  hats: 'wearing a crown,wearing a top hat,wearing a graduation cap,wearing a straw hat,wearing headphones',
  materials: 'made of gold,made of silver,made of ice,made of chocolate,made of jade,made of lava,made of stone',
  places: 'in the snow,in a meadow,at night,on the beach,in the desert,in the rain,in the city,in the clouds,on a stage',
  styles: 'pixel art,pencil sketch,line art,watercolor,mosaic,neon,sticker,stained glass,flat style,cartoon style,retro style',
}

const manifest = {
  name: 'Pocket',
  description: 'A small text-to-image model that comes with Calotype: things, animals and faces in the manner of emoji, 256 pixels wide, in four steps.',
  defaults: { steps: 4, guidanceScale: 1, width: 256, height: 256 },
  examples: [
    'a red panda wearing a crown',
    'a pink elephant',
    'an octopus holding a birthday cake',
    'a robot riding a rocket',
    'a koala made of gold',
    'neon sign of a guitar',
    'a penguin in the snow',
    'three green dinosaurs',
  ],
  suggestions: Object.fromEntries(Object.entries(suggestions).map(([kind, words]) => [kind, words.split(',')])),
  templates: [
    'a {colours} {animals}',
    'a {colours} {things}',
    'a {animals} {hats}',
    'a {animals} {places}',
    'a {animals} {materials}',
    'a {animals} and a {things}',
    'a {colours} {animals} on a {colours} background',
  ],
  vocabulary: vocabulary(),
}

const known = new Set(manifest.vocabulary)
for (const text of [...manifest.examples, ...Object.values(manifest.suggestions).flat()]) {
  const missing = wordsOf(text).filter((word) => !known.has(word) && !known.has(word.replace(/s$/, '')))
  if (missing.length > 0) throw new Error(`${text}: the captions have no ${missing.join(', ')}`)
}
fs.writeFileSync(out, `${JSON.stringify(manifest)}\n`)
console.log(`${manifest.vocabulary.length} words`)

/** Words of captions and of the concepts' names, the most common first. */
function vocabulary() {
  const times = new Map()
  const add = (text, count) => {
    for (const word of wordsOf(text)) times.set(word, (times.get(word) ?? 0) + count)
  }
  for (const caption of fs.readFileSync(captionsFile, 'utf8').split('\n')) add(caption, 1)
  for (const { names, phrases } of JSON.parse(fs.readFileSync(conceptsFile, 'utf8'))) {
    for (const text of [...names, ...phrases]) add(text, 1)
  }
  return [...times].sort(([a, one], [b, other]) => other - one || (a < b ? -1 : 1)).map(([word]) => word)
}

function wordsOf(text) {
  return text.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? []
}
