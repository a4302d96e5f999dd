import { withPage } from '@calotype/dev/build-pages';
import { main } from '@calotype/dev/stream';

process.exitCode = await withPage('stream', (pageDir) => main(process.argv.slice(2), pageDir));
