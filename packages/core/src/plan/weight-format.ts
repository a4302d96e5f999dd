/**
 * What a session makes of float weights while they stream to the GPU. `int8` and `int4` are blocks of neighbours along the
 * sums of a product that share a float16 scale; see `quantizableLayers` for those that stay float16. `f16` halves
 * float32. `as-stored` leaves them as the file has them.
 */
export type WeightFormat = 'as-stored' | 'f16' | 'int8' | 'int4';

/** Neighbours that share a scale. */
export const blockSizes: { readonly int8: 64; readonly int4: 32 } = { int8: 64, int4: 32 };

/** Products with fewer terms or weights than this are left as they are: what they would save is not worth their error. */
export const leastDepth = 64;
export const leastElements = 4096;

/** The same for tables: those of positions are small. */
export const leastTableElements: number = 2 ** 16;
