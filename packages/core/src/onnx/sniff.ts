/** Files that are often found where a model should be. */
const impostors: readonly { what: string; matches(head: Uint8Array, text: string): boolean }[] = [
  {
    what: 'this is a git-LFS pointer, not the model itself: fetch the file with `git lfs pull` or from its download URL',
    matches: (_, text) => text.startsWith('version https://git-lfs'),
  },
  {
    what: 'this is an HTML page (an error page, or a link to a viewer instead of the file)',
    matches: isMarkup,
  },
  { what: 'this is JSON, not an ONNX model', matches: (_, text) => /^\s*[{[]\s*["{[\]}]/.test(text) },
  {
    what: 'this is a safetensors file, not an ONNX model: export the model to ONNX first',
    matches: isSafetensors,
  },
  { what: 'this is a GGUF file, not an ONNX model', matches: (_, text) => text.startsWith('GGUF') },
  {
    what: 'this is an ORT-format file: convert the original ONNX model instead',
    matches: (_, text) => text.slice(4, 8) === 'ORTM',
  },
  {
    what: 'this is a zip archive (perhaps a PyTorch checkpoint), not an ONNX model',
    matches: (_, text) => text.startsWith('PK\u0003\u0004'),
  },
  { what: 'this is gzip: unpack it first', matches: (head) => head[0] === 0x1f && head[1] === 0x8b },
];

/** What a file that begins with `head` is, where it is plainly no ONNX model. */
export function sniffImpostor(head: Uint8Array): string | undefined {
  const text = String.fromCharCode(...head.subarray(0, 64));
  return impostors.find((impostor) => impostor.matches(head, text))?.what;
}

function isMarkup(_: Uint8Array, text: string): boolean {
  return /^(\u00ef\u00bb\u00bf)?\s*<(!doctype|html|head|\?xml|!--)/i.test(text);
}

/** Eight bytes of length, then JSON. */
function isSafetensors(head: Uint8Array, text: string): boolean {
  return /^\{\s*["}]/.test(text.slice(8)) && head.subarray(5, 8).every((byte) => byte === 0);
}
