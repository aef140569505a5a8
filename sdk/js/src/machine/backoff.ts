export const SECOND = 1000;

/** Full jitter: anything from nothing to min(20 s, 0.5 s · 2^tries). */
export const backoff = (tries: number, random: () => number): number => random() * Math.min(20 * SECOND, 0.5 * SECOND * 2 ** tries);
