/**
 * Trains a byte-level BPE in CLIP's manner (lower case, "</w>" ends a word) on a caption corpus and
 * writes a Hugging Face tokenizer.json and tokenizer_config.json.
 * usage: node build_tokenizer.mjs captions.txt concepts.json outdir [vocabularySize=4096] [contextLength=32]
 */
import fs from 'node:fs'

const [, , corpusFile, conceptsFile, outDir, sizeArg = '4096', contextArg = '32'] = process.argv
const vocabularySize = Number(sizeArg)
const contextLength = Number(contextArg)
const WORD_PATTERN = "'s|'t|'re|'ve|'m|'ll|'d|[\\p{L}]+|[\\p{N}]|[^\\s\\p{L}\\p{N}]+"
const START = '<|startoftext|>'
const END = '<|endoftext|>'

/** GPT-2's printable stand-in for every byte value. */
function byteAlphabet() {
  const printable = (b) => (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || (b >= 174 && b <= 255)
  const bytes = [...Array(256).keys()]
  const ordered = [...bytes.filter(printable), ...bytes.filter((b) => !printable(b))]
  let spare = 256
  return new Map(ordered.map((b) => [b, String.fromCharCode(printable(b) ? b : spare++)]))
}

function countWords(alphabet) {
  const frequency = new Map()
  const add = (text, times) => {
    const clean = text.normalize('NFC').replace(/\s+/g, ' ').toLowerCase()
    for (const [word] of clean.matchAll(new RegExp(WORD_PATTERN, 'gu'))) {
      const symbols = [...new TextEncoder().encode(word)].map((b) => alphabet.get(b)).join('')
      frequency.set(symbols, (frequency.get(symbols) ?? 0) + times)
    }
  }
  for (const line of fs.readFileSync(corpusFile, 'utf8').split('\n')) add(line, 1)
  // Every word of a concept counts a few times, so that rare ones get tokens too.
  for (const concept of JSON.parse(fs.readFileSync(conceptsFile, 'utf8'))) {
    for (const text of [...concept.names, ...concept.keywords, ...concept.standalone]) add(text, 3)
  }
  return frequency
}

function learnMerges(frequency, count) {
  const words = [...frequency].map(([word, times]) => {
    const symbols = [...word]
    symbols[symbols.length - 1] += '</w>'
    return { symbols, times }
  })
  const merges = []
  while (merges.length < count) {
    const pairs = new Map()
    for (const { symbols, times } of words) {
      for (let i = 0; i + 1 < symbols.length; i++) {
        const key = `${symbols[i]}\0${symbols[i + 1]}`
        pairs.set(key, (pairs.get(key) ?? 0) + times)
      }
    }
    let best = null
    let most = 1
    for (const [key, times] of pairs) if (times > most || (times === most && best !== null && key < best)) [best, most] = [key, times]
    if (best === null) break
    const [left, right] = best.split('\0')
    merges.push([left, right])
    for (const { symbols } of words) {
      for (let i = 0; i + 1 < symbols.length; i++) if (symbols[i] === left && symbols[i + 1] === right) symbols.splice(i, 2, left + right)
    }
  }
  return merges
}

const alphabet = byteAlphabet()
const merges = learnMerges(countWords(alphabet), vocabularySize - 2 * 256 - 2)
const tokens = new Set([...alphabet.values(), ...[...alphabet.values()].map((symbol) => `${symbol}</w>`), ...merges.map((pair) => pair.join(''))])
const vocab = Object.fromEntries([...tokens, START, END].map((token, id) => [token, id]))
const special = (content) => ({ id: vocab[content], content, single_word: false, lstrip: false, rstrip: false, normalized: false, special: true })
const tokenizer = {
  version: '1.0',
  truncation: null,
  padding: null,
  added_tokens: [special(START), special(END)],
  normalizer: { type: 'Sequence', normalizers: [{ type: 'NFC' }, { type: 'Replace', pattern: { Regex: '\\s+' }, content: ' ' }, { type: 'Lowercase' }] },
  pre_tokenizer: {
    type: 'Sequence',
    pretokenizers: [
      { type: 'Split', pattern: { Regex: WORD_PATTERN }, behavior: 'Removed', invert: true },
      { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true },
    ],
  },
  post_processor: { type: 'RobertaProcessing', sep: [END, vocab[END]], cls: [START, vocab[START]], trim_offsets: false, add_prefix_space: false },
  decoder: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true },
  model: {
    type: 'BPE', dropout: null, unk_token: END, continuing_subword_prefix: '', end_of_word_suffix: '</w>',
    fuse_unk: false, byte_fallback: false, vocab, merges: merges.map((pair) => pair.join(' ')),
  },
}
const config = {
  tokenizer_class: 'CLIPTokenizer', model_max_length: contextLength, bos_token: START, eos_token: END, pad_token: END, unk_token: END,
  do_lower_case: true, add_prefix_space: false,
}
fs.mkdirSync(outDir, { recursive: true })
fs.writeFileSync(`${outDir}/tokenizer.json`, JSON.stringify(tokenizer))
fs.writeFileSync(`${outDir}/tokenizer_config.json`, `${JSON.stringify(config, null, 2)}\n`)
console.log(`${merges.length} merges, ${Object.keys(vocab).length} tokens`)
