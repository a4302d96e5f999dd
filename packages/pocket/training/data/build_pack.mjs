/**
 * Builds the sprite pack from the pinned npm packages: sprites.bin (WebP RGBA, one after another),
 * sprites.json (what each is) and concepts.json (the words). Takes about five minutes on two cores.
 * usage: node build_pack.mjs [--out ../pack] [--size 224] [--quality 75]
 */
import { createHash } from 'node:crypto'
import fs from 'node:fs'
import { parseArgs } from 'node:util'
import { loadConcepts } from './concepts.mjs'
import { dominantColours, encodeWebp, rasterise, spriteSources } from './sprites.mjs'
import { withArticle } from './words.mjs'

const { values: options } = parseArgs({
  options: { out: { type: 'string', default: '../pack' }, size: { type: 'string', default: '224' }, quality: { type: 'string', default: '75' } },
})
const size = Number(options.size)
const quality = Number(options.quality)
const TONES = { 1: 'light', 3: 'medium', 5: 'dark' }

const concepts = loadConcepts()
const sources = spriteSources()
const jobs = []
concepts.forEach((concept, index) => {
  for (const { style, find } of sources) {
    const source = find(concept.hex, concept)
    if (source) jobs.push({ index, style, source })
  }
  if (!/^(hand|person|body)/.test(concept.subgroup) || concept.subgroup === 'person-resting') return
  for (const skin of concept.skins) {
    const source = TONES[skin.tone] && sources[0].find(skin.hex, concept)
    if (source) jobs.push({ index, style: '3d', source, tone: TONES[skin.tone] })
  }
})

const seen = new Set()
const results = new Array(jobs.length)
let next = 0
async function worker() {
  while (next < jobs.length) {
    const position = next++
    const { index, style, source, tone } = jobs[position]
    try {
      const image = await rasterise(source, size)
      const digest = style + createHash('sha1').update(image.data).digest('hex')
      if (seen.has(digest)) continue
      seen.add(digest)
      const bytes = await encodeWebp(image, style === '3d' ? quality + 5 : quality)
      results[position] = { bytes, meta: { concept: index, style, ...(tone && { tone }), width: image.width, height: image.height, colours: dominantColours(image) } }
    } catch (error) {
      console.warn(`skipped ${style} ${concepts[index].name}: ${error.message}`)
    }
  }
}
await Promise.all(Array.from({ length: 3 }, worker))

let offset = 0
const sprites = []
const made = results.filter(Boolean)
for (const { bytes, meta } of made) {
  sprites.push({ ...meta, offset, length: bytes.length })
  offset += bytes.length
}
const drawn = new Set(sprites.map((sprite) => sprite.concept))
fs.mkdirSync(options.out, { recursive: true })
fs.writeFileSync(`${options.out}/sprites.bin`, Buffer.concat(made.map(({ bytes }) => bytes)))
fs.writeFileSync(`${options.out}/sprites.json`, JSON.stringify(sprites))
fs.writeFileSync(`${options.out}/concepts.json`, JSON.stringify(concepts.map(({ skins, ...concept }, index) => ({
  ...concept, phrases: concept.names.map(withArticle), drawn: drawn.has(index),
}))))
const perStyle = sprites.reduce((counts, { style }) => ({ ...counts, [style]: (counts[style] ?? 0) + 1 }), {})
console.log(`${drawn.size} concepts, ${sprites.length} sprites, ${(offset / 1e6).toFixed(1)} MB`, perStyle)
