import type { ModelChoice } from './choice.ts';

/** Reads a dropped folder, or loose files, into a model. Undefined where nothing of the kind was dropped. */
export async function choiceOfDrop(items: DataTransferItemList): Promise<ModelChoice | undefined> {
  // Entries must be taken before the first await: the list is emptied after the event.
  const entries = [...items]
    .filter(({ kind }) => kind === 'file')
    .map((item) => item.webkitGetAsEntry() ?? item.getAsFile())
    .filter((entry) => entry !== null);
  const files: [path: string, file: File][] = [];
  for (const entry of entries) {
    if (entry instanceof File) files.push([entry.name, entry]);
    else await collect(entry, files);
  }
  return choiceOfFiles(files);
}

/** The model in the files of a directory input. */
export function choiceOfInput(files: FileList): ModelChoice | undefined {
  return choiceOfFiles([...files].map((file) => [file.webkitRelativePath || file.name, file]));
}

function choiceOfFiles(files: readonly (readonly [path: string, file: File])[]): ModelChoice | undefined {
  if (files.length === 0) return undefined;
  // The model may lie deeper than the folder that was picked.
  const index = files
    .map(([path]) => path)
    .filter((path) => /(^|\/)model_index\.json$/.test(path))
    .toSorted((a, b) => a.length - b.length)[0];
  const top = files[0]![0].split('/');
  const prefix = index?.slice(0, -'model_index.json'.length) ?? (top.length > 1 ? `${top[0]}/` : '');
  const name = prefix.split('/').findLast((part) => part !== '') ?? 'Dropped files';
  return {
    kind: 'files',
    name,
    files: Object.fromEntries(
      files
        .filter(([path]) => path.startsWith(prefix))
        .map(([path, file]) => [path.slice(prefix.length), file]),
    ),
  };
}

async function collect(entry: FileSystemEntry, into: [string, File][]): Promise<void> {
  if (entry.isFile) {
    const file = await new Promise<File>((resolve, reject) =>
      (entry as FileSystemFileEntry).file(resolve, reject),
    );
    into.push([entry.fullPath.replace(/^\//, ''), file]);
    return;
  }
  const reader = (entry as FileSystemDirectoryEntry).createReader();
  for (;;) {
    // A hundred at a time; an empty answer ends it.
    const batch = await new Promise<FileSystemEntry[]>((resolve, reject) =>
      reader.readEntries(resolve, reject),
    );
    if (batch.length === 0) return;
    for (const child of batch) await collect(child, into);
  }
}
