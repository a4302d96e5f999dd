import { library } from '../dev/src/library.ts';

export default library({
  index: 'src/index.ts',
  'gpu-worker': 'src/worker/gpu-worker.ts',
});
