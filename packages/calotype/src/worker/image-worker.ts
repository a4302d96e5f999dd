import { serve } from '@calotype/scheduler';
import { imageService } from './image-encoder.ts';

serve(imageService);
