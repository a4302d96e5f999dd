/** Where each concept's pictures come from, and how they are rasterised, trimmed and described. */
import fs from 'node:fs'
import sharp from 'sharp'
import { codePointKey } from './concepts.mjs'
import { fold } from './words.mjs'

const PACKAGES = new URL('./node_modules/', import.meta.url).pathname
const readJson = (file) => JSON.parse(fs.readFileSync(`${PACKAGES}${file}`, 'utf8'))

function iconSet(name, nativeSize) {
  const icons = readJson(`@iconify-json/${name}/icons.json`)
  const byCodePoint = () => new Map(Object.entries(readJson(`@iconify-json/${name}/chars.json`)).map(([hex, slug]) => [codePointKey(hex), slug]))
  const svg = (slug) => {
    const icon = icons.icons[slug] ?? icons.icons[icons.aliases?.[slug]?.parent]
    if (!icon) return null
    const [w, h] = [icon.width ?? icons.width ?? 16, icon.height ?? icons.height ?? 16]
    const box = `${icon.left ?? 0} ${icon.top ?? 0} ${w} ${h}`
    return {
      svg: `<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="${box}" width="${w}" height="${h}">${icon.body}</svg>`,
      nativeSize,
    }
  }
  return { svg, byCodePoint }
}

const slugOf = (name) => fold(name).replace(/['":,.!()&]/g, '').replace(/[^a-z0-9]+/g, '-').replace(/^-|-$/g, '')

/** The four drawing styles; `find(hex, concept)` gives a source or null. */
export function spriteSources() {
  const flat = iconSet('fluent-emoji-flat', 32)
  const flatSlugs = flat.byCodePoint()
  const cartoon = iconSet('noto', 128)
  const cartoonSlugs = cartoon.byCodePoint()
  const retro = iconSet('noto-v1', 128)
  const assets = `${PACKAGES}@lobehub/fluent-emoji-3d/assets/`
  const renders = new Map(fs.readdirSync(assets).map((file) => [codePointKey(file.replace('.webp', '')), assets + file]))
  return [
    // Only glyphs that Microsoft's own repository has (the icon set's list) are under its licence.
    { style: '3d', find: (hex) => (flatSlugs.has(hex) && renders.has(hex) ? { file: renders.get(hex) } : null) },
    { style: 'flat', find: (hex) => (flatSlugs.has(hex) ? flat.svg(flatSlugs.get(hex)) : null) },
    { style: 'cartoon', find: (hex) => (cartoonSlugs.has(hex) ? cartoon.svg(cartoonSlugs.get(hex)) : null) },
    {
      style: 'retro',
      find: (_, concept) => {
        const slug = slugOf(concept.name)
        return retro.svg(slug) ?? retro.svg(`${slug}-face`) ?? retro.svg(slug.replace(/-face$/, ''))
      },
    },
  ]
}

/** Trims to the drawn part and fits into a square of `size` pixels; returns raw RGBA. */
export async function rasterise(source, size) {
  const image = source.file
    ? sharp(source.file)
    : sharp(Buffer.from(source.svg), { density: Math.min(2400, Math.ceil((72 * 288) / source.nativeSize)) })
  const trimmed = await image.ensureAlpha().trim({ background: { r: 0, g: 0, b: 0, alpha: 0 }, threshold: 8 }).png().toBuffer()
  const { data, info } = await sharp(trimmed).resize(size, size, { fit: 'inside' }).ensureAlpha().raw().toBuffer({ resolveWithObject: true })
  return { data, width: info.width, height: info.height }
}

export function encodeWebp({ data, width, height }, quality) {
  return sharp(data, { raw: { width, height, channels: 4 } }).webp({ quality, alphaQuality: 80, effort: 4, smartSubsample: true }).toBuffer()
}

const HUE_NAMES = [[345, 'red'], [296, 'pink'], [248, 'purple'], [192, 'blue'], [160, 'teal'], [70, 'green'], [40, 'yellow'], [16, 'orange'], [0, 'red']]

function colourName(r, g, b) {
  const value = Math.max(r, g, b)
  const delta = value - Math.min(r, g, b)
  const saturation = value ? delta / value : 0
  if (value < 0.22) return 'black'
  if (saturation < 0.13) return value > 0.82 ? 'white' : 'gray'
  const sector = value === r ? ((g - b) / delta) % 6 : value === g ? (b - r) / delta + 2 : (r - g) / delta + 4
  const hue = (sector * 60 + 360) % 360
  if ((hue < 45 || hue > 345) && value < 0.62 && saturation > 0.25 && saturation < 0.85) return 'brown'
  return HUE_NAMES.find(([from]) => hue >= from)[1]
}

/** Colour names covering at least 15 % of the opaque pixels, widest first. */
export function dominantColours({ data }) {
  const counts = {}
  let total = 0
  for (let i = 0; i < data.length; i += 16) {
    if (data[i + 3] < 128) continue
    const name = colourName(data[i] / 255, data[i + 1] / 255, data[i + 2] / 255)
    counts[name] = (counts[name] ?? 0) + 1
    total++
  }
  return Object.entries(counts).map(([name, n]) => [name, Number((n / total).toFixed(2))]).filter(([, share]) => share >= 0.15).sort((a, b) => b[1] - a[1])
}
