import { stat } from 'node:fs/promises';
import { basename, posix, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { quantizeFolder, type FolderFormat } from './folder.ts';

const usage = `usage: npm run quantize -- MODEL --weights int4|int8 --out DIR [options]
  MODEL                    a folder with ONNX graphs, laid out as on the hub
  --weights FORMAT         int4, int8 or as-stored, for all components but vae_encoder and vae_decoder
  --component NAME=FORMAT  another format for one of them; may be given again
  --out DIR                where the quantized folder goes; must not be there yet`;

const isFormat = (text: string | undefined): text is FolderFormat =>
  text === 'int4' || text === 'int8' || text === 'as-stored';

/** The `quantize` command. Resolves to its exit code. */
export async function main(args: string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      weights: { type: 'string', default: 'as-stored' },
      component: { type: 'string', multiple: true, default: [] },
      out: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  });
  const [source, ...more] = positionals;
  const { weights, out } = values;
  const own = new Map(
    values.component.map((text) => [text.replace(/=.*/, ''), text.replace(/^[^=]*=?/, '')] as const),
  );
  const isSound =
    source && out && more.length === 0 && isFormat(weights) && [...own.values()].every(isFormat);
  if (values.help || !isSound) {
    console.error(usage);
    return values.help ? 0 : 2;
  }
  if (!(await stat(source).catch(() => undefined))?.isDirectory()) {
    console.error(`${source} is not a folder.`);
    return 2;
  }
  if (await stat(out).catch(() => undefined)) {
    console.error(`${out} is there already.`);
    return 2;
  }
  const formatOf = (graph: string): FolderFormat => {
    const folder = posix.dirname(graph);
    const component = folder === '.' ? basename(resolve(source)) : posix.basename(folder);
    const format = own.get(component);
    if (isFormat(format)) return format;
    return component.startsWith('vae_') ? 'as-stored' : weights;
  };
  await quantizeFolder(source, out, formatOf, ({ path, format, weights: count, bytesBefore, bytesAfter }) => {
    const megabytes = [bytesBefore, bytesAfter].map((bytes) => (bytes / 1e6).toFixed(1));
    console.log(`${path}: ${count} weights as ${format}, ${megabytes[0]} MB to ${megabytes[1]} MB`);
  });
  return 0;
}
