import type { Signal } from '@preact/signals';
import type { ComponentChildren, JSX } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import { Icon } from './icons.tsx';

interface DialogProps {
  open: Signal<boolean>;
  id: string;
  title: string;
  children: ComponentChildren;
}

/** A modal dialog of the browser's own: it traps focus, closes on Escape and gives focus back. */
export function Dialog({ open, id, title, children }: DialogProps): JSX.Element {
  const element = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    const dialog = element.current!;
    if (open.value && !dialog.open) dialog.showModal();
    if (!open.value && dialog.open) dialog.close();
  }, [open.value]);
  return (
    <dialog
      ref={element}
      id={id}
      aria-labelledby={`${id}-title`}
      onClose={() => (open.value = false)}
      onClick={(event) => {
        // Only the backdrop is the dialog itself: everything inside lies in the sheet.
        if (event.target === element.current) open.value = false;
      }}
    >
      <div class="sheet">
        <div class="sheet-head">
          <h2 id={`${id}-title`}>{title}</h2>
          <button type="button" class="quiet square" aria-label="Close" onClick={() => (open.value = false)}>
            <Icon name="close" />
          </button>
        </div>
        {open.value && children}
      </div>
    </dialog>
  );
}
