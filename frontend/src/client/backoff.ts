/** How long to wait before the next try. */

export const FIRST_DELAY_S = 0.5;
export const LONGEST_DELAY_S = 15;

/**
 * Full jitter under a ceiling that doubles: a thousand pages of one restart come back spread out.
 * Where the server named a time it is kept to, and the jitter comes on top.
 */
export function delayS(failures: number, namedS: number | null = null, random: () => number = Math.random): number {
  const ceiling = Math.min(LONGEST_DELAY_S, FIRST_DELAY_S * 2 ** Math.min(Math.max(failures - 1, 0), 10));
  const named = namedS ?? 0;
  return named + random() * Math.max(ceiling, named / 2);
}
