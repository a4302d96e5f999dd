import { withPage } from '@calotype/dev/build-pages';
import { main } from '@calotype/dev/verify';

process.exitCode = await withPage('verify', (pageDir) => main(process.argv.slice(2), pageDir));
