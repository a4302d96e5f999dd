import type { FmaTile } from '../src/kernels/gemm/fma.ts';
import type { MatrixTile } from '../src/kernels/gemm/matrix-layout.ts';

// Tiles as small as the back ends allow, for tests of all that does not depend on their size: it is what the compiler unrolls.

export const smallFmaTile: FmaTile = {
  tileRows: 16,
  tileColumns: 32,
  tileDepth: 16,
  threadRows: 4,
  threadColumns: 4,
};

export function smallMatrixTile(layout: 'kn' | 'nk', sizes: Partial<MatrixTile> = {}): MatrixTile {
  // Results leave through the memory of A and, where it is laid out alike, of B.
  const rows = layout === 'kn' ? 32 : 16;
  return {
    tileRows: rows,
    tileColumns: 32,
    tileDepth: 32,
    subgroupRows: rows,
    subgroupColumns: 16,
    layout,
    ...sizes,
  };
}
