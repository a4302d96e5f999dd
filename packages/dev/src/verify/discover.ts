import { readdir, readFile } from 'node:fs/promises';
import { join, posix } from 'node:path';
import type { Fixture, Run } from './types.ts';

interface Folder {
  /** Relative to the root, '' for the root itself. */
  path: string;
  files: Set<string>;
  folders: string[];
}

/**
 * Every fixture under `root`, in the order of their names. What looks like a fixture of a kind that nothing here
 * verifies is listed too, with the reason.
 */
export async function discover(root: string): Promise<Fixture[]> {
  const found: Fixture[] = [];
  await visit(root, await listFolder(root, ''), found);
  return found.toSorted((a, b) => (a.name < b.name ? -1 : 1));
}

async function visit(root: string, folder: Folder, found: Fixture[]): Promise<void> {
  const here = (file: string): string => posix.join(folder.path, file);
  const name = folder.path || posix.basename(root.replaceAll('\\', '/')) || 'root';

  if (folder.files.has('scheduler-parity.json')) {
    found.push({ kind: 'samplers', name: here('scheduler-parity'), file: here('scheduler-parity.json') });
  }
  if (
    folder.files.has('expected.json') &&
    (folder.files.has('tokenizer.json') || folder.files.has('vocab.json'))
  ) {
    found.push({ kind: 'tokenizer', name, folder: folder.path, expected: here('expected.json') });
  }
  if (folder.files.has('onnx-node.tar.zst')) {
    found.push({
      kind: 'unsupported',
      name: here('onnx-node.tar.zst'),
      reason: "ONNX's node tests run in npm test, which writes docs/operators.md",
    });
  }

  const children = await Promise.all(folder.folders.map((child) => listFolder(root, here(child))));
  const graphs = children.filter((child) => child.files.has('model.onnx'));
  const isPipeline =
    folder.files.has('model_index.json') ||
    graphs.some((child) => /^(unet|transformer)$/.test(posix.basename(child.path)));
  if (isPipeline) {
    await addPipeline(root, name, folder, graphs, found);
    return;
  }

  for (const file of [...folder.files].toSorted()) {
    if (file.endsWith('.onnx')) addGraph(folder, file, name, found);
  }
  for (const child of children) await visit(root, child, found);
}

async function addPipeline(
  root: string,
  name: string,
  folder: Folder,
  graphs: Folder[],
  found: Fixture[],
): Promise<void> {
  const own = posix.join(folder.path, 'reference');
  const runs = await readJson<Run[]>(join(root, own, 'runs.json'));
  const index = await readJson<Record<string, unknown>>(join(root, folder.path, 'model_index.json'));
  if (runs && index) {
    addRuns(name, folder.path, own, [...runs, ...(await unlistedRuns(join(root, own), runs))], found);
    return;
  }

  // `tiny-sd-turbo-dynamo` is another export of `tiny-sd-turbo`: the same weights give the same pictures.
  const others = posix.join(folder.path.replace(/-dynamo$/, ''), 'reference');
  const otherRuns = others === own ? undefined : await readJson<Run[]>(join(root, others, 'runs.json'));
  if (otherRuns && index) addRuns(name, folder.path, others, otherRuns, found);
  for (const graph of graphs) {
    const part = posix.basename(graph.path);
    found.push({
      kind: 'compare',
      name: `${name}/${part}`,
      model: posix.join(graph.path, 'model.onnx'),
    });
  }
}

function addRuns(name: string, folder: string, reference: string, runs: Run[], found: Fixture[]): void {
  for (const run of runs) {
    const file = posix.join(reference, `${run.id}.safetensors`);
    found.push({ kind: 'pipeline', name: `${name}/${run.id}`, folder, reference: file, run });
  }
}

/** Guidance of the runs that no `runs.json` lists. */
const UNLISTED_GUIDANCE = 6;

/**
 * Image-to-image runs, which no `runs.json` lists: their files' names tell steps, strength and the sampler, whose config
 * is that of the listed run of its name; prompts are those of the first listed run.
 */
async function unlistedRuns(folder: string, runs: readonly Run[]): Promise<Run[]> {
  const listed = new Set(runs.map(({ id }) => `${id}.safetensors`));
  return (await readdir(folder)).toSorted().flatMap((file): Run[] => {
    const match = /^(img2img-(.+)-(\d+)-strength-([\d.]+))\.safetensors$/.exec(file);
    if (!match || listed.has(file)) return [];
    const [, id, sampler, steps, strength] = match;
    const first = runs[0];
    const likewise = runs.find((run) => run.id.startsWith(`${sampler}-`));
    return [
      {
        id: id!,
        prompt: first?.prompt ?? '',
        neg: first?.neg ?? null,
        steps: Number(steps),
        cfg: UNLISTED_GUIDANCE,
        strength: Number(strength),
        scheduler: likewise?.scheduler ?? sampler!,
      },
    ];
  });
}

function addGraph(folder: Folder, file: string, folderName: string, found: Fixture[]): void {
  const here = (other: string): string => posix.join(folder.path, other);
  const stem = file.slice(0, -'.onnx'.length);
  const name = file === 'model.onnx' ? folderName : here(stem);
  const weights = folder.files.has(`${stem}.weights.json`) ? here(`${stem}.weights.json`) : undefined;
  const reference = referenceOf(folder, stem);
  if (reference) {
    found.push({
      kind: 'graph',
      name,
      model: here(file),
      reference: here(reference),
      ...(weights && { weights }),
    });
  } else if (weights) {
    found.push({
      kind: 'unsupported',
      name,
      reason: 'its weights are made up and there is no reference for them',
    });
  } else found.push({ kind: 'compare', name, model: here(file) });
}

/** `reference.safetensors` belongs to `model.onnx`; `unet.reference.safetensors` to `unet.onnx` and `unet-fp16.onnx`. */
function referenceOf({ files }: Folder, stem: string): string | undefined {
  const precision = /-(?:fp|f|float)(?:16|32)$/;
  const candidates = [
    `${stem}.reference.safetensors`,
    `${stem.replace(precision, '')}.reference.safetensors`,
  ];
  if (stem === 'model') candidates.unshift('reference.safetensors');
  return candidates.find((candidate) => files.has(candidate));
}

async function listFolder(root: string, path: string): Promise<Folder> {
  const entries = await readdir(join(root, path), { withFileTypes: true });
  const visible = entries.filter(({ name }) => !name.startsWith('.') && name !== 'node_modules');
  return {
    path,
    files: new Set(visible.filter((entry) => !entry.isDirectory()).map(({ name }) => name)),
    folders: visible
      .filter((entry) => entry.isDirectory())
      .map(({ name }) => name)
      .toSorted(),
  };
}

async function readJson<T>(path: string): Promise<T | undefined> {
  const text = await readFile(path, 'utf8').catch(() => undefined);
  return text === undefined ? undefined : (JSON.parse(text) as T);
}
