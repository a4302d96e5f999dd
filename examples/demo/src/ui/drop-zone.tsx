import { signal } from '@preact/signals';
import type { JSX } from 'preact';
import { useEffect } from 'preact/hooks';
import { choiceOfDrop } from '../models/dropped-files.ts';
import { announce } from '../state/announce.ts';
import { takeModel } from './model-dialog.tsx';

const hovering = signal(false);

/** Takes a model folder that is dropped anywhere on the page. */
export function DropZone(): JSX.Element | null {
  useEffect(() => {
    const carriesFiles = (event: DragEvent): boolean => event.dataTransfer?.types.includes('Files') ?? false;
    const over = (event: DragEvent): void => {
      if (!carriesFiles(event)) return;
      event.preventDefault();
      hovering.value = true;
    };
    const leave = (event: DragEvent): void => {
      if (!event.relatedTarget) hovering.value = false;
    };
    const drop = (event: DragEvent): void => {
      if (!event.dataTransfer || !carriesFiles(event)) return;
      event.preventDefault();
      hovering.value = false;
      choiceOfDrop(event.dataTransfer.items).then(
        (dropped) => dropped && takeModel(dropped),
        () => announce('What was dropped could not be read.'),
      );
    };
    addEventListener('dragover', over);
    addEventListener('dragleave', leave);
    addEventListener('drop', drop);
    return () => {
      removeEventListener('dragover', over);
      removeEventListener('dragleave', leave);
      removeEventListener('drop', drop);
    };
  }, []);
  if (!hovering.value) return null;
  return (
    <div class="drop-zone" aria-hidden="true">
      <p>Drop a model folder</p>
    </div>
  );
}
