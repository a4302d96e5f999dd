import { library } from '../dev/src/library.ts';

export default library();
