// Prints the browser that the tests use, installed where there is none.
import { chromiumPath } from '@calotype/dev/chromium';

console.log(chromiumPath());
