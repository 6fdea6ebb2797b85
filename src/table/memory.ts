/**
 * Zeroed columns in shared memory. Nobody shares them: but only the size of private buffers is held against a heap,
 * and a few megabytes of it make V8 collect at once, which stops a dataplane for milliseconds.
 * Pages that nothing has touched are not resident.
 */
export const int32 = (length: number): Int32Array<SharedArrayBuffer> =>
  new Int32Array(new SharedArrayBuffer(length * 4));

export const uint8 = (length: number): Uint8Array<SharedArrayBuffer> =>
  new Uint8Array(new SharedArrayBuffer(length));
