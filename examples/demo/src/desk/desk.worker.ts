import { serve } from '@calotype/scheduler';
import { service } from './service.ts';

serve(service);
