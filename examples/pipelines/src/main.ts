import { examples } from './examples.ts';

// ?example=NAME runs one, with the model at ?model=URL: by default, where it will do, the one of random weights.
const asked = new URLSearchParams(location.search);
const chosen = examples.find(({ name }) => name === asked.get('example'));
const status = document.querySelector('#status')!;

document.querySelector('nav')!.append(
  ...examples.flatMap(({ name, title }) => {
    const link = document.createElement('a');
    link.href = `?example=${name}`;
    link.textContent = title;
    return [link, ' '];
  }),
);

if (chosen) {
  const model = asked.get('model') ?? chosen.model;
  if (model === undefined) {
    status.textContent = `Name the folder of a model: ?example=${chosen.name}&model=URL. ${chosen.needs}`;
  } else {
    status.textContent = 'Loading the model';
    try {
      const { run } = await chosen.load();
      const pictures = await run(new URL(model, location.href).href, (text) => {
        status.textContent = text;
      });
      document.querySelector('main')!.append(...pictures.map(toCanvas));
      status.textContent = chosen.title;
    } catch (error) {
      status.textContent = error instanceof Error ? error.message : String(error);
    }
  }
}

function toCanvas(picture: ImageBitmap): HTMLCanvasElement {
  const canvas = document.createElement('canvas');
  [canvas.width, canvas.height] = [picture.width, picture.height];
  canvas.getContext('bitmaprenderer')!.transferFromImageBitmap(picture);
  return canvas;
}
