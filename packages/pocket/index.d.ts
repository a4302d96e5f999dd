/**
 * Folder of the model, in the diffusers ONNX layout: `TextToImageClient.fromPretrained(modelUrl)`. Ends with a slash.
 *
 * Pages that load this package unbundled and Node get the folder itself. Bundlers do not follow a folder: copy
 * `model/` of this package beside the page, as its README shows, and use that address.
 */
export declare const modelUrl: URL;
