import { effect, signal } from '@preact/signals';

export type Theme = 'light' | 'dark';

const key = 'calotype-theme';
const darkScheme = matchMedia('(prefers-color-scheme: dark)');

function stored(): Theme | undefined {
  try {
    const value = localStorage.getItem(key);
    return value === 'light' || value === 'dark' ? value : undefined;
  } catch {
    // Storage may be forbidden; the system's scheme does then.
    return undefined;
  }
}

const system = signal<Theme>(darkScheme.matches ? 'dark' : 'light');
const chosen = signal<Theme | undefined>(stored());

darkScheme.addEventListener('change', ({ matches }) => (system.value = matches ? 'dark' : 'light'));

/** The theme that is shown. */
export function currentTheme(): Theme {
  return chosen.value ?? system.value;
}

/** Changes to the other theme. Back at the system's own, it follows the system again. */
export function toggleTheme(): void {
  const next = currentTheme() === 'dark' ? 'light' : 'dark';
  chosen.value = next === system.value ? undefined : next;
  try {
    if (chosen.value) localStorage.setItem(key, chosen.value);
    else localStorage.removeItem(key);
  } catch {
    // The choice then lasts as long as the page.
  }
}

effect(() => {
  document.documentElement.dataset['theme'] = currentTheme();
});
