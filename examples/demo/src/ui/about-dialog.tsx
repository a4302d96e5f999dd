import { signal } from '@preact/signals';
import type { JSX } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { bundledModel } from 'virtual:bundled-model';
import type { ModelCard } from '../models/bundled.ts';
import { Dialog } from './dialog.tsx';
import { megabytes } from './format.ts';

export const aboutOpen = signal(false);

/** What this is, the model's card, and everybody's licences. */
export function AboutDialog(): JSX.Element {
  return (
    <Dialog open={aboutOpen} id="about" title="About Calotype">
      <section class="prose">
        <p>
          In 1840 William Henry Fox Talbot found that a sheet of coated paper, exposed too briefly to show
          anything, held a <em>latent image</em> that could be developed afterwards. He called the result a
          calotype, from the Greek for “beautiful”.
        </p>
        <p>
          Diffusion models work alike: they begin with latent noise and develop it, step by step, into a
          picture. Calotype runs them in the browser, on your own graphics card through WebGPU, with kernels
          of its own. Your words and pictures never leave this device, and after the first visit it works
          without a network.
        </p>
      </section>
      <Card />
      <section class="prose">
        <h3>Software</h3>
        <p>
          Calotype is open source under the Apache License 2.0. The page is made with Preact (MIT), comlink
          and idb-keyval (Apache-2.0), Hugging Face’s tokenizers (Apache-2.0), ONNX Runtime Web (MIT) where a
          model needs it, and the typeface Libre Caslon (SIL Open Font License 1.1).{' '}
          {import.meta.env.PROD && <a href="./licenses.md">Licences in full</a>}
        </p>
      </section>
    </Dialog>
  );
}

function Card(): JSX.Element {
  const [card, setCard] = useState<ModelCard>();
  useEffect(() => {
    void fetch(new URL('model-card.json', document.baseURI))
      .then((response) => response.json() as Promise<ModelCard>)
      // Offline and not kept: the rest of the dialog stands without it.
      .catch((): ModelCard => ({ licences: [] }))
      .then(setCard);
  }, []);
  const { name, randomWeights } = bundledModel.manifest;
  return (
    <section class="prose">
      <h3>The model: {name}</h3>
      {randomWeights ? (
        <p>
          This build carries no trained model, only a stand-in of {megabytes(bundledModel.bytes)} whose
          weights are random. It draws noise. Bring a model of your own to see pictures.
        </p>
      ) : (
        card && !card.html && <p>It has {megabytes(bundledModel.bytes)}.</p>
      )}
      {/* Written by this repository's own build, from its own files. */}
      {card?.html && <div class="card" dangerouslySetInnerHTML={{ __html: card.html }} />}
      {card && card.licences.length > 0 && <h4>Licences</h4>}
      {card?.licences.map(({ name: licence, html, text }) => (
        <details key={licence}>
          <summary>{licence === 'README' ? 'What is under which licence' : licence}</summary>
          {html ? (
            <div class="card" dangerouslySetInnerHTML={{ __html: html }} />
          ) : (
            <pre tabIndex={0}>{text}</pre>
          )}
        </details>
      ))}
    </section>
  );
}
