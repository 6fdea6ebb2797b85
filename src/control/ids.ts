/** Small integers for objects: stable while an object lives, free for one generation before they are reused. */

/**
 * Keys that run already keep their id. New keys get the lowest id that neither runs nor is being removed; only
 * when there is no such id, one that is being removed.
 * @param running what runs now, the keys that go included
 * @throws Error when there are more keys than ids
 */
export function assignIds(
  what: string,
  keys: readonly string[],
  running: ReadonlyMap<string, number>,
  first: number,
  end: number,
): ReadonlyMap<string, number> {
  const ids = new Map<string, number>();
  const kept = new Set<number>();
  for (const key of keys) {
    const id = running.get(key);
    if (id === undefined || kept.has(id)) continue;
    ids.set(key, id);
    kept.add(id);
  }
  const resting = new Set([...running.values()].filter((id) => !kept.has(id)));
  const spare = [...resting].sort((a, b) => b - a);
  let next = first;
  for (const key of keys) {
    if (ids.has(key)) continue;
    while (next < end && (kept.has(next) || resting.has(next))) next++;
    const id = next < end ? next++ : spare.pop();
    if (id === undefined) throw new Error(`too many ${what}: at most ${end - first}`);
    ids.set(key, id);
  }
  return ids;
}
