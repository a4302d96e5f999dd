import { unpackTar } from 'modern-tar';

/** The files of one of ONNX's own tests of an operator. */
export interface NodeTestFiles {
  name: string;
  model: Uint8Array<ArrayBuffer>;
  /** Inputs and outputs, as safetensors. */
  reference: Uint8Array<ArrayBuffer>;
}

/**
 * ONNX's node tests by name, from the fixture `onnx-node.tar`. They are thousands of small files, which one by one take a
 * page as long to fetch as to run.
 *
 * @throws Error if a test lacks one of its files
 */
export async function unpackNodeTests(tar: Uint8Array<ArrayBuffer>): Promise<NodeTestFiles[]> {
  const files = new Map((await unpackTar(tar)).map(({ header, data }) => [header.name, data]));
  const read = (path: string): Uint8Array<ArrayBuffer> => {
    const data = files.get(path);
    if (!data) throw new Error(`onnx-node.tar has no ${path}`);
    return new Uint8Array(data);
  };
  const names = [...files.keys()].flatMap(
    (path) => /^onnx-node\/([^/]+)\/model\.onnx$/.exec(path)?.[1] ?? [],
  );
  return names.toSorted().map((name) => ({
    name,
    model: read(`onnx-node/${name}/model.onnx`),
    reference: read(`onnx-node/${name}/reference.safetensors`),
  }));
}
