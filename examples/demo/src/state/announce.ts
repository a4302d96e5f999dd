import { signal } from '@preact/signals';

/** What a screen reader is told next; empty between announcements. */
export const announcement = signal('');

/** Says `text` through the page's live region, after what is being said. */
export function announce(text: string): void {
  // Emptied first, so that the same words twice are two announcements.
  announcement.value = '';
  setTimeout(() => (announcement.value = text), 50);
}
