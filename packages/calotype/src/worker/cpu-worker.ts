import { serve } from '@calotype/scheduler';
import { cpuService } from './cpu-service.ts';

serve(cpuService());
